"""A corpus begun from video files: tables of ids, lengths, clips and songs as far as they can be told, to be corrected by hand.

A file that lies in manifests/<corpus> already is used where it is; others are copied to its folder media/, for a url may not
lead out of the manifest's folder. Clips get one song id where the fingerprint hears one recording, see `split.fingerprint`.
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

from dataset_tools.lib.audio.mono import mono_of
from dataset_tools.lib.core.atomic import publish, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import CLIP_SECONDS, VIDEO_SECONDS, regular_file
from dataset_tools.lib.core.manifest import Manifest, is_web, save_manifest
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import Clip, Song, Video
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.video.video_io import read_audio
from dataset_tools.sources.cutting import LEAST, Span, scenes, silences, spans
from dataset_tools.sources.films import measured
from dataset_tools.split.fingerprint import fingerprint, joined, same_recordings

CARD = """\
# What the card of the corpus says beside what is counted from the tables. Fill the lines in and take their # away.
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
class Film:
    """A file that a corpus is begun from."""

    path: Path
    """Where it is now."""
    place: Path
    """Where it is to be, in the manifest's folder."""
    video_id: str
    seconds: float
    """End of the last picture, whole milliseconds."""


def new_corpus(layout: Layout, files: Sequence[str], cuts: Collection[str] = ()) -> list[str]:
    """Write videos.csv, clips.csv, songs.csv and, where there is none, card.yaml of manifests/<corpus>; return what a person
    should know of them, a line each.

    cuts: "scenes", "silence" (which is left out), both, or none, which makes each video one clip.
    Raises UserError, and writes nothing: tables that exist, a file that is none, no video or has no sound, a clip longer than
    `CLIP_SECONDS`, no clip at all.
    """
    folder = layout.root / "manifests" / layout.corpus
    for path in (folder / f"{name}.csv" for name in ("videos", "clips", "songs")):
        if path.exists():
            raise UserError(f"{path}: exists already, and is not overwritten; choose another name, or move it away")
    films = _films(folder, files)
    clips, said = _clips(films, cuts)
    known_as = _recordings(films, clips)
    song_ids = {first: f"song_{n:03d}" for n, first in enumerate(dict.fromkeys(known_as.values()), start=1)}
    for first, song_id in song_ids.items():
        if len(same := [clip_id for clip_id, other in known_as.items() if other == first]) > 1:
            said.append(f"{song_id}: one recording in {len(same)} clips: {', '.join(same)}")
    records = Manifest(
        folder=folder,
        videos=tuple(
            NewVideo(
                video_id=f.video_id, url=f.place.relative_to(folder).as_posix(), title=f.path.stem, seconds=f.seconds
            )
            for f in films
        ),
        clips=tuple(
            Clip(clip_id=clip_id, video_id=film.video_id, song_id=song_ids[known_as[clip_id]], start=start, end=end)
            for clip_id, (film, (start, end)) in clips.items()
        ),
        songs=tuple(Song(song_id=song_id) for song_id in song_ids.values()),
    )
    for film in progress([film for film in films if not film.place.exists()], "sources: copying", unit="video"):
        publish(film.path, film.place)
    if not (folder / "card.yaml").exists():
        write_text(folder / "card.yaml", CARD.format(title=json.dumps(layout.corpus)))
    save_manifest(records, folder)
    total = sum(film.seconds for film in films)
    wrote = (
        f"wrote {folder}: {len(films)} videos of {total:.1f} s, {len(clips)} clips, {len(song_ids)} songs; card.yaml"
    )
    return [*said, *followers(records), f"{wrote} has room for description, source and licence"]


def _films(folder: Path, files: Sequence[str]) -> list[Film]:
    """The files, measured. Raises UserError for the first of which no clip can be cut, or whose place is taken."""
    if web := [file for file in files if is_web(file)]:
        raise UserError(f"{web[0]}: a web address; fetch it first, or write it into the url of a row of videos.csv")
    paths = list({path.resolve(): path for path in map(regular_file, map(Path, files))}.values())
    films = []
    for file, video_id in zip(paths, ids_of(paths), strict=True):
        suffix = re.fullmatch(r"\.[A-Za-z0-9]{1,8}|", file.suffix)
        inside = file.resolve().is_relative_to(folder.resolve())
        place = (
            folder / file.resolve().relative_to(folder.resolve())
            if inside
            else folder / "media" / f"{video_id}{suffix[0].lower() if suffix else ''}"
        )
        if not inside and place.exists() and not filecmp.cmp(file, place, shallow=False):
            raise UserError(f"{place}: exists already, and is not {file}; choose another name, or move it away")
        (seconds, trouble) = measured([file], True)[0]
        if not trouble and not 0 < seconds <= VIDEO_SECONDS:
            trouble = f"its length must be above 0 s and at most {VIDEO_SECONDS} s, found {seconds:.3f} s"
        if trouble:
            raise UserError(f"{file}: {trouble}; leave it out or convert it")
        films.append(Film(path=file, place=place, video_id=video_id, seconds=int(1000 * seconds) / 1000))
    return films


def ids_of(files: Sequence[Path]) -> list[str]:
    """A video id for each file: its name in ASCII letters, digits, '_' and '-', numbered where it is taken."""
    taken: dict[str, str] = {}
    for file in files:
        letters = unicodedata.normalize("NFKD", file.stem).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", letters).strip("_-")[:100] or "video"
        unique, number = name, 1
        while unique.casefold() in taken:
            unique, number = f"{name}_{number + 1}", number + 1
        taken[unique.casefold()] = unique
    return list(taken.values())


def _clips(films: Sequence[Film], cuts: Collection[str]) -> tuple[dict[str, tuple[Film, Span]], list[str]]:
    """(clip id -> its film and its seconds of it, a line for each film of which pieces are left out)."""
    clips, said = {}, []
    for film in progress(films, "sources: looking for cuts", unit="video") if cuts else films:
        silent = silences(film.path, film.seconds) if "silence" in cuts else []
        pieces, short = spans(film.seconds, silent, scenes(film.path, film.seconds) if "scenes" in cuts else [])
        if short or not pieces:
            said.append(f"{film.video_id}: {len(pieces)} clips; {len(short)} pieces under {LEAST:g} s are left out")
        for number, (start, end) in enumerate(pieces, start=1):
            if end - start > CLIP_SECONDS:
                advice = "use --cut scenes or --cut silence, or cut the file yourself"
                raise UserError(
                    f"{film.path}: a clip has at most {CLIP_SECONDS} s, found {end - start:.0f} s; {advice}"
                )
            clips[f"{film.video_id}_{number:02d}"] = film, (round(start, 3), round(end, 3))
    if not clips:
        raise UserError(f"no clip of at least {LEAST:g} s in {len(films)} videos; use --cut none")
    return clips, said


def _recordings(films: Sequence[Film], clips: dict[str, tuple[Film, Span]]) -> dict[str, str]:
    """Clip id -> the first of the clips that hold the same recording, itself where no other does."""
    prints = {
        clip_id: fingerprint(_sound(film.path, *span))
        for clip_id, (film, span) in progress(clips.items(), "sources: listening", unit="clip")
    }
    alone = {clip_id: clip_id for clip_id in clips}
    known_as = joined(same_recordings(prints, alone, label="sources: comparing"), alone)
    return {clip_id: known_as.get(clip_id, clip_id) for clip_id in clips}


def _sound(path: Path, start: float, end: float):
    """(N,) float32 mono at 22 050 Hz of a span of a film that has sound."""
    found = read_audio(path, start, end - start)
    assert found is not None
    sound, rate = found
    return soxr.resample(mono_of(sound.astype("float32") / 32768, rate), rate, SAMPLE_RATE)


def followers(manifest: Manifest) -> Iterator[str]:
    """A line for each video in which clips follow each other without a pause under two song ids: no overlap tells whether one
    song goes on."""
    for video in manifest.videos:
        clips = manifest.clips_of(video.video_id)
        joints = [a.clip_id for a, b in pairwise(clips) if a.end == b.start and a.song_id != b.song_id]
        if joints:
            rule = "where one song goes on over a cut, give its clips one song_id"
            yield f"{video.video_id}: {len(joints)} clips are followed by another song's without a pause; {rule}"
