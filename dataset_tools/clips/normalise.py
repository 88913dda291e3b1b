"""Convert any video to the corpus's format: 30 fps, upright, square pixels, still panels cropped, audio exactly in sync."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
import soxr

from dataset_tools.clips.crop import find_moving_rectangle
from dataset_tools.clips.frame_cache import FrameCache
from dataset_tools.clips.open_video import OpenVideo, TimedFrame
from dataset_tools.clips.scene_cuts import CutFinder
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames
from dataset_tools.lib.parallel.prefetch import Prefetcher, prefetch
from dataset_tools.lib.video.upright import Crop, Upright, even_size, image_planes
from dataset_tools.lib.video.video_io import nearest_frame_time, nearest_frames, read_audio, timed_frames, write_clip

SAMPLED_FRAMES = 24  # number of frames in which panels are detected
SAMPLED_SECONDS = 20.0  # seconds at the start of the clip over which these frames are spread
MIN_DRIFT = 0.0005  # smaller differences between the durations of audio and video are padding of the codecs
MEMORY_BYTES = 600 << 20  # for decoded frames: 14 s of 720p
FRAMES_AHEAD = 8  # frames prepared before the encoder needs them
MAX_BEYOND_END = 1.0  # seconds between the last packet and the end of a span; more is refused before decoding
SILENCE = 10 ** (-60 / 20)  # a lower peak counts as silent: -60 dB of full scale


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """Properties of a clip that `normalise_video` wrote."""

    frames: int
    width: int
    height: int
    crop: Crop
    """Part of the upright source frame that was kept, in px of the source."""
    source_width: int
    """Size of the upright source frame, in px."""
    source_height: int
    source_fps: float
    audio_peak: float | None
    """Largest absolute sample, where full scale is 1; None if the source has no audio."""
    sound_drift: float | None
    """Duration of the source's audio divided by that of its video, minus 1; None if unknown."""
    cuts: tuple[float, ...]
    """Times of scene cuts, in seconds of the clip."""
    sound_lost: float
    """Seconds of audio that are silent because packets are missing or can't be decoded."""
    damaged: int
    """Number of frames that were decoded with errors, or that follow such a frame before the next key frame."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A decoded span of a video, to be encoded or read once."""

    path: Path
    span: tuple[float, float]
    """Requested start and end, in seconds."""
    end: float
    """End of the video, in seconds."""
    count: int
    """Number of frames."""
    frames: Iterable[av.VideoFrame]
    """All frames of the clip: a list or, for a large span, an iterator that a thread fills."""
    cut_finder: CutFinder
    """Has seen the frames converted so far, unless they are only read."""
    damaged: list[bool]
    """Whether each frame converted so far is damaged."""
    audio: np.ndarray | None
    """(C, N) int16 from the first frame on; None without audio."""
    rate: int
    """Audio samples per second."""
    facts: dict
    """The fields of `Normalised` that are known before encoding."""

    def write(self, out: Path) -> Normalised:
        """Encode the clip and write it to `out` atomically. Raises UserError if the video ends before the span."""
        with atomic_write(out) as temporary:
            written = write_clip(temporary, self.frames, self.audio, self.rate)
            self._check(written)
        cuts = tuple(round(frame / FPS, 3) for frame in self.cut_finder.cuts())
        return Normalised(frames=written, cuts=cuts, damaged=sum(self.damaged), **self.facts)

    def read(self) -> Iterator[np.ndarray]:
        """Yield the frames, uint8 (H, W, 3) RGB. Raises UserError if the video ends before the span."""
        read = 0
        for frame in self.frames:
            yield frame.to_ndarray(format="rgb24")
            read += 1
        self._check(read)

    def close(self) -> None:
        """Decode no more of a span that is only read."""
        if isinstance(self.frames, Prefetcher):
            self.frames.close()

    def _check(self, frames: int) -> None:
        if frames < self.count:
            raise UserError(_describe_outside(self.path, *self.span, self.end))


def normalise_video(path: Path, out: Path, **span) -> Normalised:
    """Cut a span of a video, as `cut_span` says, to an mp4 at 30 fps. Raises UserError as `cut_span` and `Cut.write` do."""
    return cut_span(OpenVideo(path), **span).write(out)


def cut_span(
    video: OpenVideo, *, start: float | None = None, end: float | None = None, max_height: int = 720, crop: bool = True,
    audio: bool = True, need_audio: bool = False, stretch_audio: float = 0.0, memory: int = MEMORY_BYTES,
    every: int | None = None, max_side: int = 0,
) -> Cut:  # fmt: skip
    """Decode a span of a video.

    start, end: in seconds; None for the beginning and the end of the video. `start` is moved to the nearest source frame, by at
    most half a frame, so that video and audio stay in sync. Frame k of the clip is the source's frame nearest to start + k / 30 s.
    If the video stream starts later than the audio, its first frame is repeated until then.
    max_height: larger frames are scaled down to this, in px.
    crop: remove still panels and bars.
    audio: False leaves the audio out. It is kept losslessly at the source's rate, exactly frames / 30 s long.
    need_audio: raise UserError for a span without audio or with silent audio.
    stretch_audio: if the durations of the whole audio and the whole video differ by up to this fraction, the audio is assumed to
    have another clock and is resampled to the video's.
    memory: in bytes. A span that fits is decoded here. Of a longer one only the beginning is decoded here, to detect panels; the
    rest (or all of it again, if the beginning did not fit) is decoded while it is written.
    every: for a span that is only read: frames 0, every, 2 every ... are kept, and all but the beginning is decoded while they are
    read. max_side: frames with a longer side are scaled down to this, in px; 0 for no further limit.

    Raises UserError for a missing or unreadable file, a file without frames, a span shorter than a frame or outside the video, a
    span in which one frame is shown for more than a minute, and frames that change their aspect ratio.
    """
    path, info = video.path, video.info
    if need_audio and not info.has_audio:
        why = "FFmpeg does not know the video's audio codec" if info.undecodable_audio else "the video has no audio"
        raise UserError(f"{path.name}: {why}; a clip needs its music")
    wanted, last = start or 0.0, video.timeline.end if end is None else end
    if last > video.timeline.end + MAX_BEYOND_END:
        raise UserError(_describe_outside(path, wanted, last, video.timeline.end))
    count = seconds_to_frames(last - wanted)
    if count < 1:
        raise UserError(f"{path.name}: {wanted:g} to {last:g} s holds no whole frame at {FPS} fps")
    gap = next(((a, b) for a, b in video.timeline.gaps if a < last and b > wanted), None)
    if gap:
        raise UserError(
            f"{path.name}: one frame is shown from {gap[0]:.3f} to {gap[1]:.3f} s; cut the clip before or after that"
        )
    sampled = math.ceil(min(count / FPS, SAMPLED_SECONDS) * info.fps) if crop else 1
    frames = FrameCache(video, wanted, memory, sampled)
    begin = nearest_frame_time(frames.peek(), wanted)
    upright = Upright(info.pixel_aspect, path.name)
    part = _find_crop(frames, upright, begin, count, crop)
    if part is None:
        raise UserError(_describe_outside(path, wanted, last, video.timeline.end))
    drift = info.sound_drift or 0.0
    drift = drift if MIN_DRIFT < abs(drift) <= stretch_audio else 0.0
    lost: list[float] = []
    samples, rate = _read_audio_span(path, begin, count, drift, lost) if audio else (None, 0)
    peak = None if samples is None else round(float(np.abs(samples.astype(np.int32)).max()) / 32768, 5)
    if need_audio and peak < SILENCE:
        raise UserError(f"{path.name}: the audio from {wanted:g} to {last:g} s is silent (peak {peak:g} of 1)")

    size, finder, damaged = _scaled_size(part, max_height, max_side), CutFinder(), []
    facts = {
        "width": size[0], "height": size[1], "crop": part, "source_width": upright.frame_size[0],
        "source_height": upright.frame_size[1], "source_fps": info.fps, "audio_peak": peak, "sound_drift": info.sound_drift,
        "sound_lost": round(sum(lost), 3),
    }  # fmt: skip
    resampled = nearest_frames(_mark_damaged(frames.take(), video.damaged_times), begin, count)
    if every:
        resampled, count = islice(resampled, 0, None, every), -(-count // every)
    converted = _convert_frames(resampled, upright, part, size, None if every else finder, damaged)
    small = not every and frames.fits and count * size[0] * size[1] * 3 / 2 <= memory
    clip_frames = list(converted) if small else prefetch(converted, FRAMES_AHEAD)
    return Cut(
        path=path, span=(wanted, last), count=count, end=video.timeline.end, frames=clip_frames, cut_finder=finder, damaged=damaged,
        audio=samples, rate=rate, facts=facts,
    )  # fmt: skip


def _mark_damaged(
    frames: Iterator[TimedFrame], damaged: set[float]
) -> Iterator[tuple[float, tuple[av.VideoFrame, bool]]]:
    for time, frame in frames:
        yield time, (frame, time in damaged)


def _convert_frames(frames, upright, part, size, finder, damaged) -> Iterator[av.VideoFrame]:
    for frame, bad in frames:
        converted = upright(frame, part, size)
        if finder:
            finder.add(image_planes(converted)[0])
        damaged.append(bad)
        yield converted


def _read_audio_span(
    path: Path, begin: float, count: int, drift: float, lost: list[float]
) -> tuple[np.ndarray | None, int]:
    """(audio (C, N) int16 for `count` frames from `begin` seconds on, its rate); (None, 0) without audio.

    drift: 0.01 means that the audio is 1 % longer than the video. It is removed by resampling.
    """
    seconds = count / FPS
    found = read_audio(path, begin * (1 + drift), seconds * (1 + drift), lost)
    if found is None or drift == 0:
        return found or (None, 0)
    audio, rate = found
    even = soxr.resample(np.ascontiguousarray(audio.T), rate * (1 + drift), rate, quality="VHQ").T
    fitted = np.zeros((len(audio), round(seconds * rate)), np.int16)
    fitted[:, : even.shape[1]] = even[:, : fitted.shape[1]]
    return fitted, rate


def _find_crop(cache: FrameCache, upright: Upright, begin: float, count: int, crop: bool) -> Crop | None:
    """The moving rectangle, or the whole upright frame if `crop` is off; None if the span has no frames."""
    seconds = min(count / FPS, SAMPLED_SECONDS)
    frames = nearest_frames(cache.peek(), begin, SAMPLED_FRAMES, fps=SAMPLED_FRAMES / seconds)
    lumas, tints = [], np.zeros((), np.float32)
    for frame in frames if crop else islice(frames, 1):
        luma, *chroma = image_planes(upright(frame))
        lumas.append(luma.copy())
        tints = tints + np.array(chroma, np.float32)  # exact, because they are whole numbers
    if len(lumas) > 1:
        return find_moving_rectangle(
            np.stack(lumas), np.moveaxis(tints / len(lumas), 0, 2).repeat(2, axis=0).repeat(2, axis=1)
        )
    return Crop(x=0, y=0, width=lumas[0].shape[1], height=lumas[0].shape[0]) if lumas else None


def _scaled_size(part: Crop, max_height: int, max_side: int = 0) -> tuple[int, int]:
    """(width, height) of the output: even, at most `max_height` high, and with sides of at most `max_side` unless that is 0."""
    width, height = part.width, part.height
    if height > max_height:
        width, height = even_size(width * (max_height // 2 * 2) / height), max_height // 2 * 2
    if max_side and max(width, height) > max_side:
        scale = max_side // 2 * 2 / max(width, height)
        width, height = even_size(width * scale), even_size(height * scale)
    return width, height


def _describe_outside(path: Path, start: float, last: float, end: float) -> str:
    first = next((time for time, _ in timed_frames(path)), 0.0)
    if last <= first:
        return f"{path.name}: the clip is {start:g} to {last:g} s, but the video stream starts at {first:.3f} s"
    return f"{path.name}: the clip is {start:g} to {last:g} s, but the video ends at {end:.3f} s"
