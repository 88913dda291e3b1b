"""The stage `prior`: trains a network that generates codes from a rhythm, on a corpus's music and on music without video."""

import json
from pathlib import Path

import numpy as np
import torch

from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.data import MusicData, TrainingMusic
from d2m_model.prior.held_out import PriorHeldOutScorer
from d2m_model.prior.model_file import PriorModel, load_prior, save_prior
from d2m_model.prior.net import PriorNet, PriorSizes
from d2m_model.prior.params import Params
from d2m_model.prior.style import encode_styles
from d2m_model.prior.task import PriorTask
from d2m_model.rhythm.beats_file import Beats, read_beats
from d2m_model.training.coding import encode_long
from d2m_model.training.distributed import rank, require_even
from d2m_model.training.loop import Run, train_loop
from d2m_model.training.seeding import seed_everything
from d2m_model.training.shard_data import SILENCE, WindowData, peak_gain
from d2m_model.vqvae.params import Params as VqvaeParams
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE
from dataset_tools.lib.core.weights import locate

PIECE_SECONDS = 60
"""Music without video is cut into pieces of at most this length."""


def encode_piece(vqvae: JukeboxVQVAE, audio: torch.Tensor, level: str, song: str, beats: Beats) -> TrainingMusic:
    """Audio (S,), encoded as training music of a level."""
    audio = audio.to(vqvae.codebook(0).k.device)
    codes = {name: encode_long(vqvae, audio, LEVELS[name]).to(torch.int16).cpu() for name in {"high", level}}
    upper = None if level == "high" else codes["high"]
    return TrainingMusic(
        song=song,
        codes=codes[level],
        beats=beats.beats,
        downbeats=beats.downbeats,
        strength=beats.strength,
        upper=upper,
    )


def corpus_music(
    shards: Path, rhythm: Path, vqvae: JukeboxVQVAE, level: str
) -> tuple[list[TrainingMusic], dict[str, str]]:
    """The training clips' music, peak-normalised as in the training of `vqvae`, and the genre of each song.

    rhythm: folder of <clip_id>.json, the beats of each clip's music. Raises UserError where one is missing.
    """
    data = WindowData(shards, "train", 1)
    pieces, genres = [], {}
    for k, clip in enumerate(progress(data.clips, f"prior {level} codes", unit="clip")):
        song = clip.song or clip.clip_id
        genres[song] = clip.genre
        pieces.append(encode_piece(vqvae, data.clip_audio(k), level, song, read_beats(rhythm / f"{clip.clip_id}.json")))
    return pieces, genres


def audio_files_of(folder: Path) -> list[Path]:
    """The audio files in a folder and its subfolders, without hidden ones. Raises UserError where there are none."""
    from d2m_model.metrics.inputs import AUDIO_SUFFIXES

    files = (
        sorted(
            f
            for f in folder.rglob("*")
            if f.suffix.lower() in AUDIO_SUFFIXES and f.is_file() and not f.name.startswith(".")
        )
        if folder.is_dir()
        else []
    )
    if not files:
        raise UserError(f"prior.music: {folder}: no audio file there (looked for {', '.join(AUDIO_SUFFIXES)})")
    return files


def free_music(folder: Path, vqvae: JukeboxVQVAE, level: str) -> list[TrainingMusic]:
    """The audio files in a folder and its subfolders as training music with tracked beats. The name of a song is its path in the
    folder. Raises UserError where there are none or one can't be read."""
    from d2m_model.metrics.inputs import read_audio
    from d2m_model.rhythm.music_beats import music_beats

    pieces = []
    for file in progress(audio_files_of(folder), f"prior {level} music", unit="file"):
        audio = read_audio(file)
        for start in range(0, len(audio), PIECE_SECONDS * SAMPLE_RATE):
            part = audio[start : start + PIECE_SECONDS * SAMPLE_RATE]
            if np.abs(part).max() > SILENCE and len(part) > SAMPLE_RATE:
                pieces.append(
                    encode_piece(
                        vqvae,
                        torch.from_numpy(part * peak_gain(part)),
                        level,
                        f"music/{file.relative_to(folder).as_posix()}",
                        music_beats(part),
                    )
                )
    return pieces


def network_sizes(params: Params, level: str, layout: Layout) -> PriorSizes:
    """Sizes of the network to train: those of `weights` or, without them, of `params` with the number of codebook entries in
    section `vqvae` of params.yaml. Raises UserError for missing or unfit weights."""
    if params.weights:
        return load_prior(locate(params.weights.replace("{level}", level), layout)).net.sizes
    return params.sizes(level, load_params(layout.params, "vqvae", VqvaeParams).bins)


def input_files(layout: Layout, level: str, params: Params) -> list[Path]:
    """The files that a training depends on, besides its parameters. UserError for missing weights or a missing folder."""
    files = [layout.stage("shards"), layout.stage("synthesizer") / level / "model.pt"]
    files += sorted((layout.stage("rhythm") / "music").glob("*.json"))
    files += [locate(params.weights.replace("{level}", level), layout)] if params.weights else []
    return files + (audio_files_of(layout.root / params.music) if params.music else [])


def train(layout: Layout, vqvae: JukeboxVQVAE, level: str, params: Params, out: Path, run: Run | None = None) -> dict:
    """Train the prior of one level and write model.pt, curves.csv and metrics.json to `out`. Returns the metrics; with several
    processes only the first writes and returns them.

    Raises UserError for missing or too short training music, for weights over another codebook, and for a loss that is not
    finite.
    """
    require_even("prior", batch=params.batch)
    run, device = run or Run(stage="prior"), seed_everything(params.seed, params.threads)
    codebook = vqvae.codebook(LEVELS[level]).k.clone()
    start, weights = None, ""
    if params.weights:
        file = locate(params.weights.replace("{level}", level), layout)
        start, weights = load_prior(file, codebook), file.name
        if start.level != level:
            raise UserError(f"prior.weights: {file} is of level {start.level}, not {level}")
    net = start.net if start else PriorNet(params.sizes(level, len(codebook)))
    pieces, genres = corpus_music(layout.stage("shards"), layout.stage("rhythm") / "music", vqvae.to(device), level)
    clips = len(pieces)
    if params.music:
        pieces += free_music(layout.root / params.music, vqvae, level)
    data = MusicData(pieces, net.sizes, HOPS[LEVELS[level]])
    styles = lambda net: encode_styles(net, data, genres) if net.sizes.style else None
    task = PriorTask(net, data, params, device)
    if params.measure_every:
        task.held_out = PriorHeldOutScorer(layout, vqvae, level, params.measure_clips, params.seed, styles)
    curves = train_loop(task, params.steps, params, run)
    if rank() > 0:
        return {}
    net = net.cpu().eval()
    save_prior(
        out / "model.pt",
        PriorModel(net=net, codebook=codebook.cpu(), level=level, styles=styles(net)),
        seed=params.seed,
        steps=params.steps,
    )
    curves.write(out / "curves.csv")
    last = {
        name: round(value, 6)
        for row in curves.rows
        for name, value in row.items()
        if name != "step" and np.isfinite(value)
    }
    metrics = {
        "level": level, "steps": params.steps, "seed": params.seed, "weights": weights, "train_clips": clips,
        "pieces": len(data.pieces), "codes": sum(len(p.codes) for p in data.pieces),
        "parameters": sum(p.numel() for p in net.parameters()), "scores": last,
    }  # fmt: skip
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    run.finish()
    return metrics
