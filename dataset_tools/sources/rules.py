"""Rules for a manifest as a whole, and notes on what a person should check. All problems are reported at once. Only CSV
files are opened."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.manifest import (
    QUANTITIES,
    Manifest,
    compare_counts,
    find_missing_values,
    is_web,
    scan_manifest,
    scan_published,
    scan_tables,
    url_problem,
)
from dataset_tools.lib.core.names import find_file
from dataset_tools.lib.core.schema import PARTS, Scan, leaks

WINDOW_SECONDS = 2.0  # seconds; a shorter clip has no training window
MAX_OVERLAP = 0.5  # seconds that two clips of one video may share


def check_manifest(folder: Path) -> tuple[Manifest, list[str], list[str]]:
    """(the manifest as far as it can be read, one line for every violation of a rule, one line for everything that a person should
    check)."""
    folder = Path(folder)
    manifest, problems = scan_manifest(folder)
    tables = scan_tables(folder)
    problems += _check_urls(folder, tables["videos"])
    problems += [f"{folder}: {line}" for line in (*_check_identities(tables), *_check_splits(tables["clips"]))]
    broken, other = _check_published(folder, tables["clips"])
    notes = [f"still missing: {folder / line}" for line in find_missing_values(manifest)]
    notes += [f"{folder}: {line}" for line in (*_check_timing(manifest), *_check_unused(tables), *other)]
    return manifest, problems + broken, notes


def _check_urls(folder: Path, videos: Scan) -> Iterable[str]:
    rendered = "panels" in videos.columns  # then `sources` renders the files
    for video_id, url in videos.values("video_id", "url"):
        where = f"{folder / 'videos.csv'}: video {printable(video_id)}"
        if (is_web(url) or not rendered) and (problem := url_problem(url, folder)):
            yield f"{where}: {problem}"
        elif not rendered and url and not is_web(url) and find_file(folder, url) is None:
            yield f"{where}: url '{url}': no such file; the path counts from {folder}"


def _check_identities(tables: Mapping[str, Scan]) -> Iterable[str]:
    urls = defaultdict(dict)
    for video_id, url in tables["videos"].values("video_id", "url"):
        if url:
            urls[url][printable(video_id)] = None
    yield from (f"videos.csv: {' and '.join(ids)} have the same url" for ids in urls.values() if len(ids) > 1)
    for name, column in (("videos", "video_id"), ("clips", "clip_id")):
        folded = defaultdict(list)
        for (item,) in dict.fromkeys(tables[name].values(column)):
            folded[item.casefold()].append(printable(item))
        same = [group for group in folded.values() if len(group) > 1]
        yield from (f"{name}.csv: {' and '.join(g)} differ only in case: on many disks they are one file" for g in same)


def _check_splits(clips: Scan) -> Iterable[str]:
    parts = defaultdict(set)
    for song_id, part in clips.values("song_id", "official_split"):
        parts[song_id].add(part)
    for song, found in sorted(parts.items()):
        if leaks(found := found & set(PARTS)):
            yield f"clips.csv: song {printable(song)} is in the official {' and '.join(sorted(found - {''}))} part"
    rows = clips.values("clip_id", "official_split")
    unlabelled = [clip_id for clip_id, part in rows if not part]
    if 0 < len(unlabelled) < len(rows):
        yield f"clips.csv: official_split is empty for {len(unlabelled)} of {len(rows)} clips ({printable(unlabelled[0])}, …)"


def _check_timing(manifest: Manifest) -> Iterable[str]:
    of_video = defaultdict(list)
    for clip in manifest.clips:
        if clip.start is not None and clip.end is not None:
            of_video[clip.video_id].append(clip)
            if clip.end - clip.start < WINDOW_SECONDS:
                yield f"clips.csv: {clip.clip_id} is {clip.end - clip.start:g} s, too short for a window of {WINDOW_SECONDS:g} s"
    for clips in of_video.values():
        clips.sort(key=lambda clip: (clip.start, clip.clip_id))
        for first, second in pairwise(clips):
            if (shared := first.end - second.start) > MAX_OVERLAP:
                yield f"clips.csv: {first.clip_id} and {second.clip_id} share {shared:.1f} s of {first.video_id}"


def _check_unused(tables: Mapping[str, Scan]) -> Iterable[str]:
    for name, column in (("videos", "video_id"), ("songs", "song_id")):
        used = {key for (key,) in tables["clips"].values(column)}
        unused = sorted({printable(key) for (key,) in tables[name].values(column) if key not in used})
        if unused and column in tables["clips"].columns:
            yield f"{name}.csv: {len(unused)} that no clip uses ({', '.join(unused[:3])}{', …' if len(unused) > 3 else ''})"


def _check_published(folder: Path, clips: Scan) -> tuple[list[str], list[str]]:
    """(problems of published.csv, differences between the manifest's counts and the published ones)."""
    claims, problems = scan_published(folder)
    counts = {
        name: len({key for (key,) in clips.values(column)})
        for name, column in zip(QUANTITIES, ("clip_id", "song_id", "video_id"), strict=True)
        if column in clips.columns
    }
    return problems, compare_counts(counts, [claim for claim in claims if claim.quantity in counts])
