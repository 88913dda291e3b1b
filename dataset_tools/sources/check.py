"""Check a corpus: its manifest and the results of its stages. All errors are reported at once, one line each."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.audio.rows import AudioRow
from dataset_tools.clips.rows import ClipRow
from dataset_tools.download.errors import Refused
from dataset_tools.download.rows import DownloadRow
from dataset_tools.download.sandbox import run_sandboxed
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.lib.audio.audio_file import open_audio
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.manifest import Manifest, scan_checksums
from dataset_tools.lib.core.packs import is_stored, local_file, stored_names, stored_size
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import Clip, Row, Video, leaks, scan_records
from dataset_tools.lib.core.timebase import FPS, SAMPLES_PER_FRAME
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.shard_index import describe_shard, read_index
from dataset_tools.lib.shard_io.stream_files import read_i3d, read_motion, read_pose
from dataset_tools.lib.video.video_io import open_media
from dataset_tools.pose.rows import PoseRow
from dataset_tools.shards.rows import ShardRow
from dataset_tools.sources.card import read_card_text
from dataset_tools.sources.rules import check_manifest
from dataset_tools.sources.video_files import find_decoding_errors, find_video_file, measure_videos

LENGTH_TOLERANCE = 1.5 / FPS
"""Seconds by which a clip may end after its video. The last frame is shown for that time (`lib.video.video_io.nearest_frames`)."""
FILES = {"download": ".mp4", "clips": ".mp4", "pose": ".npy", "i3d": ".npy", "audio": ".wav"}
ROWS = {
    "download": DownloadRow, "clips": ClipRow, "pose": PoseRow, "i3d": FeatureRow, "audio": AudioRow, "shards": ShardRow,
}  # fmt: skip
"""Stage -> record of its rows.csv."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Result of a check."""

    problems: list[str]
    """One line for every violation of a rule."""
    notes: list[str]
    """One line for everything that is still missing or that a person should check."""
    summary: str


def check_corpus(layout: Layout, *, deep: bool = False) -> Findings:
    """Check manifests/<corpus> and the results of the data stages that have run.

    Every input must have a row. Every row that is ok must have its file. No song may be in training and in another part. No clip
    may end after its video; this is checked for local videos.

    deep: also open every file. Then videos are decoded, and the packets of clips, the shapes of arrays and audio, and the checksums
    of shards are checked.
    """
    manifest, problems, notes = check_manifest(layout.manifest)
    more_problems, more_notes = _check_extras(layout, {v.video_id for v in manifest.videos})
    problems, notes = problems + more_problems, notes + more_notes
    files = {video: path for video in manifest.videos if (path := find_video_file(video, layout))}
    lengths, lines = _measure_lengths(files, manifest, deep)
    problems += lines
    found, opened = list(_check_stages(layout)), 0
    problems += [line for _, _, lines in found for line in lines]
    if deep:
        fetched = {row.id for stage, rows, _ in found if stage == "download" for row in rows if row.status == "ok"}
        own = {v.video_id: path for v, path in files.items() if v.video_id not in fetched and lengths.get(v.video_id)}
        jobs = [(stage, row) for stage, rows, _ in found for row in rows if row.status == "ok" and stage in FILES]
        frames = {row.id: row.frames for stage, rows, _ in found if stage == "clips" for row in rows}
        shards = sorted(layout.stage("shards").glob("*.h5"))
        for stage, row in progress(jobs, "sources: opening files", unit="file"):
            problems += _check_file(layout.stage(stage) / f"{row.id}{FILES[stage]}", stage, row, frames.get(row.id))
        for video_id, path in progress(own.items(), "sources: decoding videos", unit="video"):
            row = DownloadRow(id=video_id, status="ok", seconds=lengths[video_id])
            problems += _check_file(path, "download", row, None)
        indexed = _read_index(layout.stage("shards"), problems)
        for path in progress(shards, "sources: opening shards", unit="shard"):
            problems += _check_shard(path, indexed.get(path.name))
        opened = len(jobs) + len(own) + len(shards)
    made = [f"{stage} {sum(row.status == 'ok' for row in rows)} of {len(rows)} ok" for stage, rows, _ in found]
    summary = (
        f"{layout.corpus}: {len(manifest.videos)} videos, {len(manifest.clips)} clips, {len(manifest.songs)} songs"
        + "".join(f"; {line}" for line in made)
        + (f"; {opened} files opened" if deep else "")
        + f"; {len(problems)} errors, {len(notes)} notes"
    )
    return Findings(problems=problems, notes=notes, summary=summary)


def _measure_lengths(files: dict[Video, Path], manifest: Manifest, exact: bool) -> tuple[dict[str, float], list[str]]:
    """(video id -> seconds, problems). A problem is a video that no clip can be cut from, or a clip that ends after its video."""
    if not files:
        return {}, []
    try:
        found = dict(zip(files, run_sandboxed(measure_videos, list(files.values()), exact), strict=True))
    except Refused as err:
        return {}, [f"{manifest.folder / 'videos.csv'}: its files: {err}"]
    lines = []
    for video, (seconds, trouble) in found.items():
        clips = manifest.clips_of(video.video_id)
        if trouble and (clips or not seconds):
            lines.append(f"{files[video]}: {trouble}")
        for clip in clips:
            if seconds and clip.end is not None and clip.end > seconds + LENGTH_TOLERANCE:
                where = f"{manifest.folder / 'clips.csv'}: clip {clip.clip_id}"
                lines.append(f"{where}: ends at {clip.end:g} s, but its video, {files[video]}, at {seconds:.3f} s")
    return {video.video_id: seconds for video, (seconds, _) in found.items()}, lines


def _check_extras(layout: Layout, videos: set[str]) -> tuple[list[str], list[str]]:
    """(problems, notes) about the checksums and the card of the manifest."""
    pinned, problems = scan_checksums(layout.manifest)
    try:
        read_card_text(layout.manifest / "card.yaml")
    except UserError as err:
        problems.append(str(err))
    unknown = sorted(pinned.keys() - videos)
    some = ", ".join(unknown[:3]) + (", …" if len(unknown) > 3 else "")
    return problems, [
        f"{layout.manifest / 'checksums.csv'}: {len(unknown)} ids without a video ({some})"
    ] if unknown else []


def _check_stages(layout: Layout) -> Iterator[tuple[str, list[Any], list[str]]]:
    """Yield (stage, its rows, its problems) for each stage that has run."""
    sources = layout.stage("sources")
    tables = {"videos": Video, "clips": Clip}
    (videos, lines), (clips, more) = (
        scan_records(path, kind)[:2] if (path := sources / f"{name}.csv").is_file() else ([], [])
        for name, kind in tables.items()
    )
    if lines or more:
        yield "sources", [], lines + more
    inputs = {"download": {v.video_id for v in videos}} | {
        stage: {c.clip_id for c in clips} for stage in ("clips", "pose", "i3d", "audio")
    }
    for stage, record in ROWS.items():
        folder = layout.stage(stage)
        if not (folder / "rows.csv").is_file():
            continue
        rows, problems = scan_records(folder / "rows.csv", record)[:2]
        if lacking := sorted(inputs.get(stage, set()) - {row.id for row in rows}):
            problems.append(
                f"{folder / 'rows.csv'}: no row for {len(lacking)} inputs ({lacking[0]}, …); run {stage} again"
            )
        problems += _check_files(folder, stage, rows)
        yield stage, rows, problems + list(_check_parts(folder, rows) if stage == "shards" else ())


def _check_files(folder: Path, stage: str, rows: list[Any]) -> Iterable[str]:
    expected = {
        row.shard if stage == "shards" else f"{row.id}{FILES[stage]}": row for row in rows if row.status == "ok"
    }
    for name, row in sorted(expected.items()):
        path = folder / name
        if not is_stored(path):
            yield f"{path}: {row.id} is ok in rows.csv, but this file is missing; run {stage} again"
            continue
        size = stored_size(path)
        claimed = row.bytes if stage == "download" else size
        if size != claimed or size == 0:
            yield f"{path}: {size} bytes, but rows.csv says {claimed or 'more'}; run {stage} again"
    ending = FILES.get(stage, ".h5")
    for name in stored_names(folder, ending):
        if name.replace(".motion.npy", ".npy") not in expected:
            yield f"{folder / printable(name)}: it has no row in rows.csv; run {stage} again"


def _check_parts(folder: Path, rows: list[ShardRow]) -> Iterable[str]:
    parts = defaultdict(set)
    for row in rows:
        if row.status == "ok" and row.song and row.split:
            parts[row.song].add(row.split)
    for song, found in sorted(parts.items()):
        if leaks(found):
            yield f"{folder / 'rows.csv'}: song {song} is in the {' and '.join(sorted(found))} parts"


def _check_file(path: Path, stage: str, row: Row, frames: int | None) -> list[str]:
    """Problems inside one file; [] for a missing one, which `_check_files` reports."""
    if not is_stored(path):
        return []
    try:
        checks: dict[str, Callable[..., Iterator[str]]] = {
            "download": _check_video,
            "clips": _check_clip,
            "pose": _check_pose,
            "i3d": _check_i3d,
            "audio": _check_audio,
        }
        lines = list(checks[stage](path, row, frames))
    except Exception as err:  # noqa: BLE001 - any exception of a library on a broken file is a finding
        lines = [" ".join(str(err).split()) or type(err).__name__]
    return [f"{path}: {line}" for line in lines]


def _check_video(path: Path, row: DownloadRow, frames: int | None) -> Iterator[str]:
    from dataset_tools.download.complete_file import check_complete

    if row.sha256 and file_sha256(path) != row.sha256:
        yield "its sha256 differs from the one in rows.csv; run download again"
    run_sandboxed(check_complete, path)
    yield from run_sandboxed(find_decoding_errors, path, extra_seconds=row.seconds or 0.0)


def _check_clip(path: Path, row: ClipRow, frames: int | None) -> Iterator[str]:
    from dataset_tools.download.complete_file import check_complete

    with local_file(path) as file:
        run_sandboxed(check_complete, file)
        count = run_sandboxed(_count_frames, file)
    if count != row.frames:
        yield f"holds {count} frames, but rows.csv says {row.frames}"


def _count_frames(path: Path) -> int:
    with open_media(path) as container:
        return sum(packet.pts is not None for packet in container.demux(container.streams.video[0]))


def _check_pose(path: Path, row: Row, frames: int | None) -> Iterator[str]:
    motion = path.with_suffix(".motion.npy")
    for name, values in (("pose", read_pose(path)), ("motion", read_motion(motion) if is_stored(motion) else None)):
        if values is not None and frames and len(values) != frames:
            yield f"{name} of {len(values)} frames, expected {frames}"
        if values is not None and not np.isfinite(values).all():
            yield f"{name} with nan or inf"


def _check_i3d(path: Path, row: Row, frames: int | None) -> Iterator[str]:
    if not np.isfinite(read_i3d(path)).all():
        yield "i3d with nan or inf"


def _check_audio(path: Path, row: Row, frames: int | None) -> Iterator[str]:
    with local_file(path) as file, open_audio(file) as audio:
        samples = audio.frames
    if frames and samples != frames * SAMPLES_PER_FRAME:
        yield f"{samples} samples, expected {frames * SAMPLES_PER_FRAME} for {frames} frames"


def _read_index(folder: Path, problems: list[str]) -> dict[str, Any]:
    """The index of the shards; a damaged one is a problem."""
    try:
        return read_index(folder)
    except UserError as err:
        problems.append(f"{err}; run shards again")
        return {}


def _check_shard(path: Path, entry: Any) -> list[str]:
    """Read every stream of every clip, which verifies every checksum, and compare the file with its entry of the index, if any."""
    try:
        validate_shard(path, deep=True)
        same = entry is None or entry == describe_shard(path)
    except UserError as err:
        return [str(err)]
    return [] if same else [f"{path}: differs from what index.json says of it; run shards again"]
