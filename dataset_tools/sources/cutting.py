"""Where a film may be cut into clips: at scene changes of its picture, and at silences of its sound."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset_tools.clips.scene_cuts import SIDE, CutFinder
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.video.video_io import nearest_frames, read_audio, timed_frames

Span = tuple[float, float]
"""Seconds of a film, from and to."""
HOP = 0.02
"""Seconds over which loudness is measured: a silence begins and ends on a multiple of it."""
PIECE = 60.0
"""Seconds of sound that are read at once: a film of a day does not fit in memory."""
QUIET, FAINT = 1e-4, 1e-6
"""Power below which sound is silent: 40 dB under the film's loud moments, and -60 dB of full scale."""
LOUD = 0.95
"""Share of the moments that are softer than the loud ones."""
PAUSE = 0.5
"""Seconds that a silence lasts at least: a rest within a song is shorter."""
LEAST = 2.0
"""Seconds of the shortest clip: a shorter one gives no training window."""


def scenes(path: Path, seconds: float) -> list[float]:
    """Seconds at which a new scene begins in the first `seconds` of a film, at 30 fps, as stage `clips` counts them."""
    finder = CutFinder()
    for frame in nearest_frames(timed_frames(path), 0.0, int(seconds * FPS)):
        finder.see(frame.to_ndarray(format="gray", width=4 * SIDE, height=4 * SIDE, interpolation="AREA"))
    return [index / FPS for index in finder.cuts()]


def silences(path: Path, seconds: float) -> list[Span]:
    """The silences in the first `seconds` of a film, each at least `PAUSE` long; all of it where it has no sound."""
    powers = [np.zeros(0)]
    for start in np.arange(0.0, seconds, PIECE):
        length = min(PIECE, seconds - start)
        found = read_audio(path, float(start), float(length))
        powers.append(np.zeros(round(length / HOP)) if found is None else _powers(*found, round(length / HOP)))
    power = np.concatenate(powers)
    silent = power <= max(FAINT, QUIET * np.quantile(power, LOUD)) if len(power) else np.zeros(0, bool)
    edges = np.flatnonzero(np.diff(np.r_[False, silent, False])).reshape(-1, 2)
    ends = [(begin * HOP, seconds if end == len(power) else end * HOP) for begin, end in edges]
    return [(float(begin), float(end)) for begin, end in ends if end - begin >= PAUSE]


def _powers(sound: np.ndarray, rate: int, count: int) -> np.ndarray:
    """(count,) mean power, 1 is full scale, of each `HOP` of (C, N) int16."""
    power = (sound.astype(np.float32) / 32768) ** 2
    begins = np.round(np.arange(count) * HOP * rate).astype(int)
    return np.add.reduceat(power.mean(axis=0), begins[begins < power.shape[1]]) / (HOP * rate) if count else np.zeros(0)


def spans(seconds: float, silent: Sequence[Span] = (), cuts: Sequence[float] = ()) -> tuple[list[Span], list[Span]]:
    """(the pieces of a film of so many seconds between its silences and cuts, those too short for a clip), in order.

    A film that is shorter than `LEAST` as a whole and is not cut is one piece.
    """
    edges = sorted({0.0, seconds, *cuts, *(edge for span in silent for edge in span)})
    pieces = [
        (begin, end)
        for begin, end in zip(edges, edges[1:], strict=False)
        if end <= seconds and not any(first <= begin and end <= last for first, last in silent)
    ]
    kept = [piece for piece in pieces if piece[1] - piece[0] >= LEAST or piece == (0.0, seconds)]
    return kept, [piece for piece in pieces if piece not in kept]
