"""Decode the frames of a video with their timestamps, in order of presentation, starting where they can be decoded cleanly.

A file's own flags are not trusted. A frame flagged as a key frame may need earlier frames, timestamps may be those of decoding
(AVI has no others), packets may be undecodable, and decoders conceal errors. Damaged frames are reported.
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
)  # seconds before the wanted time at which decoding is tried, before the whole file is decoded
MIN_PACKETS = 3  # number of packets from which a decoder makes at least one frame
REORDERING_CODECS = {"h264", "hevc", "vvc"}  # codecs whose order of presentation FFmpeg takes from the file
PREDICTED = (PictureType.P, PictureType.B)
MAX_REORDER = (
    4  # frames between decoding and presentation; if an edit list removes more, it cuts the beginning of the video
)


DecodedFrame = tuple[int, av.VideoFrame, bool]
"""(timestamp in the stream's units, frame, whether it is damaged)"""


def timed_frames(
    path: Path, start: float = 0.0, threads: int = 0, damaged: set[float] | None = None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (time in seconds, frame) in order of presentation, starting with the frame shown at `start` or a little earlier.

    threads: decoder threads; 0 for one per core.
    damaged: receives the times of damaged frames, before they are yielded. A frame is damaged if it was decoded with errors, or
    follows such a frame before the next key frame.

    Raises UserError if the file is unreadable or none of it can be decoded.
    """
    with open_media(path) as container:
        stream = find_video_stream(container, path)
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        stream.codec_context.options = {"max_pixels": str(SIDE * SIDE)}  # a header that claims more is damaged
        unit, zero = float(stream.time_base), start_time(container)
        for stamp, frame, bad in _frames_from_clean_start(container, stream, start, zero):
            time = stamp * unit - zero
            if bad and damaged is not None:
                damaged.add(time)
            yield time, frame


def find_key_frame_time(path: Path, start: float) -> float:
    """Time, in seconds, of the key frame (by the file's flags) from which `timed_frames` starts to decode; infinite if there is none."""
    with open_media(path) as container:
        stream, zero = find_video_stream(container, path), start_time(container)
        wanted = seek(container, stream, start, zero)
        first = next(container.demux(stream))
        if first.is_keyframe and first.pts is not None and first.pts <= wanted:
            return first.pts * float(stream.time_base) - zero
        return math.inf


def has_decoding_timestamps(path: Path, frames: int = 64) -> bool:
    """Whether the timestamps of the first `frames` frames are those of decoding, so that the packets can't be copied."""
    with open_media(path) as container:
        decoded = frames_in_order(container, find_video_stream(container, path))
        return any(stamp != frame.pts for (stamp, frame, _), _ in zip(decoded, range(frames)))


def decode_packets(packets: Iterable[av.Packet]) -> Iterator[tuple[av.Packet, list | None]]:
    """Yield (packet, its decoded frames). The frames of a packet that can't be decoded are None, and decoding goes on with the next.
    Raises FFmpeg's error if no packet could be decoded."""
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
    """Seek to the key frame before `start` seconds. Returns `start` in the stream's units."""
    wanted = int((start + zero) / stream.time_base)
    container.seek(wanted, stream=stream, backward=True)
    return wanted


def _frames_from_clean_start(container, stream, start: float, zero: float) -> Iterator[DecodedFrame]:
    """Yield frames from a clean key frame at or before `start` seconds; from the first frame if there is none."""
    wanted = int((start + zero) / stream.time_base)
    for back in SEEK_BACK_SECONDS if start > 0 else ():
        if back and back >= start:
            break
        seek(container, stream, start - back, zero)
        frames = frames_in_order(container, stream)
        first = _find_first_clean(frames, wanted)
        if first is not None:
            yield first
            yield from frames
            return
    if start > 0:
        container.seek(0, backward=True)
    yield from frames_in_order(container, stream)


def _find_first_clean(frames: Iterator[DecodedFrame], wanted: int) -> DecodedFrame | None:
    """The first key frame if it is not later than `wanted`, else None: without an index, a container may seek too far."""
    with suppress(av.error.FFmpegError):  # nothing after the seek can be decoded
        for first in frames:
            if first[0] > wanted or first[1].key_frame:
                return first if first[0] <= wanted else None
    return None


def frames_in_order(container, stream) -> Iterator[DecodedFrame]:
    """Yield frames from the container's current position, in order of presentation."""
    order, damaged = _PresentationOrder(container, stream), None
    for packet, frames in decode_packets(order.packets()):
        if frames is None:
            damaged = True
            order.lost(packet)
            continue
        if damaged is None and packet.is_keyframe and packet.is_discard:
            damaged = False  # the next frames refer to this one, which an edit list hides
        for frame in frames:
            if frame.pts is None:
                continue
            if frame.is_corrupt or (damaged is None and not frame.key_frame and frame.pict_type in PREDICTED):
                damaged = True
            elif damaged is None or frame.key_frame:
                damaged = False
            yield order.timestamp_of(frame), frame, damaged


class _PresentationOrder:
    """Finds the presentation timestamps, also if a file has only those of decoding.

    A decoder returns frames in order of presentation. So as long as it is uncertain what the timestamps mean, each frame gets
    the earliest pending one. If the timestamps of packets ever decrease, they are those of presentation, and each frame
    keeps its own.
    """

    def __init__(self, container, stream):
        self._container, self._stream = container, stream
        self._uncertain = stream.codec_context.name in REORDERING_CODECS
        self._no_timestamps = self._uncertain and container.format.name == "avi"
        self._pending: list[int] = []
        self._delay = (
            0  # between decoding and presentation, in the stream's units; an edit list removed it from the timestamps
        )

    def packets(self) -> Iterator[av.Packet]:
        newest = None
        for packet in self._container.demux(self._stream):
            if self._no_timestamps:
                packet.pts = packet.dts  # FFmpeg guesses in AVI
            if self._uncertain and packet.is_keyframe and packet.pts is not None and packet.pts == packet.dts:
                index = self._stream.index_entries
                if self._stream.codec_context.has_b_frames and len(
                    index
                ):  # with timestamps of presentation, it would be shown later than it is decoded
                    few = len(index) <= MAX_REORDER or index[MAX_REORDER].timestamp >= 0
                    self._delay = max(0, -index[0].timestamp) if few else 0
            if self._uncertain and packet.pts is not None:
                if newest is not None and packet.pts < newest:
                    self._uncertain = False
                newest = packet.pts
                if packet.is_discard:  # decoded and not shown
                    yield packet
                    continue
                heappush(self._pending, packet.pts)
            yield packet

    def lost(self, packet: av.Packet) -> None:
        """Drop the timestamp of a packet that gave no frame."""
        if self._uncertain and packet.pts in self._pending:
            self._pending.remove(packet.pts)
            heapify(self._pending)

    def timestamp_of(self, frame: av.VideoFrame) -> int:
        """Presentation timestamp of the next frame."""
        if not self._uncertain or frame.interlaced_frame:  # each field may be a packet
            return frame.pts
        while frame.key_frame and self._pending and self._pending[0] < frame.pts:
            heappop(self._pending)  # lost: they would have been shown before it
        return self._delay + (heappop(self._pending) if self._pending else frame.pts)
