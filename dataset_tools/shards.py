"""Join clips, pose, i3d, audio and split into shards: data/<corpus>/shards/<split>-00000.h5, ... and rows.csv.

Every clip of clips/rows.csv gets a row: in a shard, or dropped with the reason. Streams whose lengths differ by a
rounding are cut to the shortest; streams that differ by more belong to different clips or runs, so the clip is dropped.

Shards in the formats of others, and back:
    python -m dataset_tools.shards export --corpus C --format webdataset --out DIR    # tars of one sample per clip
    python -m dataset_tools.shards export --corpus C --format released --out DIR      # audio_s2/ video_s2/ motion_s2/
    python -m dataset_tools.shards import --corpus C --from DIR                       # from audio_s2/ ... into shards
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataset_tools.base.accounting import demand
from dataset_tools.base.atomic import begin_folder, keep_only
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, Song, read_records, write_records
from dataset_tools.base.shard_format import (
    JOINTS,
    NO_POSE,
    SPLITS,
    STREAMS,
    ShardClip,
    validate_shard,
    write_shard,
)
from dataset_tools.base.stream_files import audio_frames, read_i3d, read_motion, read_pose, read_sound
from dataset_tools.base.timebase import FPS, frames_to_seconds, window_starts
from dataset_tools.base.workers import progress

SHOWN = 20  # dropped clips that are printed


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `shards` of params.yaml."""

    max_clips: int = 64
    """Clips per shard."""
    max_frames_apart: int = 2
    """Frames by which the lengths of a clip's streams may differ; they are cut to the shortest."""
    min_ok: float = 0.9
    """Least fraction of the clips that must get into a shard."""

    def __post_init__(self):
        require(self.max_clips >= 1, f"max_clips must be at least 1, found {self.max_clips}")
        require(self.max_frames_apart >= 0, f"max_frames_apart must be at least 0, found {self.max_frames_apart}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")


@dataclass(frozen=True, kw_only=True)
class CutClip(Row):
    """The columns of clips/rows.csv that matter here."""

    song_id: str = ""
    genre: str = ""
    frames: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class StreamRow(Row):
    """The columns of pose/, i3d/ and audio/rows.csv that matter here."""

    weights: str = ""
    """What computed the stream."""


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """One row of split/split.csv."""

    clip_id: str
    split: str


@dataclass(frozen=True, kw_only=True)
class ShardRow(Row):
    """One row of shards/rows.csv."""

    shard: str = ""
    """File name."""
    split: str = ""
    song: str = ""
    genre: str = ""
    frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The upstream tables and where the streams are."""

    layout: Layout
    clips: dict[str, CutClip]
    streams: dict[str, dict[str, StreamRow]]
    """Stream name to clip id to row."""
    splits: dict[str, str]
    """Clip id to split."""

    def path(self, stream: str, clip_id: str) -> Path:
        """File of one stream of one clip."""
        return self.layout.stage(stream) / f"{clip_id}{'.wav' if stream == 'audio' else '.npy'}"

    def motion_path(self, clip_id: str) -> Path:
        """File of a clip's body motion, which only some corpora have."""
        return self.layout.stage("pose") / f"{clip_id}.motion.npy"

    def weights(self, stream: str) -> str:
        """What computed a stream, the same for all clips. Raises UserError when clips differ in it."""
        found = sorted({row.weights for row in self.streams[stream].values() if row.status == "ok"})
        if len(found) > 1:
            table = self.layout.stage(stream) / "rows.csv"
            raise UserError(
                f"{table}: clips were computed by different weights ({', '.join(found)}); run {stream} again"
            )
        return found[0] if found else ""


def read_sources(layout: Layout) -> Sources:
    """Read the tables of the stages before this one.

    Raises UserError for a missing table, naming the stage to run, for a split of clips that were not cut, and for one
    without training or test clips.
    """
    tables = {word: layout.stage(word) / "rows.csv" for word in ("clips", *STREAMS)}
    tables["split"] = layout.stage("split") / "split.csv"
    for word, path in tables.items():
        if not path.is_file():
            raise UserError(
                f"{path}: file not found; run python -m dataset_tools.{word} --corpus {layout.corpus} first"
            )
    clips = {row.id: row for row in read_records(tables["clips"], CutClip)}
    splits = {row.clip_id: row.split for row in read_records(tables["split"], SplitPart)}
    for clip_id, split in splits.items():
        if clip_id not in clips or split not in SPLITS:
            raise UserError(
                f"{tables['split']}: clip '{clip_id}' in split '{split}' is not one of clips/rows.csv in one of "
                f"{', '.join(SPLITS)}; run python -m dataset_tools.split again"
            )
    for split in ("train", "test"):
        if split not in splits.values():
            raise UserError(
                f"{tables['split']}: no clip is in the {split} split, which later stages need; run python -m "
                "dataset_tools.split again, or correct the table"
            )
    streams = {name: {row.id: row for row in read_records(tables[name], StreamRow)} for name in STREAMS}
    return Sources(layout=layout, clips=clips, streams=streams, splits=splits)


def plan(sources: Sources, params: Params) -> list[ShardRow]:
    """One row per clip, sorted by id: its shard and length, or why it is dropped."""
    rows, counts = [], dict.fromkeys(SPLITS, 0)
    for clip_id in sorted(sources.clips):
        clip, split = sources.clips[clip_id], sources.splits.get(clip_id, "")
        frames, reason = _joint_length(clip, sources, params)
        row = ShardRow(id=clip_id, status="dropped", reason=reason, split=split, song=clip.song_id, genre=clip.genre)
        if not reason:
            name = f"{split}-{counts[split] // params.max_clips:05d}.h5"
            counts[split] += 1
            row = replace(row, status="ok", shard=name, frames=frames)
        rows.append(row)
    return rows


def _joint_length(clip: CutClip, sources: Sources, params: Params) -> tuple[int, str]:
    """(frames that all streams of a clip have, why it can't be used or '')."""
    if clip.status != "ok":
        return 0, f"clips: {clip.reason or clip.status}"
    if not (clip.frames and clip.width and clip.height):
        return 0, "clips: ok, but without frames, width or height"
    if clip.id not in sources.splits:
        return 0, "split: not in split.csv"
    for name in STREAMS:
        row = sources.streams[name].get(clip.id)
        if row is None or row.status != "ok":
            return 0, f"{name}: {(row.reason or row.status) if row else 'not in rows.csv'}"
    lengths = {"clips": clip.frames}
    try:
        streams = {"pose": read_pose(sources.path("pose", clip.id)), "i3d": read_i3d(sources.path("i3d", clip.id))}
        if sources.motion_path(clip.id).exists():
            streams["motion"] = read_motion(sources.motion_path(clip.id))
        lengths |= {name: len(values) for name, values in streams.items() if name != "i3d"}
        lengths["audio"] = audio_frames(sources.path("audio", clip.id))
        streams["audio"] = read_sound(sources.path("audio", clip.id))
        windows = len(streams["i3d"])
        for name, values in streams.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: {clip.id} holds NaN or infinite values; run {'pose' if name == 'motion' else name} again")
    except (OSError, ValueError, RuntimeError) as err:
        return 0, " ".join(str(err).split())
    if max(lengths.values()) - min(lengths.values()) > params.max_frames_apart:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        return 0, f"lengths in frames differ by more than {params.max_frames_apart}: {found}"
    frames = min(lengths.values())
    if windows < _windows(frames):
        return 0, f"i3d: {windows} windows for {frames} frames, at least {_windows(frames)} are needed"
    return frames, ""


def _windows(frames: int) -> int:
    return max(1, len(window_starts(frames)))


def _load(row: ShardRow, sources: Sources, motion_rate: int) -> ShardClip:
    """All streams of one clip, cut to the row's length."""
    clip = sources.clips[row.id]
    return ShardClip(
        clip_id=row.id,
        song=row.song,
        genre=row.genre,
        split=row.split,
        width=clip.width,
        height=clip.height,
        pose=read_pose(sources.path("pose", row.id))[: row.frames],
        audio=read_sound(sources.path("audio", row.id), row.frames),
        i3d=read_i3d(sources.path("i3d", row.id))[: _windows(row.frames)],
        motion=read_motion(sources.motion_path(row.id))[: row.frames] if motion_rate else None,
    )


def _motion_rate(rows: list[ShardRow], sources: Sources) -> int:
    """Steps a second of the clips' motion, 0 where there is none. Raises UserError when clips differ in it."""
    rates = {}
    for row in rows:
        known = sources.motion_path(row.id).exists()
        rates.setdefault(FPS * read_motion(sources.motion_path(row.id)).shape[1] if known else 0, row.id)
    if len(rates) > 1:
        found = "; ".join(f"{clip_id}: {rate} steps a second" for rate, clip_id in rates.items())
        raise UserError(f"{sources.layout.stage('pose')}: clips differ in their motion ({found}); run pose again")
    return next(iter(rates))


def _layout_name(rows: list[ShardRow], sources: Sources) -> str:
    """Pose layout of the clips. Raises UserError when they differ in slots or joints."""
    shapes = {}
    for row in rows:
        shapes.setdefault(read_pose(sources.path("pose", row.id)).shape[1:3], row.id)
    if len(shapes) > 1:
        found = "; ".join(
            f"{clip_id}: {people} people, {joints} joints" for (people, joints), clip_id in shapes.items()
        )
        raise UserError(f"{sources.layout.stage('pose')}: clips differ in their layout ({found}); run pose again")
    (_, joints), _ = next(iter(shapes.items()))
    return next(name for name, number in JOINTS.items() if number == joints)


def build(layout: Layout, params: Params) -> list[ShardRow]:
    """Write all shards and rows.csv; return the rows.

    Raises UserError when too many clips are dropped (rows.csv then says why, and no shard is written), when a split
    loses all its clips, and as `read_sources` does.
    """
    sources = read_sources(layout)
    rows = plan(sources, params)
    folder = _begun(layout, rows, params)
    kept = [row for row in rows if row.status == "ok"]
    for split in sorted(set(sources.splits.values())):
        if not any(row.split == split for row in kept):
            first = next(row for row in rows if row.split == split)
            raise UserError(
                f"shards: the {split} split is empty: all its clips are dropped ({first.id}: {first.reason})"
            )
    attrs = {
        "corpus": layout.corpus,
        "pose_layout": _layout_name(kept, sources),
        "pose_weights": sources.weights("pose"),
        "i3d_weights": sources.weights("i3d"),
    }
    motion_rate = _motion_rate(kept, sources)
    _write(folder, rows, attrs, lambda row: _load(row, sources, motion_rate), motion_rate)
    return rows


def _begun(layout: Layout, rows: list[ShardRow], params: Params) -> Path:
    """The stage's folder, empty. Raises UserError when too many of `rows` are dropped; rows.csv, otherwise the last file
    that is written, then says why."""
    folder = layout.stage("shards")
    begin_folder(folder, "rows.csv")
    keep_only(folder, set(), ".h5")
    try:
        demand(rows, stage="shards", min_ok=params.min_ok, table=folder / "rows.csv")
    except UserError:
        write_records(folder / "rows.csv", [replace(row, shard="") for row in rows], ShardRow)
        raise
    return folder


def _write(
    folder: Path, rows: list[ShardRow], attrs: dict[str, str], load: Callable[[ShardRow], ShardClip],
    motion_rate: int = 0,
) -> None:
    """The shards that `rows` name, one clip in memory at a time, then rows.csv."""
    for name in progress(sorted({row.shard for row in rows if row.status == "ok"}), "shards"):
        inside = [row for row in rows if row.shard == name]
        write_shard(folder / name, (load(row) for row in inside), {**attrs, "split": inside[0].split}, motion_rate)
        validate_shard(folder / name)
    write_records(folder / "rows.csv", rows, ShardRow)


def import_released(layout: Layout, params: Params, source: Path) -> list[ShardRow]:
    """Write the 2 s segments of a folder in the released program's layout as shards, one clip each, and rows.csv.

    Segments of AIST++, with SMPL motion, have no keypoints: their `pose` is empty. Raises UserError when too many segments
    are dropped (rows.csv then says why), when only some have SMPL motion, and as `find_segments` does.
    """
    from dataset_tools.exchange.released_layout import FRAMES, MOTION_RATE, find_segments, load_segment

    segments = find_segments(source)
    genre_of = {song.song_id: song.genre for song in read_records(layout.manifest / "songs.csv", Song)}
    rows, counts, rates = [], dict.fromkeys(SPLITS, 0), {}
    for segment in progress(segments, "shards"):
        genre = genre_of.get(segment.song, "")
        row = ShardRow(id=segment.name, status="dropped", split=segment.split, song=segment.song, genre=genre)
        try:
            rate = 0 if load_segment(source, segment, genre).motion is None else MOTION_RATE
            rates.setdefault(rate, segment.name)
        except ValueError as err:
            rows.append(replace(row, reason=str(err)))
            continue
        name = f"{row.split}-{counts[row.split] // params.max_clips:05d}.h5"
        counts[row.split] += 1
        rows.append(replace(row, status="ok", shard=name, frames=FRAMES))
    if len(rates) > 1:
        raise UserError(f"{source}: {rates[0]} holds keypoints, {rates[MOTION_RATE]} SMPL motion; import them as two corpora")
    motion_rate = next(iter(rates), 0)
    folder = _begun(layout, rows, params)
    named = {segment.name: segment for segment in segments}
    attrs = {
        "corpus": layout.corpus, "pose_layout": "body25", "pose_weights": NO_POSE if motion_rate else "imported",
        "i3d_weights": "imported",
    }  # fmt: skip
    _write(folder, rows, attrs, lambda row: load_segment(source, named[row.id], row.genre), motion_rate)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("dataset_tools.shards", __doc__)
    commands = parser.add_subparsers(dest="command", metavar="{export,import}", help="default: build the shards")
    for command, doc in (("export", "write the shards in another format"), ("import", "make shards of a folder")):
        sub = commands.add_parser(command, help=doc, description=doc)
        sub.add_argument("--corpus", default=argparse.SUPPRESS, help="as for building")
        sub.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="as for building")
        if command == "export":
            sub.add_argument("--format", choices=("webdataset", "released"), required=True)
            sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="an empty or a new folder")
        else:
            sub.add_argument("--from", type=Path, required=True, metavar="DIR", dest="source")
    return parser


def _export(layout: Layout, kind: str, out: Path) -> None:
    from dataset_tools.exchange.released_layout import export_released
    from dataset_tools.exchange.tar_samples import export_tars

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is not an empty folder; give --out a new one")
    export, unit = (export_tars, "clips") if kind == "webdataset" else (export_released, "segments of 2 s")
    for name, count in export(layout.stage("shards"), out).items():
        say("shards", f"{name}: {count} {unit}")


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    if args.command == "export":
        _export(layout, args.format, args.out)
        return 0
    params = load_params(layout.params, "shards", Params)
    rows = import_released(layout, params, args.source) if args.command == "import" else build(layout, params)
    kept = [row for row in rows if row.status == "ok"]
    for split in SPLITS:
        inside = [row for row in kept if row.split == split]
        if inside:
            seconds = frames_to_seconds(sum(row.frames for row in inside))
            say("shards", f"{split}: {len(inside)} clips, {seconds:.1f} s, {len({row.shard for row in inside})} shards")
    dropped = [row for row in rows if row.status != "ok"]
    for row in dropped[:SHOWN]:
        say("shards", f"dropped {row.id}: {row.reason}")
    if len(dropped) > SHOWN:
        say("shards", f"... and {len(dropped) - SHOWN} more, all in {layout.stage('shards') / 'rows.csv'}")
    return 0


if __name__ == "__main__":
    run(main)
