"""A corpus manifest: videos.csv, clips.csv and songs.csv of one folder, read and checked together."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.base.errors import UserError
from dataset_tools.base.schema import Clip, Song, Video, read_records, write_records

ANNOTATIONS = "import the authors' annotation sheet or fill them in by hand"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Records of one corpus. Every clip's video and song is among them."""

    folder: Path
    """Where they were read; relative URLs count from here."""
    videos: tuple[Video, ...]
    clips: tuple[Clip, ...]
    songs: tuple[Song, ...]

    def clips_of(self, video_id: str) -> tuple[Clip, ...]:
        """The clips of one video, in the order of the file."""
        return tuple(clip for clip in self.clips if clip.video_id == video_id)


def load_manifest(folder: Path, *, video: type = Video, clip: type = Clip, song: type = Song) -> Manifest:
    """Read the three files of `folder`; `video`, `clip` and `song` are record types with further columns, if any.

    Raises UserError naming the file, the row's id and the rule: whatever `read_records` refuses, no clips at all, a
    clip whose video or song is not listed, a start without an end or the reverse.
    """
    folder = Path(folder)
    found = Manifest(
        folder=folder,
        videos=tuple(read_records(folder / "videos.csv", video)),
        clips=tuple(read_records(folder / "clips.csv", clip)),
        songs=tuple(read_records(folder / "songs.csv", song)),
    )
    path = folder / "clips.csv"
    if not found.clips:
        raise UserError(f"{path}: no clips; at least one row is needed")
    videos = {item.video_id for item in found.videos}
    songs = {item.song_id for item in found.songs}
    for item in found.clips:
        if item.video_id not in videos:
            raise UserError(
                f"{path}: clip {item.clip_id}: video_id '{item.video_id}' is not in {folder / 'videos.csv'}"
            )
        if item.song_id not in songs:
            raise UserError(f"{path}: clip {item.clip_id}: song_id '{item.song_id}' is not in {folder / 'songs.csv'}")
        if (item.start is None) != (item.end is None):
            lacking = "start" if item.start is None else "end"
            raise UserError(f"{path}: clip {item.clip_id}: {lacking} is empty; give both times or neither")
    return found


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the three files into `folder`, each sorted by id, complete or absent."""
    for name, records, record in (
        ("videos", manifest.videos, Video),
        ("clips", manifest.clips, Clip),
        ("songs", manifest.songs, Song),
    ):
        write_records(Path(folder) / f"{name}.csv", records, type(records[0]) if records else record)


def limited(manifest: Manifest, *, videos: int = 0, clips_per_video: int = 0) -> Manifest:
    """The first `videos` videos and the first `clips_per_video` clips of each (0 = all), with the songs they use."""
    kept = manifest.videos[: videos or None]
    clips = tuple(c for v in kept for c in manifest.clips_of(v.video_id)[: clips_per_video or None])
    used = {clip.song_id for clip in clips}
    songs = tuple(song for song in manifest.songs if song.song_id in used)
    return dataclasses.replace(manifest, videos=kept, clips=clips, songs=songs)


def missing_values(manifest: Manifest) -> list[str]:
    """What later stages need and the manifest does not have yet, one line per file; empty when complete."""
    lines = []
    urls = [v.video_id for v in manifest.videos if not v.url]
    times = [c.clip_id for c in manifest.clips if c.start is None]
    if urls:
        lines.append(f"videos.csv: url is empty for {_some(urls, len(manifest.videos))}; {ANNOTATIONS}")
    if times:
        lines.append(f"clips.csv: start and end are empty for {_some(times, len(manifest.clips))}; {ANNOTATIONS}")
    return lines


def _some(ids: Sequence[str], of: int) -> str:
    shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} of {of} rows ({shown})"
