"""Find where a video can be cut into clips: at scene changes and at silences."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset_tools.clips.scene_cuts import SMALL_SIDE, CutFinder
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.video.video_io import nearest_frames, read_audio, timed_frames
from dataset_tools.sources.video_files import CHUNK_SECONDS

Span = tuple[float, float]
"""(start, end) in seconds of a video."""
HOP = 0.02
"""Seconds over which the power is averaged. Silences start and end on a multiple of it."""
RELATIVE_SILENCE, ABSOLUTE_SILENCE = 1e-4, 1e-6
"""Power up to which audio is silent: 40 dB below the loud moments of the video, or 60 dB below full scale."""
LOUD_QUANTILE = 0.95
"""Quantile of the power that counts as loud."""
MIN_SILENCE = 0.5
"""Shortest silence in seconds: a rest within a song is shorter."""
MIN_CLIP = 2.0
"""Shortest clip in seconds: a shorter one gives no training window."""


def find_scene_starts(path: Path, seconds: float) -> list[float]:
    """Times in seconds of the scene changes in the first `seconds` of a video, read at 30 fps as in the stage `clips`."""
    finder = CutFinder()
    for frame in nearest_frames(timed_frames(path), 0.0, int(seconds * FPS)):
        finder.add(frame.to_ndarray(format="gray", width=4 * SMALL_SIDE, height=4 * SMALL_SIDE, interpolation="AREA"))
    return [index / FPS for index in finder.cuts()]


def find_silences(path: Path, seconds: float) -> list[Span]:
    """Silences of at least `MIN_SILENCE` in the first `seconds` of a video. A video without audio is one silence."""
    powers = [np.zeros(0)]
    for start in np.arange(0.0, seconds, CHUNK_SECONDS):
        length = min(CHUNK_SECONDS, seconds - start)
        found = read_audio(path, float(start), float(length))
        powers.append(np.zeros(round(length / HOP)) if found is None else _compute_power(*found, round(length / HOP)))
    power = np.concatenate(powers)
    silent = (
        power <= max(ABSOLUTE_SILENCE, RELATIVE_SILENCE * np.quantile(power, LOUD_QUANTILE))
        if len(power)
        else np.zeros(0, bool)
    )
    edges = np.flatnonzero(np.diff(np.r_[False, silent, False])).reshape(-1, 2)
    ends = [(begin * HOP, seconds if end == len(power) else end * HOP) for begin, end in edges]
    return [(float(begin), float(end)) for begin, end in ends if end - begin >= MIN_SILENCE]


def _compute_power(audio: np.ndarray, rate: int, count: int) -> np.ndarray:
    """(count,) mean power of each `HOP` of (C, N) int16 audio; 1 is full scale."""
    power = (audio.astype(np.float32) / 32768) ** 2
    begins = np.round(np.arange(count) * HOP * rate).astype(int)
    return np.add.reduceat(power.mean(axis=0), begins[begins < power.shape[1]]) / (HOP * rate) if count else np.zeros(0)


def split_video(
    seconds: float, silent: Sequence[Span] = (), cuts: Sequence[float] = ()
) -> tuple[list[Span], list[Span]]:
    """(the spans between silences and cuts of a video of length `seconds`, the spans that are too short for a clip), in order.

    A video that is shorter than `MIN_CLIP` and has neither cuts nor silences is one span.
    """
    edges = sorted({0.0, seconds, *cuts, *(edge for span in silent for edge in span)})
    pieces = [
        (begin, end)
        for begin, end in zip(edges, edges[1:], strict=False)
        if end <= seconds and not any(first <= begin and end <= last for first, last in silent)
    ]
    kept = [piece for piece in pieces if piece[1] - piece[0] >= MIN_CLIP or piece == (0.0, seconds)]
    return kept, [piece for piece in pieces if piece not in kept]
