"""CMT's rhythm of a video (Di et al. 2021, section 3.1): speed, visual beats and tempo from optical flow alone.

Visual beats are those of Davis and Agrawala (2018): moments at which motion in some direction stops short (an impact),
kept where they come at a nearly constant tempo.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from d2m_model.baselines.cmt.grid import fit_bars, fit_tempo
from d2m_model.baselines.cmt.tokens import TICKS, seconds
from dataset_tools.lib.core.timebase import FPS

LONG_EDGE = 96
"""px that frames are reduced to: flow of whole bodies, quickly."""
DIRECTIONS = 12
LOUD = 0.98
"""Quantile of the impacts that counts as full."""
WEAK = 0.1
"""Impacts below this are no visual beats; 1 is full."""


class Motion(NamedTuple):
    """How a video of T frames moves."""

    speed: np.ndarray
    """(T,) float64: mean length of the flow from the frame before, in long edges of the picture per frame; the first frame
    has the second's."""
    impact: np.ndarray
    """(T,) float64 0..1: what the flow of all directions loses from one frame to the next."""


class Rhythm(NamedTuple):
    """What the music of a video of S seconds is to keep to."""

    tempo: float
    """Beats per minute."""
    bars: np.ndarray
    """(M + 1,) seconds: where M bars begin, the first at or before 0, and where the last ends, at or after S."""
    speeds: np.ndarray
    """(M,) mean speed of each bar, as in `Motion`."""
    beats: dict[int, float]
    """Ticks from the first bar with a visual beat -> its strength 0..1."""


def read_motion(video: Path) -> Motion:
    """The motion of a video file, by DIS flow at 96 px. Raises UserError where it is unreadable."""
    from dataset_tools.lib.video.flow import Flow
    from dataset_tools.lib.video.video_io import timed_frames

    flow, before, found = Flow("dis"), None, []
    for _, frame in timed_frames(video):
        scale = min(1.0, LONG_EDGE / max(frame.width, frame.height))
        width, height = (max(16, round(side * scale)) for side in (frame.width, frame.height))
        gray = frame.reformat(width=width, height=height, format="gray").to_ndarray()
        if before is not None:
            found.append(directions(flow.between(before, gray)) / max(width, height))
        before = gray
    return motion_of(np.array(found).reshape(-1, DIRECTIONS))


def bar_speeds(video: Path, tempo: float) -> np.ndarray:
    """(M,) mean speed of each bar of a video file, as in `Rhythm`. tempo: as for `rhythm_of`. Raises as `read_motion`."""
    return rhythm_of(read_motion(video), tempo).speeds


def directions(flow: np.ndarray) -> np.ndarray:
    """(12,) mean flow length in px by direction, of flow (2, H, W) in px; their sum is the mean length."""
    length = np.hypot(*flow)
    turn = np.arctan2(flow[1], flow[0]) / (2 * np.pi) % 1.0
    sector = np.minimum((turn * DIRECTIONS).astype(int), DIRECTIONS - 1)
    return np.bincount(sector.ravel(), length.ravel(), DIRECTIONS) / length.size


def motion_of(flows: np.ndarray) -> Motion:
    """The motion of a video from `directions` (T - 1, 12) of the flow between its frames.

    A frame's impact is known once the frame is there: what is lost from the flow before the last to the last.
    """
    if not len(flows):
        return Motion(np.zeros(1), np.zeros(1))
    speed = flows.sum(axis=1)
    lost = np.maximum(-np.diff(flows, axis=0), 0).sum(axis=1)
    full = np.quantile(lost, LOUD) if len(lost) else 0.0
    impact = np.minimum(lost / full, 1.0) if full > 0 else np.zeros(len(lost))
    return Motion(np.concatenate([speed[:1], speed]), np.concatenate([[0.0, 0.0], impact]))


def rhythm_of(motion: Motion, tempo: float = 0.0) -> Rhythm:
    """Bars, speeds and visual beats of a motion at `tempo` beats per minute, 0: that of its impacts."""
    frames = len(motion.impact)
    times, length = np.arange(frames) / FPS, frames / FPS
    tempo = tempo or fit_tempo(times, motion.impact - motion.impact.mean())
    bars = fit_bars(times, motion.impact, tempo, length)
    inside = np.clip(np.searchsorted(bars, times, side="right") - 1, 0, len(bars) - 2)
    count = np.bincount(inside, minlength=len(bars) - 1)
    speeds = np.bincount(inside, motion.speed, len(bars) - 1) / np.maximum(count, 1)
    return Rhythm(tempo, bars, speeds, visual_beats(motion.impact, bars))


def visual_beats(impact: np.ndarray, bars: np.ndarray) -> dict[int, float]:
    """Ticks of the beats of `bars` -> strength: the strongest peak of the impacts (T,) within a tick of each, if any."""
    peaks = 1 + np.flatnonzero((impact[1:-1] >= WEAK) & (impact[1:-1] > impact[:-2]) & (impact[1:-1] >= impact[2:]))
    every = np.arange(0, TICKS * (len(bars) - 1), TICKS // 4)
    reach = (bars[1] - bars[0]) / TICKS
    beats = {}
    for tick, time in zip(every.tolist(), seconds(every, bars), strict=True):
        near = peaks[np.abs(peaks / FPS - time) <= reach]
        if len(near):
            beats[tick] = float(impact[near].max())
    return beats


def ranks(values: Sequence[float], known: np.ndarray) -> np.ndarray:
    """(n,) share 0..1 of the `known` values that are below each value; 0.5 where nothing is known."""
    known = np.sort(np.asarray(known, float))
    return np.searchsorted(known, np.asarray(values, float)) / len(known) if len(known) else np.full(len(values), 0.5)
