"""Read and write video with PyAV: frames by their timestamps, audio by its samples, clips with both in sync.

Conventions
-----------
Times are seconds of the player's clock, which is 0 where the container starts. A frame is shown from its own timestamp until
the next frame's. Resampling to a frame rate takes, for each output time, the frame with the nearest timestamp (the earlier of
two equally near ones), so that 30 fps video is taken frame by frame however its timestamps were rounded. A frame more than
half an output frame ahead is not taken, so that video never runs ahead of audio by more than that.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.video.audio_clock import MAX_JITTER, align_to_timestamps, missing_seconds
from dataset_tools.lib.video.decoding import decode_packets, seek, timed_frames
from dataset_tools.lib.video.media import MAX_STEP_BACK, VideoInfo, find_audio_streams, open_media, probe, start_time

__all__ = [
    "X264", "VideoInfo", "nearest_frame_time", "nearest_frames", "open_media", "probe", "read_rgb", "read_audio", "rgb_frames",
    "timed_frames", "write_clip",
]  # fmt: skip

AUDIO_MARGIN = 0.5  # seconds decoded before and after the wanted audio: codecs need a run-up, timestamps are averaged
EQUAL_TIMES = 1e-6  # seconds; timestamps that are closer are equal
# One thread and no macroblock tree: x264's AVX-512 code for it gives other bytes than its older code and, under load, other
# bytes from run to run.
X264 = {"preset": "veryfast", "crf": "18", "g": "30", "bf": "0", "x264-params": "threads=1:mbtree=0"}
T = TypeVar("T")


def nearest_frames(frames: Iterable[tuple[float, T]], start: float, count: int, fps: float = FPS) -> Iterator[T]:
    """Resample `timed_frames` to `fps`: for k = 0..count-1 the frame nearest to `start` + k / fps seconds, but at most 0.5 / fps
    ahead of it. Yields fewer than `count` frames only if the video ends early.

    The last frame also stands for times up to 1.5 / fps after the end of the video. The first frame stands for all times before
    the video stream starts (it may start later than the audio), unless it starts after the whole span.
    """
    k, before, step = 0, None, 0.0
    reach = 1.5 / fps
    for time, frame in frames:
        if before is None and time > start + (count - 1) / fps + reach:
            return
        change = max((before[0] + time) / 2, time - 0.5 / fps + EQUAL_TIMES) if before is not None else 0.0
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


def nearest_frame_time(frames: Iterable[tuple[float, av.VideoFrame]], start: float) -> float:
    """Time, in seconds, of the frame of `timed_frames` nearest to `start`; `start` itself if there are no frames.

    If the first frame is later than `start`: the earliest time from `start` on that is a whole number of output frames before that
    frame.
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
    """Yield every frame of a clip, uint8 (H, W, 3) RGB."""
    for _, frame in timed_frames(path):
        yield frame.to_ndarray(format="rgb24")


def read_audio(
    path: Path,
    start: float = 0.0,
    seconds: float | None = None,
    lost: list[float] | None = None,
    wanted: str = "video",
) -> tuple[np.ndarray, int] | None:
    """(audio (C, N) int16 from `start` on, C 1 or 2; samples per second, as in the file). None if no audio can be decoded.

    seconds: length; N is exactly round(seconds * rate), with silence where the file has no audio. None: to the end.
    lost: receives the length, in seconds, of each undecodable packet and of the gaps without packets, which are silent.
    wanted: as for `open_media`.

    Samples are aligned to their timestamps, see `audio_clock`. Of several audio streams the one that players play is read or,
    if nothing of it can be decoded, the next. Raises UserError for timestamps that decrease.
    """
    with open_media(path, wanted) as container:
        streams = find_audio_streams(container)
        for stream in streams:
            rate, channels = stream.codec_context.sample_rate, min(2, stream.codec_context.channels)
            length = None if seconds is None else round(seconds * rate)
            try:
                silent: list[float] = []
                after: list[float] = []
                pieces = list(_decode_pieces(container, stream, Path(path).name, start, length, silent, after))
            except av.error.FFmpegError:
                if stream is streams[-1]:
                    raise
                container.seek(0, backward=True)
                continue
            if lost is not None:
                lost += silent
                if (
                    pieces
                    and length
                    and (more := missing_seconds(pieces, rate, length, *after) - sum(silent)) > MAX_JITTER
                ):
                    lost.append(more)
            return align_to_timestamps(pieces, rate, length) if pieces else np.zeros(
                (channels, length or 0), np.int16
            ), rate
    return None


def write_clip(
    path: Path, frames: Iterable[av.VideoFrame], audio: np.ndarray | None, sample_rate: int = 0,
    *, fps: int = FPS, audio_codec: str = "flac", options: dict[str, str] = X264,
) -> int:  # fmt: skip
    """Write yuv420p frames of equal, even size and audio (C, N) int16 that starts with them. Returns the number of frames.

    The video is H.264, encoded by one thread without B-frames, so that equal input gives equal bytes and readers need not undo a
    delay. The audio is FLAC in MP4 (lossless, without priming samples, played by Chromium and Firefox) or `audio_codec`.
    """
    with av.open(
        str(path), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"}
    ) as out:
        video = stream = None
        count = fed = 0
        for frame in frames:
            if video is None:
                video = _video_encoder(out, frame, fps, options)
                stream = _audio_encoder(out, audio, sample_rate, audio_codec)
            frame.pts, frame.time_base, frame.pict_type = count, Fraction(1, fps), 0
            out.mux(video.encode(frame))
            count += 1
            if stream is not None and audio is not None:
                upto = min(audio.shape[1], round(count * sample_rate / fps))
                out.mux(_encode_audio(stream, audio[:, fed:upto], fed, sample_rate))
                fed = upto
        if video is None:
            raise UserError(f"{Path(path).name}: no frames to write")
        if stream is not None and audio is not None:
            out.mux(_encode_audio(stream, audio[:, fed:], fed, sample_rate))
            out.mux(stream.encode(None))
        out.mux(video.encode(None))
    return count


def rgb_frames(images: Iterator[np.ndarray]) -> Iterator[av.VideoFrame]:
    """Convert images, uint8 (H, W, 3) RGB, to yuv420p frames in the colours of HD video (BT.709, limited range)."""
    reformatter = VideoReformatter()
    for image in images:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        out = reformatter.reformat(frame, format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1)
        out.colorspace, out.color_range = 1, 1
        yield out


def _decode_pieces(
    container, stream, name: str, start: float, length: int | None, lost: list[float], after: list[float]
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (timestamp in samples from `start`, samples (C, n) int16 at the stream's rate) for `length` samples from `start` and a
    margin on both sides.

    lost receives the length, in seconds, of each undecodable packet; after, the timestamp of the following audio, if any. Audio
    that changes its rate, channels or format is converted to those of the header.
    """
    rate, zero = stream.codec_context.sample_rate, start_time(container)
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
        if newest is not None and stamp < newest - MAX_STEP_BACK * rate:
            raise UserError(
                f"{name}: the timestamps of its audio go back, from {newest / rate + start:.3f} to {stamp / rate + start:.3f} s; "
                "repair them with `ffmpeg -i`, or cut the file there"
            )
        newest = stamp
        if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
            resampler, taken, given = av.AudioResampler(format="s16p", layout=layout, rate=rate), 0.0, 0
        frame.pts = None
        stamp -= taken - given  # samples still in the resampler come before this frame
        taken += frame.samples * rate / frame.sample_rate
        assert resampler is not None
        for part in resampler.resample(frame):
            samples = part.to_ndarray()
            yield stamp, samples
            stamp += samples.shape[1]
            given += samples.shape[1]


def _audio_frames(container, stream, start: float, zero: float) -> Iterator[av.AudioFrame | av.Packet]:
    """Yield the decoded frames that have a timestamp, starting at or before `start` seconds, and the packets that can't be decoded."""

    def frames() -> Iterator[av.AudioFrame | av.Packet]:
        for packet, found in decode_packets(container.demux(stream)):
            yield from (part for part in ([packet] if found is None else found) if part.pts is not None)

    if start > 0:
        wanted, found, first = seek(container, stream, start, zero), frames(), None
        with suppress(av.error.FFmpegError):  # nothing after the seek can be decoded
            first = next(found, None)
        if first is not None and first.pts <= wanted:
            yield first
            yield from found
            return
        container.seek(0, backward=True)  # without an index the container may seek too far: read from the beginning
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


def _audio_encoder(out, audio: np.ndarray | None, sample_rate: int, codec: str):
    if audio is None:
        return None
    stream = out.add_stream(codec, rate=sample_rate)
    stream.codec_context.layout = "mono" if audio.shape[0] == 1 else "stereo"
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
