"""Sound at the instants that its time stamps say: gaps, overlaps and a clock that drifts against the picture's.

A recorder that loses samples, or whose sound card runs faster than its camera, shows it in the time stamps of the sound's
packets alone: counting samples from the first one would leave picture and sound ever further apart. What is sudden is a
gap or an overlap and is placed as stamped, with silence between; what is gradual is followed by resampling; what is only
the rounding or the jitter of single stamps is ignored.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import soxr

SUDDEN = 0.02  # seconds between where a packet should begin and where it does: more is a gap, not jitter
SPAN = 0.5  # seconds over which stamps are averaged, by a straight line: they may be rounded to ms, or jitter
STEADY = 0.002  # seconds by which averaged stamps may leave the sample count: up to there samples stay as they are
FINER = 2  # times the rate, at which the cubic interpolation between samples is exact to the 16 bits


def on_clock(pieces: Sequence[tuple[float, np.ndarray]], rate: int, length: int | None = None) -> np.ndarray:
    """(C, length) int16 of decoded pieces (stamp, (C, n) int16) in their order, at least one; stamps count samples of the
    output and may be fractions or negative. Silence where there is none. `length` None: to the end of the last."""
    placed = [part for run in _runs(pieces, rate) for part in _placed(run, rate)]
    if length is None:
        length = max(0, *(at + samples.shape[1] for at, samples in placed))
    sound = np.zeros((pieces[0][1].shape[0], length), np.int16)
    for at, samples in placed:
        first, last = max(0, at), min(length, at + samples.shape[1])
        if last > first:
            sound[:, first:last] = samples[:, first - at : last - at]
    return sound


def missing(pieces: Sequence[tuple[float, np.ndarray]], rate: int, length: int, after: float | None = None) -> float:
    """Seconds between the pieces, as for `on_clock`, for which no sound came: in 0 to `length` samples, gaps over SUDDEN alone.
    after: stamp of the sound that follows the pieces, where any does."""
    runs = list(_runs(pieces, rate))
    ends = accumulate(
        (run[-1][0] + run[-1][1].shape[1] for run in runs), max
    )  # a stray piece ends no sooner than those before it
    begins = [run[0][0] for run in runs[1:]] + ([] if after is None else [after])
    gaps = [min(begin, length) - max(end, 0) for end, begin in zip(ends, begins, strict=False)]
    return sum(gap / rate for gap in gaps if gap > SUDDEN * rate)


def _runs(pieces: Sequence[tuple[float, np.ndarray]], rate: int) -> Iterator[list[tuple[float, np.ndarray]]]:
    """The pieces in runs without a gap or an overlap."""
    run, expected = [], 0.0
    for stamp, samples in pieces:
        if run and abs(stamp - expected) > SUDDEN * rate:
            yield run
            run = []
        run.append((stamp, samples))
        expected = stamp + samples.shape[1]
    yield run


def _placed(run: list[tuple[float, np.ndarray]], rate: int) -> Iterator[tuple[int, np.ndarray]]:
    """(index of the first sample, (C, n) int16) of a run, resampled where its stamps leave the count of its samples."""
    sizes = np.array([samples.shape[1] for _, samples in run])
    counts = np.r_[0, np.cumsum(sizes)]
    ahead = _averaged(np.array([stamp for stamp, _ in run]) - counts[:-1], rate / sizes.mean())
    sound = np.concatenate([samples for _, samples in run], axis=1)
    if np.ptp(ahead) <= STEADY * rate:
        yield round(float(np.median(ahead))), sound
        return
    from scipy.ndimage import map_coordinates

    times = np.maximum.accumulate(counts + np.r_[ahead, ahead[-1]])
    first, last = int(np.ceil(times[0])), int(np.floor(times[-1]))
    positions = np.interp(np.arange(first, last), times, counts)
    fine = soxr.resample(np.ascontiguousarray(sound.T, np.float32), rate, FINER * rate, quality="VHQ").T
    moved = [map_coordinates(channel, [positions * FINER], order=3, mode="nearest") for channel in np.atleast_2d(fine)]
    yield first, np.clip(np.rint(moved), -32768, 32767).astype(np.int16)


def _averaged(ahead: np.ndarray, pieces_a_second: float) -> np.ndarray:
    """How far each stamp is ahead of the count of samples, without the jitter of single stamps."""
    window = min(len(ahead), int(SPAN * pieces_a_second)) // 2 * 2 - 1
    if window < 3:
        return ahead
    from scipy.signal import savgol_filter  # a second of imports, which most files' sound spares

    return savgol_filter(ahead, window, 1)
