"""Create a corpus from video files: write tables of videos, clips and songs, to be corrected by hand.

A file in manifests/<corpus> is used where it is. Other files are copied to its folder media/, because a url must not point outside the
manifest's folder. Clips with the same recording get one song id, see `split.fingerprint`.
"""

import filecmp
import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import soxr

from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core.atomic import publish, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import CLIP_SECONDS, VIDEO_SECONDS, check_regular_file
from dataset_tools.lib.core.manifest import Manifest, is_web, save_manifest
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import Clip, Song, Video
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.video.video_io import read_audio
from dataset_tools.sources.cutting import MIN_CLIP, Span, find_scene_starts, find_silences, split_video
from dataset_tools.sources.video_files import measure_videos
from dataset_tools.split.fingerprint import find_same_recordings, fingerprint, merge_groups

CARD = """\
# Texts of the corpus card; its numbers come from the tables. Fill in the lines and remove their #.
title: {title}
# description: What the clips show, and what the corpus is for.
# source: Who filmed them, and where they were published.
# licence: What others may do with them, for example CC BY 4.0.
# known_problems:
#   - What is wrong with the corpus, a line each.
"""


@dataclass(frozen=True, kw_only=True)
class NewVideo(Video):
    """A row of videos.csv with the length of the file."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class SourceVideo:
    """A file that becomes a video of the corpus."""

    path: Path
    """Where it is now."""
    target: Path
    """Where it will be, in the manifest's folder."""
    video_id: str
    seconds: float
    """End of the last frame, in whole milliseconds."""


def new_corpus(layout: Layout, files: Sequence[str], cuts: Collection[str] = ()) -> list[str]:
    """Write videos.csv, clips.csv and songs.csv of manifests/<corpus>, and card.yaml if there is none. Return notes for the user.

    cuts: "scenes", "silence" (silences are left out) or both. If empty, each video is one clip.
    Raises UserError, and writes nothing, if a table exists, a file is missing, is not a video or has no audio, a clip is longer than
    `CLIP_SECONDS`, or there is no clip.
    """
    folder = layout.root / "manifests" / layout.corpus
    for path in (folder / f"{name}.csv" for name in ("videos", "clips", "songs")):
        if path.exists():
            raise UserError(f"{path}: exists already, and is not overwritten; choose another name, or move it away")
    videos = _check_files(folder, files)
    clips, notes = _cut_clips(videos, cuts)
    recording_of = _find_recordings(videos, clips)
    song_ids = {first: f"song_{n:03d}" for n, first in enumerate(dict.fromkeys(recording_of.values()), start=1)}
    for first, song_id in song_ids.items():
        if len(same := [clip_id for clip_id, other in recording_of.items() if other == first]) > 1:
            notes.append(f"{song_id}: one recording in {len(same)} clips: {', '.join(same)}")
    records = Manifest(
        folder=folder,
        videos=tuple(
            NewVideo(
                video_id=f.video_id, url=f.target.relative_to(folder).as_posix(), title=f.path.stem, seconds=f.seconds
            )
            for f in videos
        ),
        clips=tuple(
            Clip(
                clip_id=clip_id, video_id=video.video_id, song_id=song_ids[recording_of[clip_id]], start=start, end=end
            )
            for clip_id, (video, (start, end)) in clips.items()
        ),
        songs=tuple(Song(song_id=song_id) for song_id in song_ids.values()),
    )
    for video in progress([video for video in videos if not video.target.exists()], "sources: copying", unit="video"):
        publish(video.path, video.target)
    if not (folder / "card.yaml").exists():
        write_text(folder / "card.yaml", CARD.format(title=json.dumps(layout.corpus)))
    save_manifest(records, folder)
    total = sum(video.seconds for video in videos)
    wrote = (
        f"wrote {folder}: {len(videos)} videos of {total:.1f} s, {len(clips)} clips, {len(song_ids)} songs; card.yaml"
    )
    return [*notes, *find_uncertain_cuts(records), f"{wrote} has room for description, source and licence"]


def _check_files(folder: Path, files: Sequence[str]) -> list[SourceVideo]:
    """Measure the files. Raises UserError for a file that no clip can be cut from, and if another file exists at its target."""
    if web := [file for file in files if is_web(file)]:
        raise UserError(f"{web[0]}: a web address; fetch it first, or write it into the url of a row of videos.csv")
    paths = list({path.resolve(): path for path in map(check_regular_file, map(Path, files))}.values())
    videos = []
    for file, video_id in zip(paths, make_video_ids(paths), strict=True):
        suffix = re.fullmatch(r"\.[A-Za-z0-9]{1,8}|", file.suffix)
        inside = file.resolve().is_relative_to(folder.resolve())
        target = (
            folder / file.resolve().relative_to(folder.resolve())
            if inside
            else folder / "media" / f"{video_id}{suffix[0].lower() if suffix else ''}"
        )
        if not inside and target.exists() and not filecmp.cmp(file, target, shallow=False):
            raise UserError(f"{target}: exists already, and is not {file}; choose another name, or move it away")
        (seconds, trouble) = measure_videos([file], True)[0]
        if not trouble and not 0 < seconds <= VIDEO_SECONDS:
            trouble = f"its length must be above 0 s and at most {VIDEO_SECONDS} s, found {seconds:.3f} s"
        if trouble:
            raise UserError(f"{file}: {trouble}; leave it out or convert it")
        videos.append(SourceVideo(path=file, target=target, video_id=video_id, seconds=int(1000 * seconds) / 1000))
    return videos


def make_video_ids(files: Sequence[Path]) -> list[str]:
    """A video id for each file: its name in ASCII letters, digits, '_' and '-', with a number if the id is taken."""
    taken: dict[str, str] = {}
    for file in files:
        letters = unicodedata.normalize("NFKD", file.stem).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", letters).strip("_-")[:100] or "video"
        unique, number = name, 1
        while unique.casefold() in taken:
            unique, number = f"{name}_{number + 1}", number + 1
        taken[unique.casefold()] = unique
    return list(taken.values())


def _cut_clips(
    videos: Sequence[SourceVideo], cuts: Collection[str]
) -> tuple[dict[str, tuple[SourceVideo, Span]], list[str]]:
    """(clip id -> (its video, its span), a line for each video with spans that are too short for a clip)."""
    clips, notes = {}, []
    for video in progress(videos, "sources: looking for cuts", unit="video") if cuts else videos:
        silent = find_silences(video.path, video.seconds) if "silence" in cuts else []
        pieces, short = split_video(
            video.seconds, silent, find_scene_starts(video.path, video.seconds) if "scenes" in cuts else []
        )
        if short or not pieces:
            notes.append(
                f"{video.video_id}: {len(pieces)} clips; {len(short)} pieces under {MIN_CLIP:g} s are left out"
            )
        for number, (start, end) in enumerate(pieces, start=1):
            if end - start > CLIP_SECONDS:
                advice = "use --cut scenes or --cut silence, or cut the file yourself"
                raise UserError(
                    f"{video.path}: a clip has at most {CLIP_SECONDS} s, found {end - start:.0f} s; {advice}"
                )
            clips[f"{video.video_id}_{number:02d}"] = video, (round(start, 3), round(end, 3))
    if not clips:
        raise UserError(f"no clip of at least {MIN_CLIP:g} s in {len(videos)} videos; use --cut none")
    return clips, notes


def _find_recordings(videos: Sequence[SourceVideo], clips: dict[str, tuple[SourceVideo, Span]]) -> dict[str, str]:
    """Clip id -> the first clip with the same recording, which may be the clip itself."""
    fingerprints = {
        clip_id: fingerprint(_read_mono(video.path, *span))
        for clip_id, (video, span) in progress(clips.items(), "sources: fingerprinting", unit="clip")
    }
    alone = {clip_id: clip_id for clip_id in clips}
    recording_of = merge_groups(find_same_recordings(fingerprints, alone, label="sources: comparing"), alone)
    return {clip_id: recording_of.get(clip_id, clip_id) for clip_id in clips}


def _read_mono(path: Path, start: float, end: float):
    """(N,) float32 mono audio at 22 050 Hz of a span of a video with audio."""
    audio, rate = read_audio(path, start, end - start)
    return soxr.resample(to_mono(audio.astype("float32") / 32768, rate), rate, SAMPLE_RATE)


def find_uncertain_cuts(manifest: Manifest) -> Iterator[str]:
    """A line for each video in which clips with different song ids follow each other without a pause: one song may go on over the cut."""
    for video in manifest.videos:
        clips = manifest.clips_of(video.video_id)
        joints = [a.clip_id for a, b in pairwise(clips) if a.end == b.start and a.song_id != b.song_id]
        if joints:
            rule = "where one song goes on over a cut, give its clips one song_id"
            yield f"{video.video_id}: {len(joints)} clips are followed by another song's without a pause; {rule}"
