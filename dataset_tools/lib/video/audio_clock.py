"""Align audio to its timestamps: gaps, overlaps, and a clock that drifts relative to the video.

If a recorder loses samples, or its sound card runs faster than its camera, only the timestamps of the audio packets show it.
Counting samples from the first packet would let audio and video drift apart. A sudden difference is a gap or an overlap: the
audio is placed at its timestamp, with silence in the gap. A gradual difference is drift: the audio is resampled. Rounding and
jitter of single timestamps are ignored.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import soxr

MAX_JITTER = 0.02  # seconds between the expected and the actual start of a packet; more is a gap
AVERAGING_SECONDS = 0.5  # length of the line fits that smooth the timestamps
MAX_DEVIATION = 0.002  # seconds; if smoothed timestamps deviate less, the samples stay as they are
OVERSAMPLING = 2  # at this multiple of the rate, cubic interpolation is exact to 16 bits


def align_to_timestamps(pieces: Sequence[tuple[float, np.ndarray]], rate: int, length: int | None = None) -> np.ndarray:
    """Audio (C, length) int16 from decoded pieces, with silence in the gaps.

    pieces: at least one (timestamp, samples (C, n) int16), in order of decoding. Timestamps are in output samples and may be
    fractional or negative.
    length: in samples; None for up to the end of the last piece.
    """
    placed = [part for run in _split_runs(pieces, rate) for part in _place_run(run, rate)]
    if length is None:
        length = max(0, *(at + samples.shape[1] for at, samples in placed))
    audio = np.zeros((pieces[0][1].shape[0], length), np.int16)
    for at, samples in placed:
        first, last = max(0, at), min(length, at + samples.shape[1])
        if last > first:
            audio[:, first:last] = samples[:, first - at : last - at]
    return audio


def missing_seconds(
    pieces: Sequence[tuple[float, np.ndarray]], rate: int, length: int, after: float | None = None
) -> float:
    """Total length, in seconds, of the gaps between the pieces (as for `align_to_timestamps`) within samples 0 to `length`. Gaps up to
    `MAX_JITTER` do not count.

    after: timestamp of the audio that follows the pieces, if any.
    """
    runs = list(_split_runs(pieces, rate))
    ends = accumulate(
        (run[-1][0] + run[-1][1].shape[1] for run in runs), max
    )  # a stray piece does not move the end back
    begins = [run[0][0] for run in runs[1:]] + ([] if after is None else [after])
    gaps = [min(begin, length) - max(end, 0) for end, begin in zip(ends, begins, strict=False)]
    return sum(gap / rate for gap in gaps if gap > MAX_JITTER * rate)


def _split_runs(pieces: Sequence[tuple[float, np.ndarray]], rate: int) -> Iterator[list[tuple[float, np.ndarray]]]:
    """Split the pieces into runs without gaps or overlaps."""
    run, expected = [], 0.0
    for stamp, samples in pieces:
        if run and abs(stamp - expected) > MAX_JITTER * rate:
            yield run
            run = []
        run.append((stamp, samples))
        expected = stamp + samples.shape[1]
    yield run


def _place_run(run: list[tuple[float, np.ndarray]], rate: int) -> Iterator[tuple[int, np.ndarray]]:
    """(index of the first sample, samples (C, n) int16) of a run, resampled if its timestamps deviate from the count of its samples."""
    sizes = np.array([samples.shape[1] for _, samples in run])
    counts = np.r_[0, np.cumsum(sizes)]
    offset = _smooth(np.array([stamp for stamp, _ in run]) - counts[:-1], rate / sizes.mean())
    audio = np.concatenate([samples for _, samples in run], axis=1)
    if np.ptp(offset) <= MAX_DEVIATION * rate:
        yield round(float(np.median(offset))), audio
        return
    from scipy.ndimage import map_coordinates

    times = np.maximum.accumulate(counts + np.r_[offset, offset[-1]])
    first, last = int(np.ceil(times[0])), int(np.floor(times[-1]))
    positions = np.interp(np.arange(first, last), times, counts)
    fine = soxr.resample(np.ascontiguousarray(audio.T, np.float32), rate, OVERSAMPLING * rate, quality="VHQ").T
    moved = [
        map_coordinates(channel, [positions * OVERSAMPLING], order=3, mode="nearest") for channel in np.atleast_2d(fine)
    ]
    yield first, np.clip(np.rint(moved), -32768, 32767).astype(np.int16)


def _smooth(offset: np.ndarray, pieces_a_second: float) -> np.ndarray:
    """Offset of each timestamp from the count of samples, smoothed against jitter."""
    window = min(len(offset), int(AVERAGING_SECONDS * pieces_a_second)) // 2 * 2 - 1
    if window < 3:
        return offset
    from scipy.signal import savgol_filter  # imported here: it takes a second, and few files need it

    return savgol_filter(offset, window, 1)
