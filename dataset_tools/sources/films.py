"""The videos of a corpus that are files here: how long they are, and whether all of them can be decoded."""

import math
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import is_web, url_problem
from dataset_tools.lib.core.names import find_file
from dataset_tools.lib.core.schema import Video
from dataset_tools.lib.video.media import course, probe
from dataset_tools.lib.video.video_io import read_audio, timed_frames

PIECE = 60.0
"""Seconds of sound that are read at once: a film of a day does not fit in memory."""


def film_of(video: Video, layout: Layout) -> Path | None:
    """The file of a video: beside the manifest, downloaded, or rendered; None where there is none yet."""
    local = bool(video.url) and not is_web(video.url)
    if local and not url_problem(video.url, layout.manifest) and (own := find_file(layout.manifest, video.url)):
        return own
    made = [layout.stage("download") / f"{video.video_id}.mp4", layout.stage("sources") / f"media/{video.video_id}.mp4"]
    return next((path for path in made if path.is_file()), None)


def measured(paths: list[Path], exact: bool) -> list[tuple[float, str]]:
    """Of each file (its length in seconds, what keeps clips from being cut out of it, in a few words).

    The length is what the header claims, 0 where it does not say; with `exact` the end of the last picture, which takes a
    look at every packet. 0 of what is no video.
    """
    return [_measured(path, exact) for path in paths]


def _measured(path: Path, exact: bool) -> tuple[float, str]:
    try:
        info = probe(path)
        seconds = course(path).end if exact else info.seconds
    except UserError as err:
        return 0.0, str(err).removeprefix(f"{path.name}: ")
    if info.unknown_audio:
        return seconds, "FFmpeg does not know how its sound is coded; a clip needs its music"
    return seconds, "" if info.has_audio else "it has no sound; a clip needs its music"


def undecodable(path: Path) -> list[str]:
    """Decode a whole film, picture and sound; a line for each of the two that is not whole. Raises UserError as `probe`."""
    spoiled: set[float] = set()
    count = sum(1 for _ in timed_frames(path, spoiled=spoiled))
    lines, lost = [], []
    if spoiled:
        first = f"the first at {min(spoiled):.2f} s"
        lines.append(f"{len(spoiled)} of its {count} pictures are damaged, or build on one that is; {first}")
    for piece in range(math.ceil(course(path).end / PIECE) if probe(path).has_audio else 0):
        read_audio(path, piece * PIECE, PIECE, lost)
    if lost:
        lines.append(f"{sum(lost):.2f} s of its sound are missing or can't be decoded")
    return lines
