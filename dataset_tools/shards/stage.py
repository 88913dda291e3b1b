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

from dataset_tools.base.accounting import demand
from dataset_tools.base.atomic import begin_folder, keep_only
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.limits import SHARD_CLIPS
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, Song, read_records, write_records
from dataset_tools.base.shard_check import validate_shard
from dataset_tools.base.shard_format import NO_POSE, SPLITS, ShardClip, write_shard
from dataset_tools.base.timebase import frames_to_seconds
from dataset_tools.base.workers import progress
from dataset_tools.joining.upstream import Upstream, read_upstream

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
        require(1 <= self.max_clips <= SHARD_CLIPS, f"max_clips must be 1 to {SHARD_CLIPS}, found {self.max_clips}")
        require(self.max_frames_apart >= 0, f"max_frames_apart must be at least 0, found {self.max_frames_apart}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")


@dataclass(frozen=True, kw_only=True)
class ShardRow(Row):
    """One row of shards/rows.csv."""

    shard: str = ""
    """File name."""
    split: str = ""
    song: str = ""
    genre: str = ""
    frames: int | None = None


def plan(upstream: Upstream, params: Params) -> list[ShardRow]:
    """One row per clip, sorted by id: its shard and length, or why it is dropped."""
    rows, counts = [], dict.fromkeys(SPLITS, 0)
    for clip_id in sorted(upstream.clips):
        clip, split = upstream.clips[clip_id], upstream.splits.get(clip_id, "")
        frames, reason = upstream.joint_length(clip_id, params.max_frames_apart)
        row = ShardRow(id=clip_id, status="dropped", reason=reason, split=split, song=clip.song_id, genre=clip.genre)
        if not reason:
            name = f"{split}-{counts[split] // params.max_clips:05d}.h5"
            counts[split] += 1
            row = replace(row, status="ok", shard=name, frames=frames)
        rows.append(row)
    return rows


def build(layout: Layout, params: Params) -> list[ShardRow]:
    """Write all shards and rows.csv; return the rows.

    Raises UserError when too many clips are dropped (rows.csv then says why, and there is no shard), and, with what an
    earlier run left as it was, when a split loses all its clips, when clips can't be in one shard, and as `read_upstream` does.
    """
    upstream = read_upstream(layout)
    rows = plan(upstream, params)
    kept = [row for row in rows if row.status == "ok"]
    _demand(layout, rows, params)
    for split in sorted(set(upstream.splits.values())):
        if not any(row.split == split for row in kept):
            first = next(row for row in rows if row.split == split)
            raise UserError(
                f"shards: the {split} split is empty: all its clips are dropped ({first.id}: {first.reason})"
            )
    attrs = {
        "corpus": layout.corpus,
        "pose_layout": upstream.pose_layout(row.id for row in kept),
        "pose_weights": upstream.weights("pose"),
        "i3d_weights": upstream.weights("i3d"),
    }
    motion_rate = upstream.motion_rate(row.id for row in kept)
    folder = _begun(layout)
    _write(folder, rows, attrs, lambda row: upstream.load(row.id, row.frames, motion_rate), motion_rate)
    return rows


def _demand(layout: Layout, rows: list[ShardRow], params: Params) -> None:
    """Raise UserError when too many of `rows` are dropped; rows.csv then says why."""
    try:
        demand(rows, stage="shards", min_ok=params.min_ok, table=layout.stage("shards") / "rows.csv")
    except UserError:
        write_records(_begun(layout) / "rows.csv", [replace(row, shard="") for row in rows], ShardRow)
        raise


def _begun(layout: Layout) -> Path:
    """The stage's folder, empty: rows.csv is the last file that is written."""
    folder = layout.stage("shards")
    begin_folder(folder, "rows.csv")
    keep_only(folder, set(), ".h5")
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
    _demand(layout, rows, params)
    folder = _begun(layout)
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
    """The command line; the exit status."""
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
