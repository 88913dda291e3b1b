"""CMT's rhythm of a video (Di et al. 2021, section 3.1): speed, visual beats and tempo from optical flow only.

Visual beats are those of Davis and Agrawala (2018): moments at which motion in some direction stops abruptly (an impact), kept
if they fit a nearly constant tempo.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from d2m_model.baselines.cmt.grid import fit_bars, fit_tempo
from d2m_model.baselines.cmt.tokens import TICKS, seconds
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.timebase import FPS

LONG_EDGE = 96
"""Frames are scaled to this long edge in px, so that the flow is fast to compute."""
DIRECTIONS = 12
LOUD = 0.98
"""Quantile of the impacts that counts as an impact of 1."""
WEAK = 0.1
"""Smallest impact of a visual beat."""


class Motion(NamedTuple):
    """The motion in a video of T frames."""

    speed: np.ndarray
    """(T,) float64: mean length of the optical flow from the previous frame, in long edges of the picture per frame; the first
    frame has the value of the second."""
    impact: np.ndarray
    """(T,) float64 within 0..1: decrease of the flow from one frame to the next, summed over directions."""


class Rhythm(NamedTuple):
    """The rhythm of a video of S seconds."""

    tempo: float
    """Beats per minute."""
    bars: np.ndarray
    """(M + 1,): starts of M bars in seconds, the first at or before 0, and the end of the last, at or after S."""
    speeds: np.ndarray
    """(M,): mean speed of each bar, as in `Motion`."""
    beats: dict[int, float]
    """Tick of a visual beat, counted from the first bar -> its strength within 0..1."""


def read_motion(video: Path) -> Motion:
    """The motion of a video, which may be in a pack, from DIS optical flow at 96 px. Raises UserError for an unreadable file."""
    from dataset_tools.lib.video.flow import Flow
    from dataset_tools.lib.video.video_io import timed_frames

    flow, before, found = Flow("dis"), None, []
    with local_file(video) as file:
        for _, frame in timed_frames(file):
            scale = min(1.0, LONG_EDGE / max(frame.width, frame.height))
            width, height = (max(16, round(side * scale)) for side in (frame.width, frame.height))
            gray = frame.reformat(width=width, height=height, format="gray").to_ndarray()
            if before is not None:
                found.append(directions(flow.between(before, gray)) / max(width, height))
            before = gray
    return motion_of(np.array(found).reshape(-1, DIRECTIONS))


def bar_speeds(video: Path, tempo: float) -> np.ndarray:
    """(M,): mean speed of each bar of a video file, as in `Rhythm`. tempo: as for `rhythm_of`. Raises as `read_motion`."""
    return rhythm_of(read_motion(video), tempo).speeds


def directions(flow: np.ndarray) -> np.ndarray:
    """(12,): mean length of the flow (2, H, W), in px, by direction; the sum is the mean length over all directions."""
    length = np.hypot(*flow)
    turn = np.arctan2(flow[1], flow[0]) / (2 * np.pi) % 1.0
    sector = np.minimum((turn * DIRECTIONS).astype(int), DIRECTIONS - 1)
    return np.bincount(sector.ravel(), length.ravel(), DIRECTIONS) / length.size


def motion_of(flows: np.ndarray) -> Motion:
    """The motion of a video from the `directions` (T - 1, 12) of the flow between its frames.

    The impact of a frame is the decrease from the previous flow to the flow that ends at this frame.
    """
    if not len(flows):
        return Motion(np.zeros(1), np.zeros(1))
    speed = flows.sum(axis=1)
    lost = np.maximum(-np.diff(flows, axis=0), 0).sum(axis=1)
    full = np.quantile(lost, LOUD) if len(lost) else 0.0
    impact = np.minimum(lost / full, 1.0) if full > 0 else np.zeros(len(lost))
    return Motion(np.concatenate([speed[:1], speed]), np.concatenate([[0.0, 0.0], impact]))


def rhythm_of(motion: Motion, tempo: float = 0.0) -> Rhythm:
    """Bars, speeds and visual beats of a motion at `tempo` beats per minute; 0 fits the tempo to the impacts."""
    frames = len(motion.impact)
    times, length = np.arange(frames) / FPS, frames / FPS
    tempo = tempo or fit_tempo(times, motion.impact - motion.impact.mean())
    bars = fit_bars(times, motion.impact, tempo, length)
    inside = np.clip(np.searchsorted(bars, times, side="right") - 1, 0, len(bars) - 2)
    count = np.bincount(inside, minlength=len(bars) - 1)
    speeds = np.bincount(inside, motion.speed, len(bars) - 1) / np.maximum(count, 1)
    return Rhythm(tempo, bars, speeds, visual_beats(motion.impact, bars))


def visual_beats(impact: np.ndarray, bars: np.ndarray) -> dict[int, float]:
    """Tick of each beat of `bars` with an impact -> strength: the strongest peak of the impacts (T,) within one tick."""
    peaks = 1 + np.flatnonzero((impact[1:-1] >= WEAK) & (impact[1:-1] > impact[:-2]) & (impact[1:-1] >= impact[2:]))
    every = np.arange(0, TICKS * (len(bars) - 1), TICKS // 4)
    reach = (bars[1] - bars[0]) / TICKS
    beats = {}
    for tick, time in zip(every.tolist(), seconds(every, bars), strict=True):
        near = peaks[np.abs(peaks / FPS - time) <= reach]
        if len(near):
            beats[tick] = float(impact[near].max())
    return beats


def ranks(values: Sequence[float] | np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n,): share of the `known` values that are below each value, within 0..1; 0.5 if `known` is empty."""
    known = np.sort(np.asarray(known, float))
    return np.searchsorted(known, np.asarray(values, float)) / len(known) if len(known) else np.full(len(values), 0.5)
