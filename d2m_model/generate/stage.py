"""The stage `generate`: music for a corpus's clips from trained models."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from d2m_model.generate.detected_beats import write_beats
from d2m_model.generate.finish import write_wav
from d2m_model.generate.generators import Dance, MusicGenerator
from d2m_model.generate.params import Params
from d2m_model.generate.rows import GeneratedRow
from d2m_model.rhythm.beats_file import read_beats
from dataset_tools.lib.core.array_file import write_npy
from dataset_tools.lib.core.atomic import keep_only, prepare_folder
from dataset_tools.lib.core.schema import write_records
from dataset_tools.lib.core.timebase import frames_to_seconds
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_format import ClipEntry
from dataset_tools.lib.shard_io.shard_set import ShardSet


def dance_of(shards: ShardSet, entry: ClipEntry, stream: str, rhythm: Path = Path()) -> Dance:
    """A clip of the shards as input of a generator that reads `stream`. rhythm: folder of <clip_id>.json, for generators that read
    beats."""
    known: dict[str, Any] = {"frames": entry.frames, "size": (entry.width, entry.height), "genre": entry.genre}
    if stream == "beats":
        return Dance(**known, beats=read_beats(rhythm / f"{entry.clip_id}.json"))
    return Dance(**known, pose=getattr(shards.read(entry.clip_id), stream), visual=shards.read_i3d(entry.clip_id))


def generate_split(
    shards: ShardSet,
    load: Callable[[], MusicGenerator],
    folder: Path,
    params: Params,
    label: str,
    *,
    rhythm: Path,
    beats: bool = False,
) -> list[GeneratedRow]:
    """Write <clip_id>.wav for every clip of `shards`, <clip_id>.codes.npy if the generator samples codes, a .json of detected beats
    with `beats`, and rows.csv last. Files of earlier runs are removed.

    load: loads the model, once in each of `params.workers` processes. rhythm: folder of the clips' beats, <clip_id>.json, predicted
    by the stage `rhythm`. Raises UserError as `load` and `MusicGenerator.check`, before anything in `folder` changes.
    """
    _loaded(load).check(params)
    prepare_folder(folder, "rows.csv")
    made = run_all(
        partial(_generate_clip, shards, load, folder, params, label, rhythm, beats),
        list(shards.clips),
        params.workers,
        label,
    )
    written = {name for _, names in made for name in names}
    for suffix in (".wav", ".npy", ".json"):
        keep_only(folder, written, suffix)
    rows = [row for row, _ in made]
    write_records(folder / "rows.csv", rows, GeneratedRow)
    return rows


@lru_cache(maxsize=1)
def _loaded(load: Callable[[], MusicGenerator]) -> MusicGenerator:
    """The model, loaded once per process."""
    return load()


def _generate_clip(
    shards: ShardSet,
    load: Callable[[], MusicGenerator],
    folder: Path,
    params: Params,
    label: str,
    rhythm: Path,
    beats: bool,
    entry: ClipEntry,
) -> tuple[GeneratedRow, set[str]]:
    """Write the files of one clip; returns its row and the names of the files."""
    model = _loaded(load)
    made, seconds = (
        model.generate(dance_of(shards, entry, model.stream, rhythm), params),
        frames_to_seconds(entry.frames),
    )
    wav, codes, detected = (f"{entry.clip_id}{suffix}" for suffix in (".wav", ".codes.npy", ".json"))
    write_wav(folder / wav, made.audio)
    if made.codes:
        write_npy(folder / codes, made.codes[model.level].numpy().astype(np.int16))
    if beats:
        facts: dict[str, Any] = {"sound": wav, "level": label.split()[-1], "seed": params.seed, "seconds": seconds}
        write_beats(folder / detected, made.audio, **facts)
    row = GeneratedRow(id=entry.clip_id, status="ok", seconds=seconds, peak=round(float(np.abs(made.audio).max()), 4))
    return row, {wav} | ({codes} if made.codes else set()) | ({detected} if beats else set())
