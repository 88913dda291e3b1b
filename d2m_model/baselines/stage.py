"""The stage `baselines`: music for a corpus's clips by other systems."""

import importlib
from functools import partial
from types import ModuleType

import numpy as np

from d2m_model.baselines.dance import STAGE, Corpus
from d2m_model.baselines.params import SYSTEMS, Params
from d2m_model.baselines.rows import MusicRow
from d2m_model.baselines.sampler import play
from d2m_model.baselines.score import write_midi
from d2m_model.generate.finish import normalise, write_wav
from d2m_model.training.seeding import seed_everything
from dataset_tools.lib.core.atomic import keep_only, prepare_folder
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.schema import write_records
from dataset_tools.lib.core.timebase import frames_to_samples, frames_to_seconds
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_format import ClipEntry
from dataset_tools.lib.shard_io.shard_set import ShardSet


def system_module(name: str) -> ModuleType:
    """The module of a system. Raises UserError for an unknown system."""
    if name not in SYSTEMS:
        raise UserError(f"unknown system '{name}'; known: {', '.join(SYSTEMS)}")
    return importlib.import_module(SYSTEMS[name])


def make_music(model: object, corpus: Corpus, params: Params) -> list[MusicRow]:
    """Write <clip_id>.wav, and .mid if the system writes scores, for each clip of the split, then rows.csv. Files of other clips
    from earlier runs are removed. Returns the rows."""
    shards, folder = ShardSet(corpus.layout.stage("shards"), params.split), corpus.folder
    prepare_folder(folder, "rows.csv")
    rows = run_all(
        partial(_make_clip, model, corpus, shards, params),
        list(shards.clips),
        params.workers,
        f"{STAGE} {corpus.system}",
    )
    for suffix, kept in ((".wav", rows), (".mid", [row for row in rows if row.notes is not None])):
        keep_only(folder, {f"{row.id}{suffix}" for row in kept}, suffix)
    write_records(folder / "rows.csv", rows, MusicRow)
    return rows


def _make_clip(model: object, corpus: Corpus, shards: ShardSet, params: Params, clip: ClipEntry) -> MusicRow:
    dance, seconds, notes = corpus.dance(shards, clip), frames_to_seconds(clip.frames), None
    seed_everything(dance.seed, params.threads)
    music = system_module(corpus.system).compose(model, dance)
    if isinstance(music, list):
        notes = len(music)
        write_midi(corpus.folder / f"{clip.clip_id}.mid", music)
        music = play(music, seconds)
    assert music.shape == (frames_to_samples(clip.frames),), (music.shape, clip)
    audio = normalise(music, params.loudness, params.peak)
    write_wav(corpus.folder / f"{clip.clip_id}.wav", audio)
    return MusicRow(
        id=clip.clip_id, status="ok", seconds=seconds, notes=notes, peak=round(float(np.abs(audio).max()), 4)
    )
