"""The stage `clips`: cut every clip of the sources out of its video and convert it to the corpus's format."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from dataset_tools.clips.normalise import Cut, cut_span
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.clips.params import Params
from dataset_tools.clips.rows import ClipRow
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core.atomic import prepare_folder, publish, remove_partial_files, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import how_to_fill, load_manifest
from dataset_tools.lib.core.pack_files import keep_files, publish_packs
from dataset_tools.lib.core.schema import Clip, Song, read_records, write_records
from dataset_tools.lib.core.work_cache import item_key
from dataset_tools.lib.parallel.carrier import ItemFiles
from dataset_tools.lib.parallel.workers import run_all

STAGE = "clips"
VERSION = 9  # of the code here and in dataset_tools/lib/video that cuts clips; raise it when that code changes, to ignore cached clips


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to cut, with everything that a worker process needs."""

    clip: Clip
    song: Song
    videos: Path
    """Folder of the stage download."""
    video: DownloadRow | None
    """Row of the clip's video; None if download has no row for it."""
    target: Path
    cache: Path
    params: Params
    advice: str
    """What the user can do if the manifest lacks the clip's times."""

    @property
    def cached_clip(self) -> Path:
        """Path of this clip in the cache."""
        key = item_key(VERSION, self.video.sha256, self.clip.start, self.clip.end, self.params.max_height, self.params.crop,
                       self.params.stretch_audio)  # fmt: skip
        return self.cache / f"{key}.mp4"

    @property
    def published(self) -> Path:
        """Path of this clip in the stage's folder."""
        return self.target / f"{self.clip.clip_id}.mp4"

    @property
    def files(self) -> tuple[Path, ...]:
        """The cached clip and, unless the clips go into packs, the published one."""
        return (self.cached_clip,) if self.params.pack else (self.cached_clip, self.published)

    @property
    def cached_facts_file(self) -> Path:
        """Path of the JSON file with the properties of the cached clip."""
        return self.cached_clip.with_suffix(".json")

    @property
    def cached_facts(self) -> dict | None:
        """Properties of the cached clip; None if it is not in the cache or its JSON file can't be read."""
        try:
            return (
                json.loads(self.cached_facts_file.read_text(encoding="utf-8")) if self.cached_clip.is_file() else None
            )
        except (OSError, ValueError):
            return None


def files_of(job: Job) -> ItemFiles:
    """The files of a job, for machines that share no folder. The clip itself, if it is in the cache, takes the place of its video."""
    if job.clip.start is None or job.video is None or job.video.status != "ok":
        return ItemFiles((), ())
    cached = (job.cached_clip, job.cached_facts_file)
    video = job.videos / f"{job.clip.video_id}.mp4"
    return ItemFiles(cached if job.cached_facts is not None else (video,), (*cached, *job.files[1:]))


class ClipDecoder:
    """Decodes a clip while the clip before it is encoded. Each process has one decoder, which keeps the last clip's video open."""

    def __init__(self):
        self._video: OpenVideo | None = None

    def __call__(self, job: Job) -> Cut | ClipRow | None:
        """The decoded clip; the row of a clip that cannot be cut; None if the clip is in the cache."""
        clip = job.clip
        if clip.start is None:
            return failed(job, f"start and end are empty in the manifest; {job.advice}")
        if job.video is None or job.video.status != "ok":
            why = f"{job.video.status}: {job.video.reason}" if job.video else "no row for it"
            return failed(job, f"video {clip.video_id} was not downloaded ({why})")
        if job.cached_facts is not None:
            return None
        cv2.setNumThreads(1)  # the other cores process other clips
        path, last = job.videos / f"{clip.video_id}.mp4", self._video
        self._video = None
        try:
            video = last if last and last.path == path else OpenVideo(path)
            decoded = cut_span(
                video, start=clip.start, end=clip.end, max_height=job.params.max_height, crop=job.params.crop,
                need_audio=True, stretch_audio=job.params.stretch_audio, memory=job.params.memory << 20,
            )  # fmt: skip
        except UserError as err:
            return failed(job, str(err))
        if isinstance(decoded.frames, list):  # otherwise a thread is still decoding the video
            self._video = video
        return decoded


def cut(job: Job, decoded: Cut | ClipRow | None) -> ClipRow:
    """Write target/<clip_id>.mp4, encoded now or from the cache. Returns its row, with the reason if it fails."""
    if isinstance(decoded, ClipRow):
        return decoded
    if decoded is not None:
        try:
            done = dataclasses.asdict(decoded.write(job.cached_clip))
        except UserError as err:
            return failed(job, str(err))
        part = done.pop("crop")
        numbers = done | {"crop_x": part["x"], "crop_y": part["y"], "crop_w": part["width"], "crop_h": part["height"]}
        write_text(job.cached_facts_file, json.dumps(numbers))
    row = row_of(job, job.cached_facts)
    if row.status == "ok" and not job.params.pack:
        publish(job.cached_clip, job.published)
    return row


def row_of(job: Job, facts: dict) -> ClipRow:
    """Row of a clip in the cache with these properties."""
    cuts, most = facts["cuts"], job.params.max_cuts
    if most is not None and len(cuts) > most:
        at = ", ".join(f"{second:g}" for second in cuts)
        return failed(job, f"{len(cuts)} scene cuts inside the clip, at {at} s, but clips.max_cuts is {most}")
    if facts["damaged"] > job.params.max_damaged:
        found = f"{facts['damaged']} of its {facts['frames']} frames are damaged, or depend on a damaged one"
        return failed(
            job,
            f"{found}, but clips.max_damaged is {job.params.max_damaged}; fetch the video again, or raise it in params.yaml",
        )
    if facts["sound_lost"] > job.params.max_sound_lost:
        found = f"{facts['sound_lost']:g} s of its audio is missing or can't be decoded"
        return failed(
            job,
            f"{found}, but clips.max_sound_lost is {job.params.max_sound_lost:g}; fetch the video again, or raise it in params.yaml",
        )
    return _row(job, "ok", **facts | {"cuts": len(cuts)})


def failed(job: Job, reason: str) -> ClipRow:
    """Row of a clip that could not be cut."""
    return _row(job, "failed", reason=reason)


def _row(job: Job, status: str, **columns) -> ClipRow:
    clip = job.clip
    return ClipRow(
        id=clip.clip_id, status=status, video_id=clip.video_id, song_id=clip.song_id, genre=job.song.genre,
        official_split=clip.official_split, **columns,
    )  # fmt: skip


def make_jobs(layout: Layout, params: Params) -> list[Job]:
    """A job for each clip of the sources, neighbours in their video one after the other."""
    manifest = load_manifest(layout.table("sources", "clips.csv").parent)
    songs = {song.song_id: song for song in manifest.songs}
    videos = {row.id: row for row in read_records(layout.table("download"), DownloadRow)}
    folder, target, cache = layout.stage("download"), layout.stage(STAGE), layout.cache(STAGE)
    advice = how_to_fill(layout.manifest)
    return [
        Job(clip=c, song=songs[c.song_id], videos=folder, video=videos.get(c.video_id), target=target, cache=cache, params=params,
            advice=advice)
        for c in sorted(manifest.clips, key=lambda c: (c.video_id, c.start or 0.0))
    ]  # fmt: skip


def clips(layout: Layout, params: Params) -> list[ClipRow]:
    """Write data/<corpus>/clips. Returns one row per clip of the sources, also for failed ones."""
    jobs = make_jobs(layout, params)
    target, memo = layout.stage(STAGE), FileMemo(layout.memo(STAGE))
    known = {job.clip.clip_id: row_of(job, facts) for job in jobs if (facts := _recall(memo, job))}
    prepare_folder(target, "rows.csv")
    remove_partial_files(layout.cache(STAGE))
    todo = [job for job in jobs if job.clip.clip_id not in known]
    cuts = run_all(
        cut, todo, params.workers, STAGE, prepare=ClipDecoder(), failed=failed, timeout=params.timeout, files=files_of
    )
    for job, row in zip(todo, cuts, strict=True):
        before = stamps(job.files) if row.status == "ok" else []
        if before and (facts := job.cached_facts):
            memo.keep(job.clip.clip_id, facts, before, own=True)
    rows = sorted([*known.values(), *cuts], key=lambda row: row.id)
    assert len(rows) == len(jobs)
    done = {row.id for row in rows if row.status == "ok"}
    files = {job.published.name: job.cached_clip for job in jobs if job.clip.clip_id in done}
    if params.pack:
        publish_packs(target, files, ".mp4", params.pack, memo)
    else:
        keep_files(target, files.keys(), ".mp4")
    write_records(target / "rows.csv", rows, ClipRow)
    memo.save()
    return rows


def _recall(memo: FileMemo, job: Job) -> dict | None:
    """Properties of a clip that is in the cache, and in the stage's folder, as an earlier run left it; else None."""
    if job.clip.start is None or job.video is None or job.video.status != "ok":
        return None
    return memo.recall(job.clip.clip_id, job.files)
