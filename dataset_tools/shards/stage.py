"""The stage `shards`: join the streams of all clips into HDF5 files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.atomic import keep_only, prepare_folder
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import Song, read_records, write_records
from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.shard_format import NO_POSE, ShardClip, write_shard
from dataset_tools.shards.params import Params
from dataset_tools.shards.rows import ShardRow
from dataset_tools.shards.upstream import Upstream, read_upstream


def plan_shards(upstream: Upstream, params: Params) -> list[ShardRow]:
    """One row per clip, sorted by id, with its shard and length, or the reason why it is dropped."""
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


def build_shards(layout: Layout, params: Params) -> list[ShardRow]:
    """Write all shards and rows.csv. Returns the rows.

    Raises UserError if too many clips are dropped; rows.csv then has the reasons, and there are no shards. Raises UserError also if
    a split loses all its clips, if clips can't be in the same shard, and as `read_upstream`; the results of an earlier run then
    stay.
    """
    upstream = read_upstream(layout)
    rows = plan_shards(upstream, params)
    kept = [row for row in rows if row.status == "ok"]
    _check_success(layout, rows, params)
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
    folder = _empty_folder(layout)
    _write_shards(folder, rows, attrs, lambda row: upstream.load(row.id, row.frames, motion_rate), motion_rate)
    return rows


def _check_success(layout: Layout, rows: list[ShardRow], params: Params) -> None:
    """Raise UserError if too many of `rows` are dropped; rows.csv is then written with the reasons."""
    try:
        check_success_rate(rows, stage="shards", min_ok=params.min_ok, table=layout.stage("shards") / "rows.csv")
    except UserError:
        write_records(_empty_folder(layout) / "rows.csv", [replace(row, shard="") for row in rows], ShardRow)
        raise


def _empty_folder(layout: Layout) -> Path:
    """Empty the stage's folder and return its path. rows.csv is the last file that is written."""
    folder = layout.stage("shards")
    prepare_folder(folder, "rows.csv")
    keep_only(folder, set(), ".h5")
    return folder


def _write_shards(
    folder: Path,
    rows: list[ShardRow],
    attrs: dict[str, str],
    load: Callable[[ShardRow], ShardClip],
    motion_rate: int = 0,
) -> None:
    """Write the shards of `rows`, with one clip in memory at a time, then rows.csv."""
    for name in progress(sorted({row.shard for row in rows if row.status == "ok"}), "shards", unit="shard"):
        inside = [row for row in rows if row.shard == name]
        write_shard(folder / name, (load(row) for row in inside), {**attrs, "split": inside[0].split}, motion_rate)
        validate_shard(folder / name)
    write_records(folder / "rows.csv", rows, ShardRow)


def export(shards: Path, kind: str, out: Path, workers: int = 1) -> dict[str, str]:
    """Write the shards of a folder to the empty or new folder `out`, in the format `kind` of `EXPORTS`, `workers` shards at once; gives
    what was written of each split. Raises UserError where `out` holds anything."""
    from dataset_tools.shards.released_layout import export_released
    from dataset_tools.shards.tar_samples import export_tars

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is not an empty folder; give --out a new one")
    write, unit = (export_tars, "clips") if kind == "webdataset" else (export_released, "segments of 2 s")
    return {name: f"{count} {unit}" for name, count in write(shards, out, workers).items()}


def import_released(layout: Layout, params: Params, source: Path) -> list[ShardRow]:
    """Write the 2 s segments of a folder in the layout of the released code as shards, one clip each, and rows.csv. Returns the rows.

    Segments of AIST++, with SMPL motion, have no keypoints: their `pose` is empty. Raises UserError if too many segments are dropped
    (rows.csv then has the reasons), if only some have SMPL motion, and as `find_segments`.
    """
    from dataset_tools.shards.released_layout import MOTION_RATE, SEGMENT_FRAMES, find_segments, load_segment

    segments = find_segments(source)
    genre_of = {song.song_id: song.genre for song in read_records(layout.manifest / "songs.csv", Song)}
    rows, counts, rates = [], dict.fromkeys(SPLITS, 0), {}
    for segment in progress(segments, "shards", unit="segment"):
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
        rows.append(replace(row, status="ok", shard=name, frames=SEGMENT_FRAMES))
    if len(rates) > 1:
        raise UserError(
            f"{source}: {rates[0]} has keypoints, but {rates[MOTION_RATE]} has SMPL motion; import them as two corpora"
        )
    motion_rate = next(iter(rates), 0)
    _check_success(layout, rows, params)
    folder = _empty_folder(layout)
    named = {segment.name: segment for segment in segments}
    attrs = {
        "corpus": layout.corpus, "pose_layout": "body25", "pose_weights": NO_POSE if motion_rate else "imported",
        "i3d_weights": "imported",
    }  # fmt: skip
    _write_shards(folder, rows, attrs, lambda row: load_segment(source, named[row.id], row.genre), motion_rate)
    return rows
