"""Check that a file is a complete video, by its first bytes, its boxes and all its packets."""

import re
from pathlib import Path

from dataset_tools.download.errors import Incomplete, NotAVideo, describe_non_video
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import PAGE_BYTES
from dataset_tools.lib.video.media import NotEnoughMemory, iterate_packets, open_media, probe

VIDEO_MAGIC = re.compile(
    rb"....(?:ftyp|moov|mdat|free|skip|wide|styp)|\x1aE\xdf\xa3|RIFF....AVI |FLV|OggS|\x00\x00\x01\xba|\x30\x26\xb2\x75|\x47.{187}\x47",
    re.DOTALL,
)
"""First bytes of MP4/MOV, Matroska/WebM, AVI, FLV, Ogg, MPEG-PS, ASF and MPEG-TS. Playlists (HLS, ffconcat) are not among them,
because opened as a video they could refer to any file of this machine."""


def check_complete(path: Path) -> float:
    """Duration of a video file, in seconds, according to its header. All its packets are checked.

    Raises NotAVideo for another kind of file; Incomplete if the boxes of an MP4 file reach beyond its end, or the packets end more
    than a second (and 2 %) before the duration; NotEnoughMemory.
    """
    with open(path, "rb") as handle:
        head = handle.read(PAGE_BYTES)
    if not VIDEO_MAGIC.match(head):
        raise describe_non_video(head)
    if re.match(rb"....(ftyp|moov)", head, re.DOTALL) and (lacking := _count_missing_bytes(path)):
        raise Incomplete(f"the file is cut short: {lacking} bytes are missing")
    try:
        seconds = probe(path).seconds
        with open_media(path) as container:
            last = 0.0
            for packet in iterate_packets(container, path):
                if packet.pts is not None:
                    last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            last -= max(0.0, (container.start_time or 0) / 1e6)
    except NotEnoughMemory:
        raise
    except UserError as err:
        if "Invalid data" in str(err):
            raise Incomplete("the file is damaged or cut short") from None
        raise NotAVideo(str(err).split(": ", 1)[-1]) from None
    if seconds - last > max(1.0, 0.02 * seconds):
        raise Incomplete(f"the file ends at {last:.1f} s of {seconds:.1f} s")
    return seconds


def _count_missing_bytes(path: Path) -> int:
    """Number of bytes by which the top-level boxes of an MP4 file (ISO/IEC 14496-12, 4.2) reach beyond its end."""
    size, at = path.stat().st_size, 0
    with open(path, "rb") as handle:
        while at + 8 <= size:
            handle.seek(at)
            length = int.from_bytes(handle.read(4), "big")
            if length == 1:  # the length is in the 8 bytes after the type
                length = int.from_bytes(handle.read(12)[4:], "big")
            if length == 0:  # the box extends to the end of the file
                return 0
            at += max(8, length)
    return at - size
