"""Reading and writing video with PyAV: frames by their time stamps, sound by its samples, clips with both in step.

Conventions
-----------
Time is seconds of the player's clock: 0 is where the container starts. A frame is shown from its own time stamp until
the next one's. Reading at a rate takes, for each instant, the frame whose time stamp is nearest (the earlier of two
equally near), so 30 fps footage is taken frame for frame however its time stamps were rounded; but none whose time stamp
is more than half an output frame ahead, so that nothing is seen sooner than that before it is heard.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.video.audio_clock import SUDDEN, missing, on_clock
from dataset_tools.lib.video.decoding import seek, timed_frames, tolerant
from dataset_tools.lib.video.media import BACK, VideoInfo, audio_streams, open_media, probe, zero_of

__all__ = [
    "X264", "VideoInfo", "nearest_frames", "nearest_time", "open_media", "probe", "read_rgb", "read_audio", "rgb_frames",
    "timed_frames", "write_clip",
]  # fmt: skip

AUDIO_MARGIN = 0.5  # seconds of sound decoded before and after the wanted ones: codecs need a run-up, stamps an average
TIE = 1e-6  # seconds below which two time stamps are equal
# One thread, and no macroblock tree: x264's AVX-512 code for it gives other bytes than its older code, and under load
# other bytes from one run to the next.
X264 = {"preset": "veryfast", "crf": "18", "g": "30", "bf": "0", "x264-params": "threads=1:mbtree=0"}
T = TypeVar("T")


def nearest_frames(frames: Iterable[tuple[float, T]], start: float, count: int, fps: float = FPS) -> Iterator[T]:
    """For k = 0..count-1 the one of `timed_frames` nearest to `start` + k / fps seconds, but at most half of 1 / fps ahead
    of it; fewer frames only where the video ends before that.

    The last frame stands in for instants up to one and a half output frames after the video, the first for all before
    the picture begins (which may be later than the sound), unless it begins after the whole span.
    """
    k, before, step = 0, None, 0.0
    reach = 1.5 / fps
    for time, frame in frames:
        if before is None and time > start + (count - 1) / fps + reach:
            return
        change = max((before[0] + time) / 2, time - 0.5 / fps + TIE) if before is not None else 0.0
        while k < count and before is not None and start + k / fps <= change:
            yield before[1]
            k += 1
        if k == count:
            return
        step = time - before[0] if before is not None else 0.0
        before = (time, frame)
    while k < count and before is not None and start + k / fps < before[0] + step + reach:
        yield before[1]
        k += 1


def nearest_time(frames: Iterable[tuple[float, av.VideoFrame]], start: float) -> float:
    """Time stamp, in seconds, of that of `timed_frames` nearest to `start`; `start` itself where there is no frame.

    Where the picture begins after `start`: the first instant from `start` on that is whole output frames before it.
    """
    before = None
    for time, _ in frames:
        if before is None and time > start:
            return time - int((time - start) * FPS + 1e-6) / FPS
        if time >= start:
            return time if before is None or time - start < start - before else before
        before = time
    return start


def read_rgb(path: Path) -> Iterator[np.ndarray]:
    """Every frame of a clip as (H, W, 3) uint8 RGB."""
    for _, frame in timed_frames(path):
        yield frame.to_ndarray(format="rgb24")


def read_audio(
    path: Path, start: float = 0.0, seconds: float | None = None, lost: list[float] | None = None
) -> tuple[np.ndarray, int] | None:
    """Sound from `start`, at the file's own rate: (C, N) int16 with C 1 or 2, and samples a second; None without a sound that
    can be decoded.

    N is exactly round(seconds * rate): silence stands where the file has no sound. With `seconds` None, to the end.
    Every sample is where the time stamps of its packets put it, see `audio_clock`. Of several sounds it is the one that
    players play or, where nothing of that can be decoded, the next. The seconds of each packet in it that can't be decoded, and those
    of gaps in which no packet came, are silent and added to `lost`. Raises UserError where time stamps go back.
    """
    with open_media(path) as container:
        sounds = audio_streams(container)
        for stream in sounds:
            rate, channels = stream.codec_context.sample_rate, min(2, stream.codec_context.channels)
            length = None if seconds is None else round(seconds * rate)
            try:
                silent: list[float] = []
                after: list[float] = []
                pieces = list(_pieces(container, stream, Path(path).name, start, length, silent, after))
            except av.error.FFmpegError:
                if stream is sounds[-1]:
                    raise
                container.seek(0, backward=True)
                continue
            if lost is not None:
                lost += silent
                if pieces and length and (more := missing(pieces, rate, length, *after) - sum(silent)) > SUDDEN:
                    lost.append(more)
            return on_clock(pieces, rate, length) if pieces else np.zeros((channels, length or 0), np.int16), rate
    return None


def write_clip(
    path: Path, frames: Iterator[av.VideoFrame] | Sequence[av.VideoFrame], sound: np.ndarray | None, sample_rate: int = 0,
    *, fps: int = FPS, audio_codec: str = "flac", options: dict[str, str] = X264,
) -> int:  # fmt: skip
    """Write yuv420p frames of one even size and (C, N) int16 sound that starts with them; return the number of frames.

    H.264 by one thread without B-frames, so that equal input gives equal bytes and no reader has to undo a delay;
    sound as FLAC in MP4 (lossless and without priming; Chromium and Firefox play it) unless another codec is named.
    """
    with av.open(
        str(path), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"}
    ) as out:
        video = audio = None
        count = fed = 0
        for frame in frames:
            if video is None:
                video = _video_encoder(out, frame, fps, options)
                audio = _audio_encoder(out, sound, sample_rate, audio_codec)
            frame.pts, frame.time_base, frame.pict_type = count, Fraction(1, fps), 0
            out.mux(video.encode(frame))
            count += 1
            if audio is not None and sound is not None:
                upto = min(sound.shape[1], round(count * sample_rate / fps))
                out.mux(_encode_audio(audio, sound[:, fed:upto], fed, sample_rate))
                fed = upto
        if video is None:
            raise UserError(f"{Path(path).name}: no frames to write")
        if audio is not None and sound is not None:
            out.mux(_encode_audio(audio, sound[:, fed:], fed, sample_rate))
            out.mux(audio.encode(None))
        out.mux(video.encode(None))
    return count


def rgb_frames(images: Iterator[np.ndarray]) -> Iterator[av.VideoFrame]:
    """(H, W, 3) uint8 RGB pictures as yuv420p frames in the BT.709 colours of HD video, limited range."""
    reformatter = VideoReformatter()
    for image in images:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        out = reformatter.reformat(frame, format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1)
        out.colorspace, out.color_range = 1, 1
        yield out


def _pieces(
    container, stream, name: str, start: float, length: int | None, lost: list[float], after: list[float]
) -> Iterator[tuple[float, np.ndarray]]:
    """(stamp in samples from `start` on, (C, n) int16 at the stream's rate) of all that `length` samples and what is beside
    them need; the seconds of packets among them that can't be decoded go to `lost`, the stamp of the sound that follows, if any, to
    `after`. Where the sound changes its rate, channels or format midway, it is brought to those of the header."""
    rate, zero = stream.codec_context.sample_rate, zero_of(container)
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    form, resampler, taken, given, newest = None, None, 0.0, 0, None
    for frame in _audio_frames(container, stream, start - AUDIO_MARGIN, zero):
        stamp = (frame.pts * float(stream.time_base) - zero - start) * rate
        if isinstance(frame, av.Packet):
            if 0 <= stamp < (length or math.inf):
                lost.append(float((frame.duration or 0) * stream.time_base))
            continue
        if length is not None and stamp >= length + AUDIO_MARGIN * rate:
            after.append(stamp)
            return
        if newest is not None and stamp < newest - BACK * rate:
            raise UserError(
                f"{name}: the time stamps of its sound go back, from {newest / rate + start:.3f} to {stamp / rate + start:.3f} s; "
                "mend them with `ffmpeg -i`, or cut the file there"
            )
        newest = stamp
        if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
            resampler, taken, given = av.AudioResampler(format="s16p", layout=layout, rate=rate), 0.0, 0
        frame.pts = None
        stamp -= taken - given  # what the resampler still holds is before this frame
        taken += frame.samples * rate / frame.sample_rate
        assert resampler is not None
        for part in resampler.resample(frame):
            samples = part.to_ndarray()
            yield stamp, samples
            stamp += samples.shape[1]
            given += samples.shape[1]


def _audio_frames(container, stream, start: float, zero: float) -> Iterator[av.AudioFrame | av.Packet]:
    """Decoded frames that have a time stamp, from one at or before `start` seconds, and packets that can't be decoded."""

    def frames() -> Iterator[av.AudioFrame | av.Packet]:
        for packet, found in tolerant(container.demux(stream)):
            yield from (part for part in ([packet] if found is None else found) if part.pts is not None)

    if start > 0:
        wanted, found, first = seek(container, stream, start, zero), frames(), None
        with suppress(av.error.FFmpegError):  # nothing from there on can be decoded
            first = next(found, None)
        if first is not None and first.pts <= wanted:
            yield first
            yield from found
            return
        container.seek(0, backward=True)  # some containers have no index and land too late: read from the beginning
    yield from frames()


def _video_encoder(out, frame: av.VideoFrame, fps: int, options: dict[str, str]):
    stream = out.add_stream("libx264", rate=fps, options=dict(options))
    codec = stream.codec_context
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "yuv420p"
    codec.thread_count = 1
    codec.time_base = Fraction(1, fps)
    codec.flags |= av.codec.context.Flags.bitexact
    codec.colorspace, codec.color_range = frame.colorspace, frame.color_range
    codec.color_primaries, codec.color_trc = frame.color_primaries, frame.color_trc
    return stream


def _audio_encoder(out, sound: np.ndarray | None, sample_rate: int, codec: str):
    if sound is None:
        return None
    stream = out.add_stream(codec, rate=sample_rate)
    stream.codec_context.layout = "mono" if sound.shape[0] == 1 else "stereo"
    stream.codec_context.format = "s16" if codec == "flac" else "fltp"
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    return stream


def _encode_audio(stream, samples: np.ndarray, at: int, rate: int) -> list:
    if samples.shape[1] == 0:
        return []
    interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=stream.codec_context.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return stream.encode(frame)
