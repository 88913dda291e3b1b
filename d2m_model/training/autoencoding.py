"""What training the VQ-VAE and fine-tuning its decoder share: batches of audio at random volumes, and the scores."""

import json
import math
from pathlib import Path

import torch

from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.distributed import local_rows
from d2m_model.training.loop import Measurement
from d2m_model.training.seeding import generator
from d2m_model.training.shard_data import WindowData
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.timebase import HOPS

JITTER = 15  # frames: windows start on whole seconds, so shifts of up to half a second reach every sample
TEST_SECONDS = 2
LISTENED_CLIPS = 3  # clips whose reconstruction is kept, to listen to


def audio_batch(data: WindowData, seed: int, step: int, size: int, gain: float) -> torch.Tensor:
    """Audio (B, S) of a step, each window at a random volume between `gain` and 1. S is a multiple of 128, the coarsest hop, so
    that every level's reconstruction is as long as its input."""
    audio = data.batch(seed, step, size, JITTER).audio
    gains = local_rows(gain + (1 - gain) * torch.rand(size, 1, generator=generator(seed, "gain", step)))
    return (gains * audio)[:, : audio.shape[1] // HOPS[-1] * HOPS[-1]]


def open_test(shards: Path) -> WindowData:
    """The test split in windows of 2 s."""
    return WindowData(shards, "test", TEST_SECONDS)


def mean_power(data: WindowData) -> float:
    """Mean square of a split's audio, at least 1e-6."""
    total = sum(float(data.clip_audio(i).double().square().sum()) for i in range(len(data.clips)))
    return max(1e-6, total / sum(data.clip_audio(i).numel() for i in range(len(data.clips))))


@torch.no_grad()
def measure(model: JukeboxVQVAE, level: int, data: WindowData, count: int) -> dict[str, float]:
    """How well a level reconstructs `count` windows, spread evenly over the data, and how it uses its codebook.

    Keys: means of spectral_convergence, si_sdr_db and onset_f (see metrics.reconstruction); windows; codes_used; perplexity (of
    all codes together); codebook_rms (root mean square of the entries' values).
    """
    from d2m_model.metrics.reconstruction import reconstruction_scores

    chosen = data.windows[:: -(-len(data.windows) // count)]
    pairs, counts, device = [], torch.zeros(model.config.bins), next(model.parameters()).device
    for window in chosen:
        audio = model.trim_to_hops(data.gather([window]).audio, level)
        codes = model.encode(audio.to(device), level)
        counts += torch.bincount(codes.flatten(), minlength=len(counts)).cpu()
        pairs.append((model.decode(codes, level)[0].cpu(), audio[0]))
    entropy = torch.special.entr(counts / counts.sum()).sum()
    return reconstruction_scores(pairs) | {
        "windows": len(chosen),
        "codes_used": int((counts > 0).sum()),
        "perplexity": float(entropy.exp()),
        "codebook_rms": float(model.codebook(level).k.square().mean().sqrt()),
    }


def measurement(model: JukeboxVQVAE, level: int, data: WindowData, count: int) -> Measurement:
    """`measure` during training: the defined scores, and the reconstructions of the first windows, to listen to."""
    scores = {name: value for name, value in measure(model, level, data, count).items() if not math.isnan(value)}
    first_windows = {data.clips[clip].clip_id: (clip, start) for clip, start in reversed(data.windows)}
    audio = {}
    for name, window in list(reversed(first_windows.items()))[:LISTENED_CLIPS]:
        wave = model.trim_to_hops(data.gather([window]).audio.to(next(model.parameters()).device), level)
        audio[name] = model.decode(model.encode(wave, level), level)[0].cpu().numpy()
    return Measurement(scores, audio)


def write_metrics(path: Path, metrics: dict) -> None:
    """Write nested metrics as JSON, complete or absent; an undefined number (nan) becomes null."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return None if isinstance(value, float) and math.isnan(value) else value

    write_text(path, json.dumps(plain(metrics), indent=2, allow_nan=False) + "\n")
