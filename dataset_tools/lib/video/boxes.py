"""Check the boxes of an MP4 or MOV file (ISO/IEC 14496-12) that determine how much memory FFmpeg takes to open it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import VIDEO_EDITS, VIDEO_TRACKS

FIRST_BOX = re.compile(rb"....(ftyp|moov|mdat|free|skip|wide|styp)", re.DOTALL)


def check_boxes(path: Path) -> None:
    """Raise UserError for an MP4 file with more than `VIDEO_TRACKS` tracks, or `VIDEO_EDITS` edits in one track. FFmpeg rebuilds its
    index of a track's frames for each edit, so a file of 15 MB can exhaust the memory. Other files are not checked."""
    path, tracks = Path(path), 0
    with open(path, "rb") as file:
        if not FIRST_BOX.match(file.read(8)):
            return
        for begin, end in _iterate_boxes(file, 0, path.stat().st_size, b"moov"):
            for track in _iterate_boxes(file, begin, end, b"trak"):
                tracks += 1
                if tracks > VIDEO_TRACKS:
                    raise UserError(
                        f"{path.name}: it has over {VIDEO_TRACKS} tracks, more than a video has; copy its video and audio streams to a new file"
                    )
                for edits in _iterate_boxes(file, *track, b"edts"):
                    for at, stop in _iterate_boxes(file, *edits, b"elst"):
                        file.seek(at)
                        version, count = file.read(4)[:1], int.from_bytes(file.read(4), "big")
                        count = min(count, (stop - at - 8) // (20 if version == b"\1" else 12))
                        if count > VIDEO_EDITS:
                            raise UserError(
                                f"{path.name}: its edit list has {count} entries, but at most {VIDEO_EDITS} are read; copy the video without it: "
                                "`ffmpeg -ignore_editlist 1 -i IN -c copy OUT.mp4`"
                            )
            return  # FFmpeg reads only the first one


def _iterate_boxes(file: BinaryIO, begin: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """(offset of the first byte, offset after the last byte) of the content of each box of this kind from `begin` to `end`."""
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        size, inner = int.from_bytes(head[:4], "big"), begin + 8
        if size == 1:  # the length is in the 8 bytes after the type
            size, inner = int.from_bytes(head[8:], "big"), begin + 16
        stop = end if size == 0 else min(end, begin + max(8, size))
        if head[4:8] == kind:
            yield inner, stop
        begin = stop
