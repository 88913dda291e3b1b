"""Frames of a video by their time stamps: from where they can be decoded cleanly, in the order in which they are shown.

A file's own word is not taken for it. Pictures flagged as key pictures that need others before them, time stamps that are
those of decoding (AVI keeps no others), packets that can't be decoded, errors that the decoder conceals: what comes out is
what the file's picture is, and which frames are damaged is told.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from heapq import heapify, heappop, heappush
from pathlib import Path

import av
from av.video.frame import PictureType

from dataset_tools.lib.core.limits import SIDE
from dataset_tools.lib.video.media import find_video_stream, open_media, start_time

SEEK_BACK_SECONDS = (
    0.0,
    10.0,
    60.0,
)  # seconds before the wanted instant from which a clean frame is looked for, before all is decoded
MIN_PACKETS = 3  # packets of which a decoder makes at least one frame
REORDERING_CODECS = {"h264", "hevc", "vvc"}  # codecs whose order of presentation FFmpeg leaves to the file
PREDICTED = (PictureType.P, PictureType.B)
MAX_REORDER = (
    4  # pictures by which one is shown after its decoding: more that an edit list takes away are a film's beginning
)


DecodedFrame = tuple[int, av.VideoFrame, bool]
"""Time stamp in the stream's units, frame, whether it is damaged."""


def timed_frames(
    path: Path, start: float = 0.0, threads: int = 0, damaged: set[float] | None = None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time in seconds, frame) in order of presentation, from the last frame shown at `start` or a little before, decoded
    by `threads` threads (0: as many as there are cores).

    The times of frames that were decoded with errors, or after such ones before the next key frame, are added to
    `damaged` before they come. Raises UserError where the file is unreadable, or nothing of it can be decoded.
    """
    with open_media(path) as container:
        stream = find_video_stream(container, path)
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        stream.codec_context.options = {"max_pixels": str(SIDE * SIDE)}  # what claims more is a damaged header
        unit, zero = float(stream.time_base), start_time(container)
        for stamp, frame, bad in _frames_from_clean_start(container, stream, start, zero):
            time = stamp * unit - zero
            if bad and damaged is not None:
                damaged.add(time)
            yield time, frame


def find_key_frame_time(path: Path, start: float) -> float:
    """Time stamp, in seconds, of the key frame from which `timed_frames` decodes, as the file flags it; infinite where there
    is none."""
    with open_media(path) as container:
        stream, zero = find_video_stream(container, path), start_time(container)
        wanted = seek(container, stream, start, zero)
        first = next(container.demux(stream))
        if first.is_keyframe and first.pts is not None and first.pts <= wanted:
            return first.pts * float(stream.time_base) - zero
        return math.inf


def has_decoding_timestamps(path: Path, frames: int = 64) -> bool:
    """Whether the time stamps of a picture are those of decoding, as far as its first frames tell: its packets can't be copied."""
    with open_media(path) as container:
        shown = frames_in_order(container, find_video_stream(container, path))
        return any(stamp != frame.pts for (stamp, frame, _), _ in zip(shown, range(frames)))


def decode_packets(packets: Iterable[av.Packet]) -> Iterator[tuple[av.Packet, list | None]]:
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
    if not decodable and (error or count >= MIN_PACKETS):
        raise error or av.error.InvalidDataError(0, "nothing of it can be decoded")


def seek(container, stream, start: float, zero: float) -> int:
    """Go to the key frame before `start` seconds, which is returned in the stream's own units."""
    wanted = int((start + zero) / stream.time_base)
    container.seek(wanted, stream=stream, backward=True)
    return wanted


def _frames_from_clean_start(container, stream, start: float, zero: float) -> Iterator[DecodedFrame]:
    """Frames from one at or before `start` seconds that needs none before it; where there is none such, from the first."""
    wanted = int((start + zero) / stream.time_base)
    for back in SEEK_BACK_SECONDS if start > 0 else ():
        if back and back >= start:
            break
        seek(container, stream, start - back, zero)
        shown = frames_in_order(container, stream)
        first = _find_first_clean(shown, wanted)
        if first is not None:
            yield first
            yield from shown
            return
    if start > 0:
        container.seek(0, backward=True)
    yield from frames_in_order(container, stream)


def _find_first_clean(shown: Iterator[DecodedFrame], wanted: int) -> DecodedFrame | None:
    """The first key frame, where it is not later than wanted: some containers have no index and land too late."""
    with suppress(av.error.FFmpegError):  # nothing from there on can be decoded
        for first in shown:
            if first[0] > wanted or first[1].key_frame:
                return first if first[0] <= wanted else None
    return None


def frames_in_order(container, stream) -> Iterator[DecodedFrame]:
    """Frames from where the container is, in order of presentation."""
    order, damaged = _PresentationOrder(container, stream), None
    for packet, frames in decode_packets(order.packets()):
        if frames is None:
            damaged = True
            order.lost(packet)
            continue
        if damaged is None and packet.is_keyframe and packet.is_discard:
            damaged = False  # what comes next needs it, and an edit list hides it
        for frame in frames:
            if frame.pts is None:
                continue
            if frame.is_corrupt or (damaged is None and not frame.key_frame and frame.pict_type in PREDICTED):
                damaged = True
            elif damaged is None or frame.key_frame:
                damaged = False
            yield order.stamp_of(frame), frame, damaged


class _PresentationOrder:
    """Time stamps of presentation, also where a file has only those of decoding.

    Frames come from a decoder in the order in which they are shown, so each has the earliest stamp of those that wait. As
    soon as the stamps of packets go back they are known to be those of presentation, and each frame has its own.
    """

    def __init__(self, container, stream):
        self._container, self._stream = container, stream
        self._in_doubt = stream.codec_context.name in REORDERING_CODECS
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
                    few = len(index) <= MAX_REORDER or index[MAX_REORDER].timestamp >= 0
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
