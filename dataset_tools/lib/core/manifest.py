"""The manifest of a corpus: videos.csv, clips.csv and songs.csv of one folder, read and checked together."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.names import find_file, is_outside
from dataset_tools.lib.core.schema import Clip, Scan, Song, Video, scan_records, write_records

IMPORT_COMMAND = "python -m dataset_tools.sources import-annotations FILE"

SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
TIME_COLUMNS = ("start", "end")
"""Columns of clips.csv that must be both present or both absent."""
QUANTITIES = ("clips", "songs", "compilations")
"""Quantities that published.csv may state."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Records of one corpus. The video and the song of every clip are among them."""

    folder: Path
    """Folder that they were read from; relative URLs start here."""
    videos: tuple[Video, ...]
    clips: tuple[Clip, ...]
    songs: tuple[Song, ...]

    def clips_of(self, video_id: str) -> tuple[Clip, ...]:
        """The clips of one video, in the order of clips.csv."""
        return tuple(self._clips_by_video.get(video_id, ()))

    @cached_property
    def _clips_by_video(self) -> dict[str, list[Clip]]:
        found = defaultdict(list)
        for clip in self.clips:
            found[clip.video_id].append(clip)
        return dict(found)


def load_manifest(folder: Path, *, video: type = Video, clip: type = Clip, song: type = Song) -> Manifest:
    """Read the three files of `folder`. `video`, `clip` and `song` are the record types, which may have further columns.

    Raises UserError, which names the file, the row's id and the rule, for anything that `read_records` refuses, a manifest
    without clips, a clip whose video or song is not listed, and a start without an end or the reverse.
    """
    found, problems = scan_manifest(folder, video=video, clip=clip, song=song)
    if problems:
        raise UserError(problems[0])
    return found


def scan_manifest(
    folder: Path, *, video: type = Video, clip: type = Clip, song: type = Song
) -> tuple[Manifest, list[str]]:
    """(the records of the three files of `folder` that can be read, one line for each violation of a rule of `load_manifest`)."""
    tables = scan_tables(folder, video=video, clip=clip, song=song)
    found = Manifest(folder=Path(folder), **{name: tuple(table.records) for name, table in tables.items()})
    problems = [line for table in tables.values() for line in table.problems]
    path = found.folder / "clips.csv"
    if not found.clips and not tables["clips"].problems:
        problems.append(f"{path}: no clips; at least one row is needed")
    return found, problems + list(_find_unknown_ids(path, tables)) + list(_find_half_timed(path, tables["clips"]))


def scan_tables(folder: Path, *, video: type = Video, clip: type = Clip, song: type = Song) -> dict[str, Scan]:
    """The scans of the three tables of `folder`: 'videos', 'clips' and 'songs'."""
    kinds = {"videos": video, "clips": clip, "songs": song}
    return {
        name: scan_records(Path(folder) / f"{name}.csv", kind, together=TIME_COLUMNS) for name, kind in kinds.items()
    }


def _find_unknown_ids(path: Path, tables: Mapping[str, Scan]) -> Iterator[str]:
    """A line for each clip whose video or song has no row. Rows that break a rule count as rows."""
    for name, column in (("videos", "video_id"), ("songs", "song_id")):
        if column in tables[name].columns and column in tables["clips"].columns:
            known = {key for (key,) in tables[name].values(column)}
            for clip_id, key in tables["clips"].values("clip_id", column):
                if key not in known:
                    table = path.with_name(f"{name}.csv")
                    yield f"{path}: clip {printable(clip_id)}: {column} '{printable(key)}' is not in {table}"


def _find_half_timed(path: Path, clips: Scan) -> Iterator[str]:
    for clip_id, *times in clips.values("clip_id", *TIME_COLUMNS) if set(TIME_COLUMNS) <= set(clips.columns) else ():
        empty = [name for name, time in zip(TIME_COLUMNS, times, strict=True) if time is None or not str(time).strip()]
        if len(empty) == 1:
            yield f"{path}: clip {printable(clip_id)}: {empty[0]} is empty; give both times or neither"


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the three files into `folder` atomically, each sorted by id."""
    for name, records, record in (
        ("videos", manifest.videos, Video),
        ("clips", manifest.clips, Clip),
        ("songs", manifest.songs, Song),
    ):
        write_records(Path(folder) / f"{name}.csv", records, type(records[0]) if records else record)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of published.csv: a count that a publication states about the corpus, to compare the data with."""

    quantity: str
    """'clips', 'songs' or 'compilations'."""
    value: int
    source: str

    def __post_init__(self):
        if self.quantity not in QUANTITIES:
            raise ValueError(f"quantity must be {', '.join(QUANTITIES)}, found '{self.quantity}'")


def scan_published(folder: Path) -> tuple[list[Published], list[str]]:
    """(the rows of published.csv that can be read, one line for each violation of a rule). Both are empty if there is no such file."""
    path = Path(folder) / "published.csv"
    return scan_records(path, Published)[:2] if path.is_file() else ([], [])


def read_published(folder: Path) -> list[Published]:
    """The rows of published.csv; empty if there is no such file. Raises UserError as `read_records`."""
    claims, problems = scan_published(folder)
    if problems:
        raise UserError(problems[0])
    return claims


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """One row of checksums.csv: the expected hash of a video file."""

    id: str
    sha256: str = ""
    """64 hexadecimal digits; empty: not known."""

    def __post_init__(self):
        if self.sha256 and not SHA256.fullmatch(self.sha256):
            raise ValueError(
                f"sha256 must be 64 hexadecimal digits or empty, found '{printable(self.sha256)}'; `sha256sum FILE` prints them"
            )


def scan_checksums(folder: Path) -> tuple[dict[str, str], list[str]]:
    """(video id -> expected sha256, one line for each violation of a rule) of checksums.csv. Both are empty if there is no such file."""
    path = Path(folder) / "checksums.csv"
    rows, problems = scan_records(path, Checksum)[:2] if path.is_file() else ([], [])
    return {row.id: row.sha256.lower() for row in rows}, problems


def compare_counts(counts: Mapping[str, int], claims: Sequence[Published]) -> list[str]:
    """One line for each quantity whose count differs from the published one."""
    return [
        f"the clip list holds {counts[claim.quantity]} {claim.quantity}, {claim.source} says {claim.value}"
        for claim in claims
        if counts[claim.quantity] != claim.value
    ]


def limit_manifest(manifest: Manifest, *, videos: int = 0, clips_per_video: int = 0) -> Manifest:
    """The manifest of the first `videos` videos and the first `clips_per_video` clips of each (0: all), with the songs of these clips."""
    kept = manifest.videos[: videos or None]
    clips = tuple(c for v in kept for c in manifest.clips_of(v.video_id)[: clips_per_video or None])
    used = {clip.song_id for clip in clips}
    songs = tuple(song for song in manifest.songs if song.song_id in used)
    return dataclasses.replace(manifest, videos=kept, clips=clips, songs=songs)


def find_missing_values(manifest: Manifest) -> list[str]:
    """One line for each file of the manifest that lacks values which later stages need; empty if it is complete."""
    lines = []
    advice = how_to_fill(manifest.folder)
    urls = [v.video_id for v in manifest.videos if not v.url]
    times = [c.clip_id for c in manifest.clips if c.start is None]
    if urls:
        lines.append(f"videos.csv: url is empty for {_describe_ids(urls, len(manifest.videos))}; {advice}")
    if times:
        lines.append(f"clips.csv: start and end are empty for {_describe_ids(times, len(manifest.clips))}; {advice}")
    return lines


def how_to_fill(folder: Path) -> str:
    """Advice about a value that the manifest in `folder` lacks."""
    if (Path(folder) / "README.md").is_file():
        return f"the README.md of the manifest's folder says where to get it and how to fill it in (from an annotation sheet: {IMPORT_COMMAND})"
    return f"fill it in (from an annotation sheet: {IMPORT_COMMAND})"


def is_web(url: str) -> bool:
    """Whether a url of videos.csv is a web address (otherwise it is a local path or empty)."""
    return url.lower().startswith(("http://", "https://"))


def url_problem(url: str, folder: Path) -> str:
    """Why a url of the manifest in `folder` is not allowed, in a few words; '' for an allowed or empty one.

    A manifest may come from someone else, so its paths may not lead out of its own folder, not even through links.
    """
    if not url:
        return ""
    quoted = f"url '{url[:200]}'"
    if not quoted.isprintable():
        return f"url {url[:200]!a}: holds control characters"
    try:
        parts = urlsplit(url)
    except ValueError as err:
        return f"{quoted}: not a URL: {err}"
    if is_web(url):
        return "" if parts.hostname else f"{quoted}: names no host"
    if parts.scheme or PurePosixPath(url).is_absolute():
        return f"{quoted}: must be http(s) or a path relative to the manifest's folder"
    if is_outside(folder, url):
        return f"{quoted}: leads out of {folder}; put the file itself into that folder (a link is not enough)"
    return ""


def find_missing_files(videos: Sequence[Video], folder: Path) -> list[str]:
    """Ids of the videos whose url is a path, relative to `folder`, of a file that does not exist."""
    return [v.video_id for v in videos if v.url and not is_web(v.url) and find_file(folder, v.url) is None]


def _describe_ids(ids: Sequence[str], of: int) -> str:
    few = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} of {of} rows ({few})"
