"""The stage `synthesizer`: fine-tunes the decoder of a level as a GAN."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m_model.metrics.decoder_choice import decoder_scores, no_worse
from d2m_model.metrics.embedding import Embedder
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.synthesizer.params import Params
from d2m_model.synthesizer.task import DecoderTask
from d2m_model.training.autoencoding import measure, open_test, write_metrics
from d2m_model.training.checkpoint import training_state
from d2m_model.training.curves import Curves
from d2m_model.training.distributed import rank, require_even
from d2m_model.training.loop import Run, train_loop
from d2m_model.training.seeding import seed_everything
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import LEVELS
from dataset_tools.lib.core.work_cache import file_sha256

TRAINED_DECODERS = {"own": "fine-tuned", "istft": "istft"}
"""`synthesizer.decoder` -> name of the decoder trained here in metrics.json."""


def fine_tune(
    model: JukeboxVQVAE, level: int, data: WindowData, test: WindowData, params: Params, run: Run
) -> tuple[DecoderTask, Curves]:
    """Train the decoder of `level` (0, 1 or 2) in place; returns the task and its curves.

    Nothing else in the network changes: a hash is compared before and after (RuntimeError). Raises UserError when a loss is not
    finite.
    """
    task, frozen = DecoderTask(model, level, data, test, params), frozen_weights_hash(model, level)
    curves = train_loop(task, params.steps, params, run)
    if frozen_weights_hash(model, level) != frozen:
        raise RuntimeError("fine-tuning changed more than the decoder: a bug")
    model.requires_grad_(False)
    return task, curves


def frozen_weights_hash(model: JukeboxVQVAE, level: int) -> str:
    """sha256 of all tensors of the network, except those of the decoder of `level`."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if not name.startswith(f"decoders.{level}."):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def train(
    shards: Path,
    vqvae: Path,
    level: str,
    params: Params,
    out: Path,
    run: Run | None = None,
    embedder: Embedder | None = None,
) -> dict:
    """Fine-tune the decoder of `level` ('high' or 'low') of the VQ-VAE file `vqvae` on `shards`, and write model.pt, curves.csv and
    metrics.json to `out`. Returns the metrics, measured before and after; with several processes only the first writes and
    returns them.

    embedder: if given, the VQ-VAE's own decoder is kept unless the fine-tuned one is no worse (`decoder_choice`).

    Raises UserError for a missing or unfit file, for shards without train or test windows, and for a loss that is not finite.
    """
    run = run or Run(stage="synthesizer")
    device = seed_everything(params.seed, params.threads)
    require_even("synthesizer", batch=params.batch)
    index = LEVELS[level]
    model = load_vqvae(vqvae)
    data, test = WindowData(shards, "train", params.seconds), open_test(shards)
    writes = rank() == 0
    before = measure(model, index, test, params.test_windows) if writes else {}
    task, curves = fine_tune(model.to(device), index, data, test, params, run)
    if not writes:
        return {}
    training = training_state(params.steps, task.optimizers) | {"discriminator": task.discriminator.state_dict()}
    tuned = load_vqvae(vqvae)  # on the CPU and not accelerated, like the measurement before
    tuned.copy_level(model, index)
    metrics: dict[str, Any] = {
        "level": level,
        "before": before,
        "after": measure(tuned, index, test, params.test_windows),
    }
    metrics |= {
        "steps": params.steps,
        "train_windows": len(data),
        "seed": params.seed,
        "kept": TRAINED_DECODERS[params.decoder],
    }
    if embedder:
        own = load_vqvae(vqvae)
        audio, songs = _scored(data, params.scored_clips)
        scores = decoder_scores({"own": own, metrics["kept"]: tuned}, index, audio, songs, embedder)
        metrics["scores"] = scores
        if not no_worse(scores[metrics["kept"]], scores["own"]):
            tuned, metrics["kept"] = own, "own"
    notes = {"seed": params.seed, "steps": params.steps, "fine_tuned": [level] if metrics["kept"] != "own" else []}
    save_vqvae(out / "model.pt", tuned, training, **notes)
    curves.write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    run.finish()
    return metrics


def _scored(data: WindowData, count: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """({clip: audio}, {clip: song}) of up to `count` clips, spread evenly."""
    chosen = np.unique(np.linspace(0, len(data.clips) - 1, min(count, len(data.clips))).round().astype(int))
    audio = {data.clips[k].clip_id: data.clip_audio(int(k)).numpy() for k in chosen}
    return audio, {data.clips[k].clip_id: data.clips[k].song or data.clips[k].clip_id for k in chosen}


def take_published_decoder(shards: Path, vqvae: Path, file: Path, level: str, params: Params, out: Path) -> dict:
    """Write the outputs of `train` with the network of a JukeBox file instead of a fine-tuned one; the curves have no rows. Returns
    the metrics: 'before' for the VQ-VAE file `vqvae`, 'after' for this network, and whether both have the same codebook.

    Raises UserError for a file of another network or of other sizes than `vqvae`, and for shards without test windows.
    """
    from d2m_model.checkpoints import load_jukebox

    seed_everything(params.seed, params.threads)
    index, test, known = LEVELS[level], open_test(shards), load_vqvae(vqvae)
    try:
        model = load_jukebox(file, known.config)
    except UserError as err:
        raise UserError(f"synthesizer.weights: {err}; the sizes are those of {vqvae}") from None
    metrics: dict[str, Any] = {
        "level": level,
        **{when: measure(net, index, test, params.test_windows) for when, net in (("before", known), ("after", model))},
    }
    metrics |= {"steps": 0, "same_codebook": torch.equal(model.codebook(index).k, known.codebook(index).k)}
    source = {"weights": file.name, "weights_sha256": file_sha256(file)}
    save_vqvae(out / "model.pt", model, {}, steps=0, fine_tuned=[level], **source)
    Curves().write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics | source)
    return metrics
