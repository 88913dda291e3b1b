"""The stage `shards`: join the streams of all clips into HDF5 files."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.addresses import reach
from dataset_tools.lib.core.atomic import keep_only, prepare_folder
from dataset_tools.lib.core.collection import no_collection
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import Song, read_records, write_records
from dataset_tools.lib.core.work_cache import item_key
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_format import NO_POSE, ShardClip, write_shard
from dataset_tools.lib.shard_io.shard_index import INDEX, Entry, describe_shard, write_index
from dataset_tools.shards.clip_streams import ClipStreams, Fit, load_streams, measure_fit
from dataset_tools.shards.params import Params
from dataset_tools.shards.rows import ShardRow
from dataset_tools.shards.upstream import Upstream, read_upstream

VERSION = 1  # of the files that are written; raise it when the same streams give other bytes


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to write, with everything that a worker process needs."""

    path: Path
    clips: tuple[Callable[[], ShardClip], ...]
    """Each loads one clip; sorted by id."""
    attrs: dict[str, str]
    motion_rate: int


def write_job(job: ShardJob) -> Entry:
    """Write a shard, with one clip in memory at a time, and return its entry of the index."""
    write_shard(job.path, (load() for load in job.clips), job.attrs, job.motion_rate)
    return describe_shard(job.path)


def measure_fits(
    refusals: dict[str, str], streams: dict[str, ClipStreams], stamped: dict[str, list], memo: FileMemo, params: Params
) -> dict[str, Fit]:
    """Clip id -> fit of every clip, sorted by id. The files of clips that have not changed since an earlier run are not read again.

    refusals: why the tables refuse a clip, or ''. streams: of the other clips. stamped: `stamps` of their files.
    """
    measure = partial(measure_fit, frames_apart=params.max_frames_apart)
    name_of = {i: f"fit {VERSION} {i} {s.frames} {params.max_frames_apart}" for i, s in streams.items()}
    with no_collection():
        known = {i: Fit(**fit) for i, s in streams.items() if (fit := memo.recall_stamped(name_of[i], stamped[i]))}
    todo = [clip for clip_id, clip in streams.items() if clip_id not in known]
    for clip, fit in zip(todo, run_all(measure, todo, params.workers, "shards: checking"), strict=True):
        known[clip.clip_id] = fit
        if not fit.reason:
            memo.keep(name_of[clip.clip_id], asdict(fit), stamped[clip.clip_id], own=True)
    return {clip_id: known[clip_id] if clip_id in known else Fit(reason=reason) for clip_id, reason in refusals.items()}


@no_collection()
def plan_shards(upstream: Upstream, fits: Mapping[str, Fit], params: Params) -> list[ShardRow]:
    """One row per clip, sorted by id, with its shard and length, or the reason why it is dropped."""
    rows, counts = [], dict.fromkeys(SPLITS, 0)
    for clip_id, fit in fits.items():
        clip, split = upstream.clips[clip_id], upstream.splits.get(clip_id, "")
        row = ShardRow(
            id=clip_id, status="dropped", reason=fit.reason, split=split, song=clip.song_id, genre=clip.genre
        )
        if not fit.reason:
            name = f"{split}-{counts[split] // params.max_clips:05d}.h5"
            counts[split] += 1
            row = replace(row, status="ok", shard=name, frames=fit.frames)
        rows.append(row)
    return rows


def build_shards(layout: Layout, params: Params) -> list[ShardRow]:
    """Write all shards, their index and rows.csv. Returns the rows. Shards of an earlier run stay if nothing in them has changed.

    Raises UserError if too many clips are dropped; rows.csv then has the reasons, and there are no shards. Raises UserError also if
    a split loses all its clips, if clips can't be in the same shard, and as `read_upstream`; the results of an earlier run then
    stay.
    """
    with no_collection():
        upstream, memo = read_upstream(layout), FileMemo(layout.memo("shards"))
        refusals = {clip_id: upstream.refusal(clip_id) for clip_id in sorted(upstream.clips)}
        streams = {clip_id: upstream.streams_of(clip_id) for clip_id, reason in refusals.items() if not reason}
        stamped = {clip_id: stamps(clip.files) for clip_id, clip in streams.items()}
    fits = measure_fits(refusals, streams, stamped, memo, params)
    rows = plan_shards(upstream, fits, params)
    kept = {row.id: fits[row.id] for row in rows if row.status == "ok"}
    _check_success(layout, rows, params)
    there = {row.split for row in rows if row.status == "ok"}
    for split in sorted(set(upstream.splits.values()) - there):
        first = next(row for row in rows if row.split == split)
        raise UserError(f"shards: the {split} split is empty: all its clips are dropped ({first.id}: {first.reason})")
    attrs = {
        "corpus": layout.corpus,
        "pose_layout": upstream.pose_layout(kept),
        "pose_weights": upstream.weights("pose"),
        "i3d_weights": upstream.weights("i3d"),
    }
    rate = upstream.motion_rate(kept)
    jobs = make_jobs(layout, rows, attrs, lambda row: partial(load_streams, streams[row.id], row.frames, rate), rate)
    entries = {}
    with no_collection():
        keys = {name: _job_key(job, inside, streams, stamped) for name, (job, inside) in jobs.items()}
    for name, (job, _) in jobs.items():
        known = memo.recall(str(job.path), (job.path,))
        if known and known[0] == keys[name]:
            entries[name] = known[1]
    _write_shards(layout, rows, {name: job for name, (job, _) in jobs.items()}, entries, params)
    for name, (job, _) in jobs.items():
        memo.keep(str(job.path), [keys[name], entries[name]], stamps((job.path,)), own=True)
    memo.save()
    return rows


@no_collection()
def make_jobs(
    layout: Layout, rows: list[ShardRow], attrs: dict[str, str], load: Callable[[ShardRow], Callable[[], ShardClip]], rate: int
) -> dict[str, tuple[ShardJob, list[ShardRow]]]:  # fmt: skip
    """File name -> (job, its rows) of each shard. load: gives what loads the clip of a row."""
    inside = defaultdict(list)
    for row in rows:
        if row.status == "ok":
            inside[row.shard].append(row)
    return {
        name: (
            ShardJob(
                path=layout.stage("shards") / name, clips=tuple(load(row) for row in found),
                attrs={**attrs, "split": found[0].split}, motion_rate=rate,
            ),
            found,
        )
        for name, found in sorted(inside.items())
    }  # fmt: skip


def _job_key(
    job: ShardJob, rows: list[ShardRow], streams: Mapping[str, ClipStreams], stamped: Mapping[str, list]
) -> str:
    """Hash of everything that a shard depends on: it is the same only if no file of its clips has changed."""
    clips = [[row.frames, vars(streams[row.id]), stamped[row.id]] for row in rows]
    return item_key(VERSION, job.attrs, job.motion_rate, clips)


def _check_success(layout: Layout, rows: list[ShardRow], params: Params) -> None:
    """Raise UserError if too many of `rows` are dropped; rows.csv is then written with the reasons."""
    try:
        check_success_rate(rows, stage="shards", min_ok=params.min_ok, table=layout.stage("shards") / "rows.csv")
    except UserError:
        write_records(_empty_folder(layout) / "rows.csv", [replace(row, shard="") for row in rows], ShardRow)
        raise


def _empty_folder(layout: Layout, names: Iterable[str] = ()) -> Path:
    """Remove everything but the shards `names` from the stage's folder, and return its path. rows.csv is the last file that is written."""
    folder = layout.stage("shards")
    prepare_folder(folder, "rows.csv")
    (folder / INDEX).unlink(missing_ok=True)
    keep_only(folder, set(names), ".h5")
    return folder


def _write_shards(
    layout: Layout, rows: list[ShardRow], jobs: dict[str, ShardJob], entries: dict[str, Entry], params: Params
) -> None:
    """Write the shards that `entries` lacks, each by one process, and complete `entries`; then the index and rows.csv."""
    folder = _empty_folder(layout, entries)
    todo = [name for name in jobs if name not in entries]
    written = run_all(write_job, [jobs[name] for name in todo], params.workers, "shards", unit="shard")
    entries.update(zip(todo, written, strict=True))
    write_index(folder, entries)
    write_records(folder / "rows.csv", rows, ShardRow)


def export(shards: Path, kind: str, out: Path, workers: int = 1) -> dict[str, str]:
    """Write the shards of a folder to the empty or new folder `out`, in the format `kind` of `EXPORTS`, `workers` shards at once; gives
    what was written of each split. `out` may be an address (lib/core/addresses.py). Raises UserError where `out` holds anything."""
    from dataset_tools.shards.hdf5_copies import export_copies
    from dataset_tools.shards.released_layout import export_released
    from dataset_tools.shards.tar_samples import export_tars

    with reach(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: is not an empty folder; give --out a new one")
    write, unit = {
        "webdataset": (export_tars, "clips"), "released": (export_released, "segments of 2 s"), "hdf5": (export_copies, "clips"),
    }[kind]  # fmt: skip
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
    named = {segment.name: segment for segment in segments}
    attrs = {
        "corpus": layout.corpus, "pose_layout": "body25", "pose_weights": NO_POSE if motion_rate else "imported",
        "i3d_weights": "imported",
    }  # fmt: skip
    jobs = make_jobs(
        layout, rows, attrs, lambda row: partial(load_segment, source, named[row.id], row.genre), motion_rate
    )
    _write_shards(layout, rows, {name: job for name, (job, _) in jobs.items()}, {}, params)
    return rows
