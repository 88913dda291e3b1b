"""The stage `clips`: every clip of the sources, cut out of its video and brought to the corpus's form."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from dataset_tools.clips.normalise import Cut, cut_out
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.clips.params import Params
from dataset_tools.clips.rows import ClipRow, VideoRow
from dataset_tools.lib.core.atomic import keep_only, prepare_folder, publish, remove_partial_files, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import how_to_fill, load_manifest
from dataset_tools.lib.core.schema import Clip, Song, read_records, write_records
from dataset_tools.lib.core.work_cache import item_key
from dataset_tools.lib.parallel.workers import run_all

STAGE = "clips"
VERSION = 9  # of how a clip is cut, in this folder and in dataset_tools/lib/video: a change must not find the old clips in the cache


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to cut: all that a worker process needs."""

    clip: Clip
    song: Song
    videos: Path
    """Folder of download/."""
    video: VideoRow | None
    """What became of the clip's video; None where download has no row for it."""
    target: Path
    cache: Path
    params: Params
    advice: str
    """What to do about times that the manifest lacks."""

    @property
    def made(self) -> Path:
        """Where in the cache it is, where this cut was made before."""
        key = item_key(VERSION, self.video.sha256, self.clip.start, self.clip.end, self.params.max_height, self.params.crop,
                       self.params.stretch_audio)  # fmt: skip
        return self.cache / f"{key}.mp4"

    @property
    def note(self) -> Path:
        """What is known of it, beside it."""
        return self.made.with_suffix(".json")

    @property
    def known(self) -> dict | None:
        """What the note says; None where this cut was not made before, or the note can't be read."""
        try:
            return json.loads(self.note.read_text(encoding="utf-8")) if self.made.is_file() else None
        except (OSError, ValueError):
            return None


class Begin:
    """Decodes clips, each while the one before is encoded. A process has one, and with it the last clip's video still open."""

    def __init__(self):
        self._video: OpenVideo | None = None

    def __call__(self, job: Job) -> Cut | ClipRow | None:
        """The row of a clip that cannot be cut; None of one that was cut before."""
        clip = job.clip
        if clip.start is None:
            return failed(job, f"start and end are empty in the manifest; {job.advice}")
        if job.video is None or job.video.status != "ok":
            why = f"{job.video.status}: {job.video.reason}" if job.video else "no row for it"
            return failed(job, f"video {clip.video_id} was not downloaded ({why})")
        if job.known is not None:
            return None
        cv2.setNumThreads(1)  # the other cores have other clips
        path, last = job.videos / f"{clip.video_id}.mp4", self._video
        self._video = None
        try:
            video = last if last and last.path == path else OpenVideo(path)
            begun = cut_out(
                video, start=clip.start, end=clip.end, max_height=job.params.max_height, crop=job.params.crop,
                need_audio=True, stretch_audio=job.params.stretch_audio, memory=job.params.memory << 20,
            )  # fmt: skip
        except UserError as err:
            return failed(job, str(err))
        if isinstance(begun.pictures, list):  # else a thread goes on decoding it
            self._video = video
        return begun


def cut(job: Job, begun: Cut | ClipRow | None) -> ClipRow:
    """Write target/<clip_id>.mp4, encoded now or from the cache; the row says why if there is none."""
    if isinstance(begun, ClipRow):
        return begun
    if begun is not None:
        try:
            done = dataclasses.asdict(begun.write(job.made))
        except UserError as err:
            return failed(job, str(err))
        part = done.pop("crop")
        numbers = done | {"crop_x": part["x"], "crop_y": part["y"], "crop_w": part["width"], "crop_h": part["height"]}
        write_text(job.note, json.dumps(numbers))
    facts = job.known
    cuts, most = facts.pop("cuts"), job.params.max_cuts
    if most is not None and len(cuts) > most:
        at = ", ".join(f"{second:g}" for second in cuts)
        return failed(job, f"{len(cuts)} scene cuts inside the clip, at {at} s, but clips.max_cuts is {most}")
    if facts["damaged"] > job.params.max_damaged:
        found = f"{facts['damaged']} of its {facts['frames']} pictures are damaged, or build on one that is"
        return failed(
            job,
            f"{found}, but clips.max_damaged is {job.params.max_damaged}; fetch the video again, or raise it in params.yaml",
        )
    if facts["sound_lost"] > job.params.max_sound_lost:
        found = f"{facts['sound_lost']:g} s of its sound is missing or can't be decoded"
        return failed(
            job,
            f"{found}, but clips.max_sound_lost is {job.params.max_sound_lost:g}; fetch the video again, or raise it in params.yaml",
        )
    publish(job.made, job.target / f"{job.clip.clip_id}.mp4")
    return _row(job, "ok", cuts=len(cuts), **facts)


def failed(job: Job, reason: str) -> ClipRow:
    """Row of a clip that could not be cut."""
    return _row(job, "failed", reason=reason)


def _row(job: Job, status: str, **columns) -> ClipRow:
    clip = job.clip
    return ClipRow(
        id=clip.clip_id, status=status, video_id=clip.video_id, song_id=clip.song_id, genre=job.song.genre,
        official_split=clip.official_split, **columns,
    )  # fmt: skip


def clips(layout: Layout, params: Params) -> list[ClipRow]:
    """Write data/<corpus>/clips; return one row per clip of the sources, failed ones too."""
    manifest = load_manifest(layout.table("sources", "clips.csv").parent)
    songs = {song.song_id: song for song in manifest.songs}
    videos = {row.id: row for row in read_records(layout.table("download"), VideoRow)}
    target, cache = layout.stage(STAGE), layout.cache(STAGE)
    jobs = [
        Job(clip=c, song=songs[c.song_id], videos=layout.stage("download"), video=videos.get(c.video_id), target=target,
            cache=cache, params=params, advice=how_to_fill(layout.manifest))
        for c in sorted(manifest.clips, key=lambda c: (c.video_id, c.start or 0.0))
    ]  # fmt: skip
    prepare_folder(target, "rows.csv")
    remove_partial_files(cache)
    cuts = run_all(cut, jobs, params.workers, STAGE, prepare=Begin(), failed=failed, timeout=params.timeout)
    order = {clip.clip_id: number for number, clip in enumerate(manifest.clips)}
    rows = sorted(cuts, key=lambda row: order[row.id])
    assert len(rows) == len(manifest.clips)
    keep_only(target, {f"{row.id}.mp4" for row in rows if row.status == "ok"}, ".mp4")
    write_records(target / "rows.csv", rows, ClipRow)
    return rows
