"""Replaces the audio of a video. The packets of the picture are copied unchanged.

If the new container can't hold them, the picture is encoded again, upright, with its pixel aspect and colour tags.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange

from d2m_model.generate.given_files import CONTAINERS
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.video.decoding import frames_in_order, has_decoding_timestamps
from dataset_tools.lib.video.media import find_video_stream, open_media
from dataset_tools.lib.video.upright import Upright, orientation

BLOCK = 1024  # samples of one AAC frame
BITRATE = 128_000
LAYOUTS = {1: "mono", 2: "stereo"}
X264 = {"preset": "veryfast", "crf": "18"}


def mux(video: Path, audio: np.ndarray, out: Path, *, delay: float = 0.0, rate: int = SAMPLE_RATE) -> bool:
    """Write `out` (.mp4, .mov or .mkv) with the picture of `video` and `audio` as its only audio. audio: (N,) or (C, N), C 1 or 2,
    at `rate` samples per second.

    delay: when the audio begins, in seconds of the video's clock. The picture is copied packet by packet if the container can hold
    it, else encoded again as H.264; returns whether it was copied.
    Raises UserError for an unreadable video, one without a picture, another suffix, and an output that can't be written.
    """
    if out.suffix.lower() not in CONTAINERS:
        raise UserError(f"{out}: a video must end in {', '.join(CONTAINERS)}")
    try:
        if has_decoding_timestamps(video):  # a copy would show its pictures in the order of decoding
            raise _CannotHold
        _write(video, np.atleast_2d(audio), rate, out, delay, copy=True)
        return True
    except _CannotHold:
        _write(video, np.atleast_2d(audio), rate, out, delay, copy=False)
        return False


class _CannotHold(Exception):
    """The container cannot hold this codec, or the way in which its pictures are shown."""


def _appearance(video: Path) -> tuple:
    """How a player shows the pictures of a file: pixel aspect, rotation, colours. Empty without a picture."""
    with open_media(video) as media:
        shown = find_video_stream(media, video)
        for _, frame, _ in frames_in_order(media, shown):  # of the first picture that can be decoded
            aspect = shown.sample_aspect_ratio or 1
            return (
                aspect,
                orientation(frame),
                frame.color_primaries,
                frame.color_trc,
                frame.colorspace,
                frame.color_range == ColorRange.JPEG,
            )
        return ()


def _write(video: Path, audio: np.ndarray, rate: int, out: Path, delay: float, *, copy: bool) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    form = CONTAINERS[out.suffix.lower()]
    with open_media(video) as source, _writing(out), atomic_write(out) as aside:
        shown = find_video_stream(source, video)
        zero = Fraction(max(0, source.start_time or 0), av.time_base)
        with _opened(aside, out, format=form, container_options=options) as target:
            if copy:
                picture = _copied_stream(target, shown)
                packets = _copied(source, shown, picture, zero)
            else:
                picture, packets = _encoded(source, shown, target, zero, video.name)
            stream = target.add_stream("aac", rate=rate, layout=LAYOUTS[len(audio)], bit_rate=BITRATE)
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
            try:
                target.start_encoding()
            except (ValueError, av.error.FFmpegError) as err:
                if copy:
                    raise _CannotHold from None
                raise UserError(f"{out}: can't be written: {err}") from None
            for packet in merge(packets, _audio_packets(stream, audio, delay), key=_when):
                with _ffmpeg_writing(out):
                    target.mux(packet)
        if copy and _appearance(aside) != _appearance(video):
            raise _CannotHold


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns errors of the file system into a UserError of one line. FFmpeg's errors may concern the source, so they are passed on."""
    try:
        yield
    except OSError as err:
        if isinstance(err, av.error.FFmpegError):
            raise
        raise UserError(f"{out}: can't be written: {err.strerror or err}") from None


@contextmanager
def _ffmpeg_writing(out: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as err:
        raise UserError(f"{out}: can't be written: {err.strerror or err}") from None


@contextmanager
def _opened(aside: Path, out: Path, **options) -> Iterator[av.container.OutputContainer]:
    """`av.open` for writing, with errors that name the output."""
    with _ffmpeg_writing(out):
        target = av.open(str(aside), "w", **options)
    try:
        yield target
    except BaseException:
        with suppress(Exception):
            target.close()
        raise
    with _ffmpeg_writing(out):
        target.close()


def _when(packet: av.Packet) -> float:
    return float(packet.dts * packet.time_base)


def _copied_stream(target, shown):
    try:
        picture = target.add_stream_from_template(shown)
        picture.codec_context.sample_aspect_ratio = shown.sample_aspect_ratio or 0
        return picture
    except (ValueError, av.error.FFmpegError):
        raise _CannotHold from None


def _copied(source, shown, picture, zero: Fraction) -> Iterator[av.Packet]:
    """The packets of the picture, with times relative to where a player starts the source."""
    shift = round(zero / shown.time_base)
    for packet in _decoding_times(packet for packet in source.demux(shown) if packet.size):
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        packet.stream = picture
        yield packet


def _decoding_times(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Packets that all have decoding times. Matroska stores none, and FFmpeg can't derive those before the first reordered frame.
    Missing ones are counted back from the first known time, later ones forward from the one before."""
    waiting, last = [], None
    for packet in packets:
        step = packet.duration or 1
        if packet.dts is None:
            if last is None:
                waiting.append(packet)
                continue
            packet.dts = last + step
        for place, early in enumerate(waiting):
            early.dts = packet.dts - (len(waiting) - place) * step
            yield early
        waiting, last = [], packet.dts
        yield packet
    for place, packet in enumerate(waiting):
        packet.dts = packet.pts if packet.pts is not None else place
        yield packet


def _encoded(source, shown, target, zero: Fraction, name: str) -> tuple[av.VideoStream, Iterator[av.Packet]]:
    """A stream of the target, and its packets, encoded from the source's pictures."""
    frames = frames_in_order(source, shown)
    first = next(frames, None)
    if first is None:
        raise UserError(f"{name}: not a readable video: it has no frames")
    upright = Upright(1.0, name, high_range=True)
    sample = upright(first[1])
    aspect = Fraction(shown.sample_aspect_ratio or 1)
    picture = target.add_stream("libx264", rate=shown.average_rate or 30, options=dict(X264))
    codec = picture.codec_context
    codec.width, codec.height = sample.width, sample.height
    codec.sample_aspect_ratio = 1 / aspect if orientation(first[1])[0] else aspect
    codec.pix_fmt, codec.time_base, codec.thread_count = "yuv420p", shown.time_base, 1
    codec.flags |= av.codec.context.Flags.bitexact
    codec.colorspace, codec.color_range = sample.colorspace, sample.color_range
    codec.color_primaries, codec.color_trc = sample.color_primaries, sample.color_trc
    shift = round(zero / shown.time_base)

    def packets() -> Iterator[av.Packet]:
        newest = None
        for stamp, frame, _ in chain([first], frames):
            if newest is not None and stamp <= newest:
                continue
            newest = stamp
            plain = upright(frame, size=(codec.width, codec.height))
            plain.pts, plain.time_base, plain.pict_type = stamp - shift, shown.time_base, 0
            yield from picture.encode(plain)
        yield from picture.encode(None)

    return picture, packets()


def _audio_packets(stream, audio: np.ndarray, delay: float) -> Iterator[av.Packet]:
    rate = stream.codec_context.sample_rate
    first = round(delay * rate)
    samples = np.concatenate(
        [np.zeros((len(audio), max(0, first)), np.float32), np.asarray(audio, np.float32)[:, max(0, -first) :]], axis=1
    )
    for at in range(0, samples.shape[1], BLOCK):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, at : at + BLOCK]), format="fltp", layout=LAYOUTS[len(audio)]
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        yield from stream.encode(frame)
    yield from stream.encode(None)
