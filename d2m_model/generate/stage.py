"""Music for dances, from models that were trained: for a corpus's test clips, or for any dance.

As a pipeline stage, every test clip of the shards -> runs/<corpus>/generate/<level>-<variant>/<clip_id>.wav:
    python -m d2m_model.generate --corpus demo --level high --variant prior
For your own dance video, of any length, the video with its new music or the music alone:
    python -m d2m_model.generate --video IN.mp4 --out OUT.mp4
    python -m d2m_model.generate --video IN.mp4 --out X.wav --level both
For every video of a folder; those that can't be read are named at the end:
    python -m d2m_model.generate --video DIR --out DIR
The pose from a file instead, with or without the video; beats that you know or corrected; other takes; a part made again:
    python -m d2m_model.generate --pose POSE.json --out X.wav
    python -m d2m_model.generate --video IN.mp4 --beats BEATS.json --style house --takes 3 --out X.wav
    python -m d2m_model.generate --video IN.mp4 --from X.wav --redo 4.0-6.5 --seed 7 --out Y.wav
An excerpt of your own songs on the dance's beats:
    python -m d2m_model.generate --video IN.mp4 --own-music DIR --out OUT.mp4
With --level both the two results are X-high.wav and X-low.wav; with --json the beats of X.wav are in X.json.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from d2m_model.generation.arguments import check_together, outputs, parser_of
from d2m_model.generation.beats import write_beats
from d2m_model.generation.composing import Composer, Dance
from d2m_model.generation.finish import write_wav
from d2m_model.generation.models import load_model, load_models, load_models_for_pose
from d2m_model.generation.settings import Params, chosen
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.training.music_model import inputs_of
from dataset_tools.base.cli import layout_of, run, say
from dataset_tools.base.layout import Layout
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.shard_format import ClipEntry
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import LEVELS, frames_to_seconds
from dataset_tools.base.workers import run_all


@dataclass(frozen=True, kw_only=True)
class SoundRow(Row):
    """One row of rows.csv: a test clip's music."""

    seconds: float
    peak: float
    """Highest absolute sample."""


def dance_of(shards: ShardSet, entry: ClipEntry, stream: str, rhythm: Path = Path()) -> Dance:
    """A clip of the shards as a composer that reads `stream` wants it; rhythm: folder of its beats, <clip_id>.json, where it
    reads them."""
    known = {"frames": entry.frames, "size": (entry.width, entry.height), "genre": entry.genre}
    if stream == "beats":
        return Dance(**known, beats=read_beats(rhythm / f"{entry.clip_id}.json"))
    return Dance(**known, pose=getattr(shards.read(entry.clip_id), stream), visual=shards.read_i3d(entry.clip_id))


def generate_split(
    shards: ShardSet, load: Callable[[], Composer], folder: Path, params: Params, label: str, *, rhythm: Path, beats: bool = False
) -> list[SoundRow]:
    """Write <clip_id>.wav for every clip of `shards`, <clip_id>.codes.npy where the composer draws codes, with `beats` a .json
    beside each, and rows.csv; those of earlier runs are removed. load: gives the model, in each of `params.workers` processes.
    rhythm: folder of the clips' beats, as the stage `rhythm` reads them from the motion."""
    made = run_all(partial(_generate_clip, shards, load, folder, params, label, rhythm, beats), list(shards.clips), params.workers, label)
    written = {name for _, names in made for name in names}
    for stale in (f for pattern in ("*.wav", "*.codes.npy") for f in folder.glob(pattern) if f.name not in written):
        stale.unlink()
    rows = [row for row, _ in made]
    write_records(folder / "rows.csv", rows, SoundRow)
    return rows


@lru_cache(maxsize=1)
def _loaded(load: Callable[[], Composer]) -> Composer:
    """The model, once in a process."""
    return load()


def _generate_clip(
    shards: ShardSet, load: Callable[[], Composer], folder: Path, params: Params, label: str, rhythm: Path, beats: bool, entry: ClipEntry
) -> tuple[SoundRow, set[str]]:
    """Write the files of one clip; gives its row and the names of its sound and codes."""
    model = _loaded(load)
    made, seconds = model.compose(dance_of(shards, entry, model.stream, rhythm), params), frames_to_seconds(entry.frames)
    sound, codes = f"{entry.clip_id}.wav", f"{entry.clip_id}.codes.npy"
    write_wav(folder / sound, made.audio)
    if made.codes:
        np.save(folder / codes, made.codes[model.level].numpy().astype(np.int16))
    if beats:
        write_beats(folder / f"{entry.clip_id}.json", made.audio, sound=sound, level=label.split()[-1], seed=params.seed, seconds=seconds)
    row = SoundRow(id=entry.clip_id, status="ok", seconds=seconds, peak=round(float(np.abs(made.audio).max()), 4))
    return row, {sound, codes} if made.codes else {sound}


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = parser_of(__doc__).parse_args(argv)
    layout = layout_of(args)
    params = chosen(args, layout)
    check_together(args, params)
    levels = list(LEVELS) if args.level == "both" else [args.level]
    if args.out:
        _for_own_dance(args, levels, layout, params)
        return 0
    for level in levels:
        name = f"{level}-{args.variant}"
        shards = ShardSet(layout.stage("shards"), params.split)
        load = partial(load_model, layout, level, args.variant, inputs_of(shards.info))
        rhythm = layout.stage("rhythm") / "beats"
        rows = generate_split(shards, load, layout.stage("generate") / name, params, f"generate {name}", rhythm=rhythm, beats=args.json)
        say("generate", f"{name}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music")
    return 0


def _for_own_dance(args: argparse.Namespace, levels: list[str], layout: Layout, params: Params) -> None:
    from d2m_model.generation.own_videos import Given, fit_music, generate_dance, generate_folder, pose_of

    given = Given(beats=args.beats, tempo=args.tempo)
    if args.own_music:
        (out,) = outputs(args.out, "own")[0].values()
        given = given.with_pose(pose_of(args.pose, args.pose_fps, args.video) if args.pose else None)
        fit_music(args.own_music, given, args.video, out, layout, params, beats=args.json)
    elif args.video and args.video.is_dir():
        models = load_models(layout, levels, args.variant, args.genre)
        generate_folder(args.video, args.out, args.level, models, layout, params, beats=args.json)
    else:
        outs = outputs(args.out, args.level, args.takes)
        if args.pose:
            pose = pose_of(args.pose, args.pose_fps, args.video)
            models, pose = load_models_for_pose(layout, levels, args.variant, args.genre, pose, video=args.video is not None)
            given = given.with_pose(pose)
        else:
            models = load_models(layout, levels, args.variant, args.genre, beats=args.beats is not None)
        generate_dance(args.video, outs, models, layout, params, beats=args.json, given=given, again=args.again)


if __name__ == "__main__":
    run(main)
