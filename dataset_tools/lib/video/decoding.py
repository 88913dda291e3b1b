"""Frames of a video by their time stamps: from where they can be decoded cleanly, in the order in which they are shown.

A file's own word is not taken for it. Pictures flagged as key pictures that need others before them, time stamps that are
those of decoding (AVI keeps no others), packets that can't be decoded, errors that the decoder conceals: what comes out is
what the file's picture is, and which frames are spoiled is told.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from heapq import heapify, heappop, heappush
from pathlib import Path

import av
from av.video.frame import PictureType

from dataset_tools.lib.core.limits import SIDE
from dataset_tools.lib.video.media import open_media, picture_stream, zero_of

EARLIER = (
    0.0,
    10.0,
    60.0,
)  # seconds before the wanted instant from which a clean frame is looked for, before all is decoded
ENOUGH = 3  # packets of which a decoder makes at least one frame
REORDERED = {"h264", "hevc", "vvc"}  # codecs whose order of presentation FFmpeg leaves to the file
PREDICTED = (PictureType.P, PictureType.B)
MOST_LATE = (
    4  # pictures by which one is shown after its decoding: more that an edit list takes away are a film's beginning
)


Shown = tuple[int, av.VideoFrame, bool]
"""Time stamp in the stream's units, frame, whether it is spoiled."""


def timed_frames(
    path: Path, start: float = 0.0, threads: int = 0, spoiled: set[float] | None = None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time in seconds, frame) in order of presentation, from the last frame shown at `start` or a little before, decoded
    by `threads` threads (0: as many as there are cores).

    The times of frames that were decoded with errors, or after such ones before the next key frame, are added to
    `spoiled` before they come. Raises UserError where the file is unreadable, or nothing of it can be decoded.
    """
    with open_media(path) as container:
        stream = picture_stream(container, path)
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        stream.codec_context.options = {"max_pixels": str(SIDE * SIDE)}  # what claims more is a damaged header
        unit, zero = float(stream.time_base), zero_of(container)
        for stamp, frame, bad in _clean(container, stream, start, zero):
            time = stamp * unit - zero
            if bad and spoiled is not None:
                spoiled.add(time)
            yield time, frame


def key_time(path: Path, start: float) -> float:
    """Time stamp, in seconds, of the key frame from which `timed_frames` decodes, as the file flags it; infinite where there
    is none."""
    with open_media(path) as container:
        stream, zero = picture_stream(container, path), zero_of(container)
        wanted = seek(container, stream, start, zero)
        first = next(container.demux(stream))
        if first.is_keyframe and first.pts is not None and first.pts <= wanted:
            return first.pts * float(stream.time_base) - zero
        return math.inf


def stamped_as_decoded(path: Path, frames: int = 64) -> bool:
    """Whether the time stamps of a picture are those of decoding, as far as its first frames tell: its packets can't be copied."""
    with open_media(path) as container:
        shown = shown_frames(container, picture_stream(container, path))
        return any(stamp != frame.pts for (stamp, frame, _), _ in zip(shown, range(frames)))


def tolerant(packets: Iterable[av.Packet]) -> Iterator[tuple[av.Packet, list | None]]:
    """(packet, the frames that it gave); None for the frames of a packet that can't be decoded, which costs no others.
    Raises FFmpeg's error where there are no others."""
    decodable, error, count = False, None, 0
    for packet in packets:
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.error.FFmpegError as err:
            error, frames = err, None
        decodable, count = decodable or bool(frames), count + bool(packet.size)
        yield packet, frames
    if not decodable and (error or count >= ENOUGH):
        raise error or av.error.InvalidDataError(0, "nothing of it can be decoded")


def seek(container, stream, start: float, zero: float) -> int:
    """Go to the key frame before `start` seconds, which is returned in the stream's own units."""
    wanted = int((start + zero) / stream.time_base)
    container.seek(wanted, stream=stream, backward=True)
    return wanted


def _clean(container, stream, start: float, zero: float) -> Iterator[Shown]:
    """Frames from one at or before `start` seconds that needs none before it; where there is none such, from the first."""
    wanted = int((start + zero) / stream.time_base)
    for back in EARLIER if start > 0 else ():
        if back and back >= start:
            break
        seek(container, stream, start - back, zero)
        shown = shown_frames(container, stream)
        first = _first_clean(shown, wanted)
        if first is not None:
            yield first
            yield from shown
            return
    if start > 0:
        container.seek(0, backward=True)
    yield from shown_frames(container, stream)


def _first_clean(shown: Iterator[Shown], wanted: int) -> Shown | None:
    """The first key frame, where it is not later than wanted: some containers have no index and land too late."""
    with suppress(av.error.FFmpegError):  # nothing from there on can be decoded
        for first in shown:
            if first[0] > wanted or first[1].key_frame:
                return first if first[0] <= wanted else None
    return None


def shown_frames(container, stream) -> Iterator[Shown]:
    """Frames from where the container is, in order of presentation."""
    order, spoiled = _Order(container, stream), None
    for packet, frames in tolerant(order.packets()):
        if frames is None:
            spoiled = True
            order.lost(packet)
            continue
        if spoiled is None and packet.is_keyframe and packet.is_discard:
            spoiled = False  # what comes next needs it, and an edit list hides it
        for frame in frames:
            if frame.pts is None:
                continue
            if frame.is_corrupt or (spoiled is None and not frame.key_frame and frame.pict_type in PREDICTED):
                spoiled = True
            elif spoiled is None or frame.key_frame:
                spoiled = False
            yield order.stamp_of(frame), frame, spoiled


class _Order:
    """Time stamps of presentation, also where a file has only those of decoding.

    Frames come from a decoder in the order in which they are shown, so each has the earliest stamp of those that wait. As
    soon as the stamps of packets go back they are known to be those of presentation, and each frame has its own.
    """

    def __init__(self, container, stream):
        self._container, self._stream = container, stream
        self._in_doubt = stream.codec_context.name in REORDERED
        self._without = self._in_doubt and container.format.name == "avi"
        self._waiting: list[int] = []
        self._late = (
            0  # by which what is stamped as decoded is shown after that: an edit list took it away with the stamps
        )

    def packets(self) -> Iterator[av.Packet]:
        newest = None
        for packet in self._container.demux(self._stream):
            if self._without:
                packet.pts = packet.dts  # FFmpeg guesses in AVI
            if self._in_doubt and packet.is_keyframe and packet.pts is not None and packet.pts == packet.dts:
                index = self._stream.index_entries
                if self._stream.codec_context.has_b_frames and len(
                    index
                ):  # with true stamps it would be shown after its decoding
                    few = len(index) <= MOST_LATE or index[MOST_LATE].timestamp >= 0
                    self._late = max(0, -index[0].timestamp) if few else 0
            if self._in_doubt and packet.pts is not None:
                if newest is not None and packet.pts < newest:
                    self._in_doubt = False
                newest = packet.pts
                if packet.is_discard:  # decoded and not shown
                    yield packet
                    continue
                heappush(self._waiting, packet.pts)
            yield packet

    def lost(self, packet: av.Packet) -> None:
        """A packet gave no frame."""
        if self._in_doubt and packet.pts in self._waiting:
            self._waiting.remove(packet.pts)
            heapify(self._waiting)

    def stamp_of(self, frame: av.VideoFrame) -> int:
        """Of the next frame that is shown."""
        if not self._in_doubt or frame.interlaced_frame:  # each field may be a packet
            return frame.pts
        while frame.key_frame and self._waiting and self._waiting[0] < frame.pts:
            heappop(self._waiting)  # lost, for they would have been shown before it
        return self._late + (heappop(self._waiting) if self._waiting else frame.pts)
