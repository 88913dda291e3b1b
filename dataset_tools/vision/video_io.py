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
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from dataset_tools.base.errors import UserError
from dataset_tools.base.timebase import FPS
from dataset_tools.vision.sound_clock import on_clock

AUDIO_MARGIN = 0.5  # seconds of sound decoded before and after the wanted ones: codecs need a run-up, stamps an average
# Containers that hold their own pictures and sound. Playlists (HLS, ffconcat, DASH), scripts and numbered pictures are not
# among them: FFmpeg knows them by the file's name too, and opens what they name, anywhere on the machine. A single picture is one
# frame (the *_pipe formats), which whoever wants a dance refuses.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,apng,asf,au,av1,avi,avs2,avs3,caf,cavsvideo,dirac,dsf,dts,dv,eac3,flac,flv,gif,gxf,h261,h263,"
    "h264,hevc,iff,ivf,live_flv,m4v,matroska,mjpeg,mov,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,smjpeg,sox,"
    "swf,tak,truehd,tta,vc1,voc,vvc,w64,wav,wtv,wv,yuv4mpegpipe,bmp_pipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"
)
READING = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
TIE = 1e-6  # seconds below which two time stamps are equal
# One thread, and no macroblock tree: x264's AVX-512 code for it gives other bytes than its older code, and under load
# other bytes from one run to the next.
X264 = {"preset": "veryfast", "crf": "18", "g": "30", "bf": "0", "x264-params": "threads=1:mbtree=0"}


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file says about itself."""

    width: int
    """Pixels as stored, before rotation."""
    height: int
    pixel_aspect: float
    """Width of a pixel over its height, as stored; 1 in nearly all footage."""
    fps: float
    """Average frames a second; an estimate where the rate varies."""
    seconds: float
    """Duration as the container claims it; 0 where it does not say."""
    has_sound: bool
    sample_rate: int
    """Samples a second of the sound; 0 without sound."""
    sound_drift: float | None
    """Length of the sound over that of the picture, minus 1; None without sound or where the file does not say."""


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file for reading, and no other file that it may name. What FFmpeg cannot read, here or inside the block, becomes a
    UserError of one line."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: file not found")
    try:
        with av.open(f"file:{path}", metadata_errors="replace", options=READING) as container:
            yield container
    except av.error.ArgumentError:
        raise UserError(f"{path.name}: not a readable video: a playlist or a script, which leads to other files") from None
    except (av.error.FFmpegError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise UserError(f"{path.name}: not a readable video: {reason}") from None


def probe(path: Path) -> VideoInfo:
    """Read a file's header. Raises UserError where it is unreadable or has no video stream."""
    with open_media(path) as container:
        video = _video_stream(container, path)
        sound = container.streams.audio
        return VideoInfo(
            width=video.codec_context.width,
            height=video.codec_context.height,
            pixel_aspect=float(video.sample_aspect_ratio or 1),
            fps=round(float(video.average_rate or video.guessed_rate or 0), 3),
            seconds=round(float(container.duration / av.time_base if container.duration else 0), 3),
            has_sound=bool(sound),
            sample_rate=sound[0].codec_context.sample_rate if sound else 0,
            sound_drift=_drift(video, sound[0]) if sound else None,
        )


def video_end(path: Path) -> float:
    """Second at which the last frame stops being shown, from every packet's time stamp (no decoding)."""
    with open_media(path) as container:
        stream = _video_stream(container, path)
        ends = [p.pts + (p.duration or 0) for p in container.demux(stream) if p.pts is not None]
        if not ends:
            raise UserError(f"{Path(path).name}: not a readable video: it holds no frames")
        return max(ends) * float(stream.time_base) - _zero(container)


def timed_frames(path: Path, start: float = 0.0, threads: int = 0) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time in seconds, frame) in order of presentation, from the last frame shown at `start` or a little before, decoded
    by `threads` threads (0: as many as there are cores)."""
    with open_media(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        zero = _zero(container)
        for frame in _decoded_from(container, stream, start, zero):
            yield frame.pts * float(stream.time_base) - zero, frame


def key_time(path: Path, start: float) -> float:
    """Time stamp, in seconds, of the key frame from which `timed_frames` decodes; infinite where it does from none."""
    with open_media(path) as container:
        stream, zero = _video_stream(container, path), _zero(container)
        wanted = _seek(container, stream, start, zero)
        first = next(container.demux(stream))
        if first.is_keyframe and first.pts is not None and first.pts <= wanted:
            return first.pts * float(stream.time_base) - zero
        return math.inf


def nearest_frames(
    frames: Iterable[tuple[float, av.VideoFrame]], start: float, count: int, fps: float = FPS
) -> Iterator[av.VideoFrame]:
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


def read_sound(path: Path, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int] | None:
    """Sound from `start`, at the file's own rate: (C, N) int16 with C 1 or 2, and samples a second; None without sound.

    N is exactly round(seconds * rate): silence stands where the file has no sound. With `seconds` None, to the end.
    Every sample is where the time stamps of its packets put it, see `sound_clock`.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        channels = min(2, stream.codec_context.channels)
        resampler = av.AudioResampler(format="s16p", layout="mono" if channels == 1 else "stereo", rate=rate)
        zero = _zero(container)
        length = None if seconds is None else round(seconds * rate)
        upto = float("inf") if length is None else length + AUDIO_MARGIN * rate
        pieces: list[tuple[float, np.ndarray]] = []
        for frame in _decoded_from(container, stream, start - AUDIO_MARGIN, zero):
            stamp = (frame.pts * float(stream.time_base) - zero - start) * rate
            if stamp >= upto:
                break
            frame.pts = None
            for part in resampler.resample(frame):
                pieces.append((stamp, part.to_ndarray()))
                stamp += pieces[-1][1].shape[1]
    return on_clock(pieces, rate, length) if pieces else np.zeros((channels, length or 0), np.int16), rate


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
            if audio is not None:
                upto = min(sound.shape[1], round(count * sample_rate / fps))
                out.mux(_encode_sound(audio, sound[:, fed:upto], fed, sample_rate))
                fed = upto
        if video is None:
            raise UserError(f"{Path(path).name}: no frames to write")
        if audio is not None:
            out.mux(_encode_sound(audio, sound[:, fed:], fed, sample_rate))
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


def _decoded_from(container, stream, start: float, zero: float) -> Iterator:
    """Decoded frames that have a time stamp, from a key frame at or before `start` seconds."""
    frames = (frame for frame in container.decode(stream) if frame.pts is not None)
    if start <= 0:
        yield from frames
        return
    wanted = _seek(container, stream, start, zero)
    first = next(frames, None)
    if first is None or first.pts > wanted:  # some containers have no index and land too late: read from the beginning
        container.seek(0, backward=True)
        yield from (frame for frame in container.decode(stream) if frame.pts is not None)
        return
    yield first
    yield from frames


def _seek(container, stream, start: float, zero: float) -> int:
    """Go to the key frame before `start` seconds, which is returned in the stream's own units."""
    wanted = int((start + zero) / stream.time_base)
    container.seek(wanted, stream=stream, backward=True)
    return wanted


def _zero(container) -> float:
    """Time stamp, in seconds, at which a player's clock says 0. Sound codecs' run-up before 0 does not count."""
    return max(0.0, (container.start_time or 0) / av.time_base)


def _drift(video, sound) -> float | None:
    if not (video.duration and sound.duration):
        return None
    return round(float(sound.duration * sound.time_base / (video.duration * video.time_base)) - 1, 5)


def _video_stream(container, path: Path):
    if not container.streams.video:
        raise UserError(f"{Path(path).name}: not a readable video: it has no video stream")
    return container.streams.video[0]


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


def _encode_sound(stream, samples: np.ndarray, at: int, rate: int) -> list:
    if samples.shape[1] == 0:
        return []
    interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=stream.codec_context.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return stream.encode(frame)
