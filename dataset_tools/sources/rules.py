"""What a manifest as a whole must keep to, and what a person should look at; all of it at once, no file opened but CSV."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dataset_tools.lib.core.manifest import (
    Manifest,
    absent_files,
    differences,
    is_web,
    missing_values,
    scan_manifest,
    scan_published,
    url_problem,
)
from dataset_tools.lib.core.schema import Video, leaks, scan_records

WINDOW = 2.0  # seconds: a shorter clip gives no training window
OVERLAP = 0.5  # seconds that two clips of one video may share


@dataclass(frozen=True, kw_only=True)
class RenderedVideo(Video):
    """A row of videos.csv whose file `sources` renders."""

    panels: str


def check_manifest(folder: Path) -> tuple[Manifest, list[str], list[str]]:
    """(the manifest as far as it can be read, one line for every rule it breaks, one for what to look at)."""
    folder = Path(folder)
    manifest, problems = scan_manifest(folder)
    rendered = bool(scan_records(folder / "videos.csv", RenderedVideo)[0])
    for video in manifest.videos:
        if (is_web(video.url) or not rendered) and (problem := url_problem(video.url, folder)):
            problems.append(f"{folder / 'videos.csv'}: video {video.video_id}: {problem}")
        elif not rendered and absent_files([video], folder):
            problems.append(
                f"{folder / 'videos.csv'}: video {video.video_id}: url '{video.url}': no such file; the path counts from {folder}"
            )
    problems += [f"{folder}: {line}" for line in _identities(manifest)] + [
        f"{folder}: {line}" for line in _splits(manifest)
    ]
    broken, other = _published(folder, manifest)
    notes = [f"still missing: {folder / line}" for line in missing_values(manifest)]
    notes += [f"{folder}: {line}" for line in (*_timing(manifest), *_unused(manifest), *other)]
    return manifest, problems + broken, notes


def _identities(manifest: Manifest) -> Iterable[str]:
    urls = defaultdict(list)
    for video in manifest.videos:
        if video.url:
            urls[video.url].append(video.video_id)
    yield from (f"videos.csv: {' and '.join(ids)} have the same url" for ids in urls.values() if len(ids) > 1)
    for name, ids in (
        ("videos", [v.video_id for v in manifest.videos]),
        ("clips", [c.clip_id for c in manifest.clips]),
    ):
        folded = defaultdict(list)
        for item in ids:
            folded[item.casefold()].append(item)
        same = [group for group in folded.values() if len(group) > 1]
        yield from (f"{name}.csv: {' and '.join(g)} differ in case only: one file on many disks" for g in same)


def _splits(manifest: Manifest) -> Iterable[str]:
    parts = defaultdict(set)
    for clip in manifest.clips:
        parts[clip.song_id].add(clip.official_split)
    for song, found in sorted(parts.items()):
        if leaks(found):
            yield f"clips.csv: song {song} is in the official {' and '.join(sorted(found - {''}))} part"
    unlabelled = [clip.clip_id for clip in manifest.clips if not clip.official_split]
    if 0 < len(unlabelled) < len(manifest.clips):
        yield f"clips.csv: official_split is empty for {len(unlabelled)} of {len(manifest.clips)} clips ({unlabelled[0]}, …)"


def _timing(manifest: Manifest) -> Iterable[str]:
    of_video = defaultdict(list)
    for clip in manifest.clips:
        if clip.start is not None and clip.end is not None:
            of_video[clip.video_id].append(clip)
            if clip.end - clip.start < WINDOW:
                yield f"clips.csv: {clip.clip_id} is {clip.end - clip.start:g} s, too short for a window of {WINDOW:g} s"
    for clips in of_video.values():
        clips.sort(key=lambda clip: (clip.start, clip.clip_id))
        for first, second in pairwise(clips):
            if (shared := first.end - second.start) > OVERLAP:
                yield f"clips.csv: {first.clip_id} and {second.clip_id} share {shared:.1f} s of {first.video_id}"


def _unused(manifest: Manifest) -> Iterable[str]:
    for name, known, used in (
        ("videos", {v.video_id for v in manifest.videos}, {c.video_id for c in manifest.clips}),
        ("songs", {s.song_id for s in manifest.songs}, {c.song_id for c in manifest.clips}),
    ):
        if unused := sorted(known - used):
            yield f"{name}.csv: {len(unused)} that no clip uses ({', '.join(unused[:3])}{', …' if len(unused) > 3 else ''})"


def _published(folder: Path, manifest: Manifest) -> tuple[list[str], list[str]]:
    """(rules that published.csv breaks, where the manifest's counts are not those it gives)."""
    claims, problems = scan_published(folder)
    counts = {
        "clips": len(manifest.clips), "songs": len({c.song_id for c in manifest.clips}),
        "compilations": len({c.video_id for c in manifest.clips}),
    }  # fmt: skip
    return problems, differences(counts, claims)
