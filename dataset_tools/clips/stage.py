"""clips: cut every clip of the sources out of its video and bring it to the corpus's form.

A clip is an mp4 of 30 frames a second with the still side panels cropped away, H.264 and FLAC sound, exactly
frames / 30 s of it. A clip that cannot be cut has a row that says why.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from dataset_tools.base.accounting import demand
from dataset_tools.base.atomic import begin_folder, keep_only, publish, sweep, write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.manifest import how_to_fill, load_manifest
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Clip, Row, Song, read_records, write_records
from dataset_tools.base.work_cache import item_key
from dataset_tools.base.workers import run_all
from dataset_tools.vision.normalise import Cut, cut_out
from dataset_tools.vision.open_video import OpenVideo

STAGE = "clips"
VERSION = 8  # of how a clip is cut, here and in dataset_tools/vision: a change must not find the old clips in the cache


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `clips` of params.yaml."""

    max_height: int = 720
    """Higher pictures are scaled down to this, in px."""
    crop: bool = True
    """Crop still side panels and letterbox bars away."""
    max_cuts: int | None = None
    """A clip with more scene cuts inside fails; empty: they are only counted."""
    max_damaged: int = 0
    """A clip with more damaged pictures fails; they are counted in rows.csv either way."""
    max_sound_lost: float = 0.1
    """A clip of whose sound more seconds can't be decoded, and are silent, fails; they are in rows.csv either way."""
    stretch_sound: float = 0.0
    """Fraction, such as 0.03, by which the whole sound may differ in length from the picture and be taken for the same
    recording by another clock: it is resampled to the picture's. 0: never. rows.csv has the difference either way."""
    memory: int = 600
    """MB of decoded frames of each of the two clips that a process may hold; a clip that needs more is decoded twice."""
    workers: int = 2
    """Processes; each encodes a clip while it decodes the next."""
    timeout: float = 900.0
    """Seconds that one clip may take; one that hangs a decoder becomes a failed row."""
    min_ok: float = 0.9
    """Fraction of the clips that must be ok."""

    def __post_init__(self):
        require(self.max_height >= 16, f"max_height must be at least 16 px, found {self.max_height}")
        require(self.max_cuts is None or self.max_cuts >= 0, f"max_cuts must be empty or at least 0, found {self.max_cuts}")
        require(self.max_damaged >= 0, f"max_damaged must be at least 0, found {self.max_damaged}")
        require(self.max_sound_lost >= 0, f"max_sound_lost must be at least 0 s, found {self.max_sound_lost:g}")
        require(0 <= self.stretch_sound <= 0.1, f"stretch_sound must be 0 to 0.1, found {self.stretch_sound:g}")
        require(self.memory >= 0, f"memory must be at least 0 MB, found {self.memory}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")


@dataclass(frozen=True, kw_only=True)
class ClipRow(Row):
    """One row of clips/rows.csv. The numbers are empty where status is not ok."""

    video_id: str
    song_id: str
    genre: str = ""
    official_split: str = ""
    frames: int | None = None
    """At 30 frames a second."""
    width: int | None = None
    height: int | None = None
    crop_x: int | None = None
    """Left edge of the kept part, in px of the upright source video."""
    crop_y: int | None = None
    crop_w: int | None = None
    crop_h: int | None = None
    source_width: int | None = None
    """Px of the upright source video."""
    source_height: int | None = None
    source_fps: float | None = None
    audio_peak: float | None = None
    """Largest absolute sample; 1 is full scale."""
    sound_drift: float | None = None
    """Length of the whole source's sound over that of its picture, minus 1; empty where the file does not say."""
    cuts: int | None = None
    """Scene cuts inside the clip."""
    sound_lost: float | None = None
    """Seconds of the clip's sound that could not be decoded, and are silent."""
    damaged: int | None = None
    """Pictures that were decoded with errors, or after such ones before the next key picture."""


@dataclass(frozen=True, kw_only=True)
class VideoRow(Row):
    """What this stage reads of download/rows.csv."""

    sha256: str = ""


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
                       self.params.stretch_sound)  # fmt: skip
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
                need_sound=True, stretch_sound=job.params.stretch_sound, memory=job.params.memory << 20,
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
        return failed(job, f"{found}, but clips.max_damaged is {job.params.max_damaged}; fetch the video again, or raise it in params.yaml")
    if facts["sound_lost"] > job.params.max_sound_lost:
        found = f"{facts['sound_lost']:g} s of its sound can't be decoded"
        return failed(job, f"{found}, but clips.max_sound_lost is {job.params.max_sound_lost:g}; fetch the video again, or raise it in params.yaml")
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
    begin_folder(target, "rows.csv")
    sweep(cache)
    cuts = run_all(cut, jobs, params.workers, STAGE, prepare=Begin(), failed=failed, timeout=params.timeout)
    order = {clip.clip_id: number for number, clip in enumerate(manifest.clips)}
    rows = sorted(cuts, key=lambda row: order[row.id])
    assert len(rows) == len(manifest.clips)
    keep_only(target, {f"{row.id}.mp4" for row in rows if row.status == "ok"}, ".mp4")
    write_records(target / "rows.csv", rows, ClipRow)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    args = stage_parser("dataset_tools.clips", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, STAGE, Params)
    rows = clips(layout, params)
    say(STAGE, demand(rows, stage=STAGE, min_ok=params.min_ok, table=layout.stage(STAGE) / "rows.csv"))
    return 0


if __name__ == "__main__":
    run(main)
