"""The video files of a corpus: how long they are, and whether they can be decoded completely."""

import math
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import is_web, url_problem
from dataset_tools.lib.core.names import find_file
from dataset_tools.lib.core.schema import Video
from dataset_tools.lib.video.media import probe, read_timeline
from dataset_tools.lib.video.video_io import read_audio, timed_frames

CHUNK_SECONDS = 60.0
"""Seconds of audio that are read at once: the audio of a whole day does not fit in memory."""


def find_video_file(video: Video, layout: Layout) -> Path | None:
    """Path of a video: in the manifest's folder, downloaded, or rendered. None if the file does not exist yet."""
    local = bool(video.url) and not is_web(video.url)
    if local and not url_problem(video.url, layout.manifest) and (own := find_file(layout.manifest, video.url)):
        return own
    results = [
        layout.stage("download") / f"{video.video_id}.mp4",
        layout.stage("sources") / f"media/{video.video_id}.mp4",
    ]
    return next((path for path in results if path.is_file()), None)


def measure_videos(paths: list[Path], exact: bool) -> list[tuple[float, str]]:
    """For each file (its length in seconds, why no clip can be cut from it; '' if clips can).

    The length is the header's, 0 if the header has none or the file is not a video.
    exact: read all packets, and return the end of the last frame instead.
    """
    return [_measure(path, exact) for path in paths]


def _measure(path: Path, exact: bool) -> tuple[float, str]:
    try:
        info = probe(path)
        seconds = read_timeline(path).end if exact else info.seconds
    except UserError as err:
        return 0.0, str(err).removeprefix(f"{path.name}: ")
    if info.undecodable_audio:
        return seconds, "FFmpeg does not know the codec of its audio; a clip needs its music"
    return seconds, "" if info.has_audio else "it has no audio; a clip needs its music"


def find_decoding_errors(path: Path) -> list[str]:
    """Decode a whole video. Return a line if frames are damaged and a line if audio is missing. Raises UserError like `probe`."""
    damaged: set[float] = set()
    count = sum(1 for _ in timed_frames(path, damaged=damaged))
    lines, missing = [], []
    if damaged:
        first = f"the first at {min(damaged):.2f} s"
        lines.append(f"{len(damaged)} of its {count} frames are damaged or depend on a damaged frame; {first}")
    for chunk in range(math.ceil(read_timeline(path).end / CHUNK_SECONDS) if probe(path).has_audio else 0):
        read_audio(path, chunk * CHUNK_SECONDS, CHUNK_SECONDS, missing)
    if missing:
        lines.append(f"{sum(missing):.2f} s of its audio are missing or can't be decoded")
    return lines
