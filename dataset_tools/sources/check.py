"""Check a corpus: its manifest, and the files that stages have made of it; all errors at once, one line each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.audio.rows import AudioRow
from dataset_tools.clips.rows import ClipRow
from dataset_tools.download.apart import look
from dataset_tools.download.no_film import Refused
from dataset_tools.download.rows import DownloadRow
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.lib.audio.audio_file import open_audio
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import Manifest, scan_checksums
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import Clip, Row, Video, leaks, scan_records
from dataset_tools.lib.core.timebase import FPS, SAMPLES_PER_FRAME
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.stream_files import read_i3d, read_motion, read_pose
from dataset_tools.lib.video.video_io import open_media
from dataset_tools.pose.rows import PoseRow
from dataset_tools.shards.rows import ShardRow
from dataset_tools.sources.card import read_about
from dataset_tools.sources.films import film_of, measured, undecodable
from dataset_tools.sources.rules import check_manifest

STILL = 1.5 / FPS
"""Seconds that a clip may have after its video: the last picture stands in for them (`lib.video.video_io.nearest_frames`)."""
FILES = {"download": ".mp4", "clips": ".mp4", "pose": ".npy", "i3d": ".npy", "audio": ".wav"}
ROWS = {
    "download": DownloadRow, "clips": ClipRow, "pose": PoseRow, "i3d": FeatureRow, "audio": AudioRow, "shards": ShardRow,
}  # fmt: skip
"""Stage -> record of its rows.csv."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a check found."""

    problems: list[str]
    """One line for every rule that is broken."""
    notes: list[str]
    """One line for what is missing yet or worth a look."""
    summary: str


def check_corpus(layout: Layout, *, deep: bool = False) -> Findings:
    """Check manifests/<corpus> and, where they are, the results of the dataset stages: that every input has a row,
    every row that is ok its file, no song is in two parts and no clip ends after its video, as far as that is here. With
    `deep` every file is opened: videos are decoded, clips looked at packet by packet, arrays and sounds by shape, shards with
    their checksums.
    """
    manifest, problems, notes = check_manifest(layout.manifest)
    more_problems, more_notes = _beside(layout, {v.video_id for v in manifest.videos})
    problems, notes = problems + more_problems, notes + more_notes
    films = {video: path for video in manifest.videos if (path := film_of(video, layout))}
    lengths, lines = _lengths(films, manifest, deep)
    problems += lines
    found: list[tuple[str, list[Any], list[str]]] = list(_stages(layout))
    opened = 0
    problems += [line for _, _, lines in found for line in lines]
    if deep:
        fetched = {row.id for stage, rows, _ in found if stage == "download" for row in rows if row.status == "ok"}
        own = {v.video_id: path for v, path in films.items() if v.video_id not in fetched and lengths.get(v.video_id)}
        jobs = [(stage, row) for stage, rows, _ in found for row in rows if row.status == "ok" and stage in FILES]
        frames = {row.id: row.frames for stage, rows, _ in found if stage == "clips" for row in rows}
        shards = sorted(layout.stage("shards").glob("*.h5"))
        for stage, row in progress(jobs, "sources: opening files", unit="file"):
            problems += _opened(layout.stage(stage) / f"{row.id}{FILES[stage]}", stage, row, frames.get(row.id))
        for video_id, path in progress(own.items(), "sources: decoding videos", unit="video"):
            row = DownloadRow(id=video_id, status="ok", seconds=lengths[video_id])
            problems += _opened(path, "download", row, None)
        for path in progress(shards, "sources: opening shards", unit="shard"):
            problems += _shard(path)
        opened = len(jobs) + len(own) + len(shards)
    made = [f"{stage} {sum(row.status == 'ok' for row in rows)} of {len(rows)} ok" for stage, rows, _ in found]
    summary = (
        f"{layout.corpus}: {len(manifest.videos)} videos, {len(manifest.clips)} clips, {len(manifest.songs)} songs"
        + "".join(f"; {line}" for line in made)
        + (f"; {opened} files opened" if deep else "")
        + f"; {len(problems)} errors, {len(notes)} notes"
    )
    return Findings(problems=problems, notes=notes, summary=summary)


def _lengths(films: dict[Video, Path], manifest: Manifest, exact: bool) -> tuple[dict[str, float], list[str]]:
    """(seconds of each film by its video's id, a line for each that no clip can be cut from and each clip that ends after it)."""
    if not films:
        return {}, []
    try:
        found = dict(zip(films, look(measured, list(films.values()), exact), strict=True))
    except Refused as err:
        return {}, [f"{manifest.folder / 'videos.csv'}: its files: {err}"]
    lines = []
    for video, (seconds, trouble) in found.items():
        clips = manifest.clips_of(video.video_id)
        if trouble and (clips or not seconds):
            lines.append(f"{films[video]}: {trouble}")
        for clip in clips:
            if seconds and clip.end is not None and clip.end > seconds + STILL:
                where = f"{manifest.folder / 'clips.csv'}: clip {clip.clip_id}"
                lines.append(f"{where}: ends at {clip.end:g} s, but its video, {films[video]}, at {seconds:.3f} s")
    return {video.video_id: seconds for video, (seconds, _) in found.items()}, lines


def _beside(layout: Layout, videos: set[str]) -> tuple[list[str], list[str]]:
    """(problems, notes) of the manifest's checksums and card."""
    pinned, problems = scan_checksums(layout.manifest)
    try:
        read_about(layout.manifest / "card.yaml")
    except UserError as err:
        problems.append(str(err))
    unknown = sorted(pinned.keys() - videos)
    some = ", ".join(unknown[:3]) + (", …" if len(unknown) > 3 else "")
    return problems, [
        f"{layout.manifest / 'checksums.csv'}: {len(unknown)} ids that no video has ({some})"
    ] if unknown else []


def _stages(layout: Layout) -> Iterator[tuple[str, list[Row], list[str]]]:
    """(stage, its rows, its problems) of the stages that have run."""
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
        problems += _files(folder, stage, rows)
        yield stage, rows, problems + list(_parts(folder, rows) if stage == "shards" else ())


def _files(folder: Path, stage: str, rows: list[Any]) -> Iterable[str]:
    expected = {
        row.shard if stage == "shards" else f"{row.id}{FILES[stage]}": row for row in rows if row.status == "ok"
    }
    for name, row in sorted(expected.items()):
        path = folder / name
        if not path.is_file():
            yield f"{path}: {row.id} is ok in rows.csv, but this file is missing; run {stage} again"
            continue
        size = path.stat().st_size
        claimed = row.bytes if stage == "download" else size
        if size != claimed or size == 0:
            yield f"{path}: {size} bytes, but rows.csv says {claimed or 'more'}; run {stage} again"
    ending = FILES.get(stage, ".h5")
    for path in sorted(folder.glob(f"[!.]*{ending}")):
        if path.name.replace(".motion.npy", ".npy") not in expected:
            yield f"{path}: no row of rows.csv is about it; run {stage} again"


def _parts(folder: Path, rows: list[ShardRow]) -> Iterable[str]:
    parts = defaultdict(set)
    for row in rows:
        if row.status == "ok" and row.song and row.split:
            parts[row.song].add(row.split)
    for song, found in sorted(parts.items()):
        if leaks(found):
            yield f"{folder / 'rows.csv'}: song {song} is in the {' and '.join(sorted(found))} parts"


def _opened(path: Path, stage: str, row: Row, frames: int | None) -> list[str]:
    """What is wrong inside one file; nothing about a missing one, which has been said."""
    if not path.is_file():
        return []
    try:
        looks: dict[str, Any] = {"download": _video, "clips": _clip, "pose": _pose, "i3d": _i3d, "audio": _sound}
        lines = list(looks[stage](path, row, frames))
    except Exception as err:  # noqa: BLE001 - whatever a broken file makes a library raise is what we are looking for
        lines = [" ".join(str(err).split()) or type(err).__name__]
    return [f"{path}: {line}" for line in lines]


def _video(path: Path, row: DownloadRow, frames: int | None) -> Iterator[str]:
    from dataset_tools.download.whole_file import whole

    if row.sha256 and file_sha256(path) != row.sha256:
        yield "its sha256 is not that of rows.csv; run download again"
    look(whole, path)
    yield from look(undecodable, path, more=row.seconds or 0.0)


def _clip(path: Path, row: ClipRow, frames: int | None) -> Iterator[str]:
    from dataset_tools.download.whole_file import whole

    look(whole, path)
    if (count := look(_pictures, path)) != row.frames:
        yield f"holds {count} frames, but rows.csv says {row.frames}"


def _pictures(path: Path) -> int:
    with open_media(path) as container:
        return sum(packet.pts is not None for packet in container.demux(container.streams.video[0]))


def _pose(path: Path, row: Row, frames: int | None) -> Iterator[str]:
    motion = path.with_suffix(".motion.npy")
    for name, values in (("pose", read_pose(path)), ("motion", read_motion(motion) if motion.is_file() else None)):
        if values is not None and frames and len(values) != frames:
            yield f"{name} of {len(values)} frames, expected {frames}"
        if values is not None and not np.isfinite(values).all():
            yield f"{name} with nan or inf"


def _i3d(path: Path, row: Row, frames: int | None) -> Iterator[str]:
    if not np.isfinite(read_i3d(path)).all():
        yield "i3d with nan or inf"


def _sound(path: Path, row: Row, frames: int | None) -> Iterator[str]:
    with open_audio(path) as sound:
        samples = sound.frames
    if frames and samples != frames * SAMPLES_PER_FRAME:
        yield f"{samples} samples, expected {frames * SAMPLES_PER_FRAME} for {frames} frames"


def _shard(path: Path) -> list[str]:
    """Every stream of every clip is read, so every checksum is tested."""
    try:
        validate_shard(path, deep=True)
    except UserError as err:
        return [str(err)]
    return []
