"""Any footage to the corpus's form: 30 fps, upright, square pixels, still panels cropped, sound exactly in step."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
import soxr

from dataset_tools.clips.frame_cache import FrameCache
from dataset_tools.clips.open_video import OpenVideo, Timed
from dataset_tools.clips.panels import moving_rectangle
from dataset_tools.clips.scene_cuts import CutFinder
from dataset_tools.lib.core.atomic import write_aside
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames
from dataset_tools.lib.parallel.prefetch import Prefetcher, prefetch
from dataset_tools.lib.video.upright import Crop, Upright, even_size, planes_of
from dataset_tools.lib.video.video_io import nearest_frames, nearest_time, read_audio, timed_frames, write_clip

SAMPLED = 24  # frames in which the panels are looked for
SAMPLED_SECONDS = 20.0  # of the clip's beginning, over which they are spread
LEAST_DRIFT = 0.0005  # differences below this between the lengths of sound and picture are codecs' padding
MEMORY = 600 << 20  # bytes of decoded frames: 14 s of 720p
PICTURES_AHEAD = 8  # of the encoder: evens out what a picture takes to be made
BEYOND = 1.0  # seconds by which a span may end after the last packet's before anything is decoded
SILENCE = 10 ** (-60 / 20)  # peak below which there is nothing to hear: -60 dB of full scale


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """What `normalise_video` wrote."""

    frames: int
    width: int
    height: int
    crop: Crop
    """Part of the upright source picture that was kept, in its pixels."""
    source_width: int
    """Upright source picture, in its pixels."""
    source_height: int
    source_fps: float
    audio_peak: float | None
    """Largest absolute sample, 1 is full scale; None where the source has no sound."""
    sound_drift: float | None
    """Length of the source's sound over that of its picture, minus 1; None where unknown."""
    cuts: tuple[float, ...]
    """Seconds into the output at which another scene begins."""
    sound_lost: float
    """Seconds of the sound that are silent, for they could not be decoded or never came."""
    damaged: int
    """Frames that were decoded with errors, or after such ones before the next key frame."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A span of a video, decoded and ready to be encoded, once."""

    path: Path
    span: tuple[float, float]
    """Seconds that were asked for."""
    end: float
    """Second at which the video ends."""
    count: int
    """Frames at 30 fps."""
    pictures: list[av.VideoFrame] | Prefetcher[av.VideoFrame]
    """All that are to be written or, of a larger span, as they come from a thread of their own."""
    finder: CutFinder
    """Has seen the pictures that were made."""
    spoiled: list[bool]
    """Of each picture that was made, whether it is damaged."""
    sound: np.ndarray | None
    """(C, N) int16 from the first picture on; None without sound."""
    rate: int
    """Samples a second of the sound."""
    facts: dict
    """What of `Normalised` is known before."""

    def write(self, out: Path) -> Normalised:
        """Encode it as `out`, complete or absent. Raises UserError where the video ends before the span does."""
        with write_aside(out) as aside:
            written = write_clip(aside, self.pictures, self.sound, self.rate)
            if written < self.count:
                raise UserError(_outside(self.path, *self.span, self.end))
        cuts = tuple(round(frame / FPS, 3) for frame in self.finder.cuts())
        return Normalised(frames=written, cuts=cuts, damaged=sum(self.spoiled), **self.facts)


def normalise_video(path: Path, out: Path, **span) -> Normalised:
    """Cut a span of a video, as `cut_out` says, to an mp4 at 30 fps. Raises UserError as `cut_out` and `Cut.write` do."""
    return cut_out(OpenVideo(path), **span).write(out)


def cut_out(
    video: OpenVideo, *, start: float | None = None, end: float | None = None, max_height: int = 720, crop: bool = True,
    sound: bool = True, need_audio: bool = False, stretch_audio: float = 0.0, memory: int = MEMORY,
) -> Cut:  # fmt: skip
    """Decode `start` to `end` seconds (None: from the beginning, to the end) of a video, to be written.

    Frame k shows what the source shows nearest to start + k / 30 s. `start` moves to the nearest source frame, by at
    most half of one, so that picture and sound keep in step. Where the picture begins later than the sound, its first
    frame stands still until then. The sound is lossless at the source's own rate, exactly frames / 30 s long; one whose
    whole length differs from the picture's by up to the fraction `stretch_audio` is taken to run by another clock and
    is resampled to the picture's; with `sound` off it is left out, and not read. Pictures higher than `max_height` pixels are scaled down. A span that fits into `memory`
    bytes is decoded here; of a longer one the beginning, for its panels, and the rest, or where that did not fit all of it
    again, while it is written.

    Raises UserError: file missing, unreadable, without frames, a span of no whole frame, a span outside the video or in
    which one picture stands still for more than a minute; pictures that change their shape; with `need_audio` also where
    there is no sound or it is silent.
    """
    path, info = video.path, video.info
    if need_audio and not info.has_audio:
        why = "FFmpeg does not know how the video's sound is coded" if info.unknown_audio else "the video has no sound"
        raise UserError(f"{path.name}: {why}; a clip needs its music")
    asked, last = start or 0.0, video.course.end if end is None else end
    if last > video.course.end + BEYOND:
        raise UserError(_outside(path, asked, last, video.course.end))
    count = seconds_to_frames(last - asked)
    if count < 1:
        raise UserError(f"{path.name}: {asked:g} to {last:g} s holds no whole frame at {FPS} fps")
    gap = next(((a, b) for a, b in video.course.gaps if a < last and b > asked), None)
    if gap:
        raise UserError(
            f"{path.name}: one picture stands still from {gap[0]:.3f} to {gap[1]:.3f} s; cut the clip before or after that"
        )
    frames = FrameCache(video, asked, memory)
    begin = nearest_time(frames.look(), asked)
    upright = Upright(info.pixel_aspect, path.name)
    kept = _kept_part(frames, upright, begin, count, crop)
    if kept is None:
        raise UserError(_outside(path, asked, last, video.course.end))
    drift = info.sound_drift or 0.0
    drift = drift if LEAST_DRIFT < abs(drift) <= stretch_audio else 0.0
    lost: list[float] = []
    samples, rate = _sound(path, begin, count, drift, lost) if sound else (None, 0)
    peak = None if samples is None else round(float(np.abs(samples.astype(np.int32)).max()) / 32768, 5)
    if need_audio and peak < SILENCE:
        raise UserError(f"{path.name}: the sound from {asked:g} to {last:g} s is silent (peak {peak:g} of 1)")

    size, finder, spoiled = _scaled(kept, max_height), CutFinder(), []
    facts = {
        "width": size[0], "height": size[1], "crop": kept, "source_width": upright.shown[0],
        "source_height": upright.shown[1], "source_fps": info.fps, "audio_peak": peak, "sound_drift": info.sound_drift,
        "sound_lost": round(sum(lost), 3),
    }  # fmt: skip
    frames_of_clip = nearest_frames(_marked(frames.take(), video.spoiled), begin, count)
    made = _pictures(frames_of_clip, upright, kept, size, finder, spoiled)
    small = frames.held and count * size[0] * size[1] * 3 / 2 <= memory
    pictures = list(made) if small else prefetch(made, PICTURES_AHEAD)
    return Cut(
        path=path, span=(asked, last), count=count, end=video.course.end, pictures=pictures, finder=finder, spoiled=spoiled,
        sound=samples, rate=rate, facts=facts,
    )  # fmt: skip


def _marked(frames: Iterator[Timed], spoiled: set[float]) -> Iterator[tuple[float, tuple[av.VideoFrame, bool]]]:
    for time, frame in frames:
        yield time, (frame, time in spoiled)


def _pictures(frames, upright, kept, size, finder, spoiled) -> Iterator[av.VideoFrame]:
    for frame, bad in frames:
        picture = upright(frame, kept, size)
        finder.see(planes_of(picture)[0])
        spoiled.append(bad)
        yield picture


def _sound(path: Path, begin: float, count: int, drift: float, lost: list[float]) -> tuple[np.ndarray | None, int]:
    """(C, N) int16 that goes with `count` frames from `begin` on, and its rate; (None, 0) without sound.

    `drift` (0.01: the sound is 1 % longer than the picture) is taken out by resampling.
    """
    seconds = count / FPS
    found = read_audio(path, begin * (1 + drift), seconds * (1 + drift), lost)
    if found is None or drift == 0:
        return found or (None, 0)
    sound, rate = found
    even = soxr.resample(np.ascontiguousarray(sound.T), rate * (1 + drift), rate, quality="VHQ").T
    fitted = np.zeros((len(sound), round(seconds * rate)), np.int16)
    fitted[:, : even.shape[1]] = even[:, : fitted.shape[1]]
    return fitted, rate


def _kept_part(held: FrameCache, upright: Upright, begin: float, count: int, crop: bool) -> Crop | None:
    """The moving rectangle, or the whole upright picture where `crop` is off; None where the span shows no frame."""
    seconds = min(count / FPS, SAMPLED_SECONDS)
    frames = nearest_frames(held.look(), begin, SAMPLED, fps=SAMPLED / seconds)
    lumas, tints = [], np.zeros((), np.float32)
    for frame in frames if crop else islice(frames, 1):
        luma, *chroma = planes_of(upright(frame))
        lumas.append(luma.copy())
        tints = tints + np.array(chroma, np.float32)  # exact: whole numbers
    if len(lumas) > 1:
        return moving_rectangle(
            np.stack(lumas), np.moveaxis(tints / len(lumas), 0, 2).repeat(2, axis=0).repeat(2, axis=1)
        )
    return Crop(x=0, y=0, width=lumas[0].shape[1], height=lumas[0].shape[0]) if lumas else None


def _scaled(part: Crop, max_height: int) -> tuple[int, int]:
    """(width, height) of the output, even, not higher than `max_height`."""
    if part.height <= max_height:
        return part.width, part.height
    height = max_height // 2 * 2
    return even_size(part.width * height / part.height), height


def _outside(path: Path, start: float, last: float, end: float) -> str:
    first = next((time for time, _ in timed_frames(path)), 0.0)
    if last <= first:
        return f"{path.name}: the clip is {start:g} to {last:g} s, but the picture begins at {first:.3f} s"
    return f"{path.name}: the clip is {start:g} to {last:g} s, but the video ends at {end:.3f} s"
