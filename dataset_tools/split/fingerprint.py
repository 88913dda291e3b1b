"""Audio fingerprints: the same recording in two clips, though cut elsewhere, coded, faster, slower, higher or lower.

A fingerprint is the sign of the change in time of the slope along frequency (Haitsma & Kalker, ISMIR 2002), here on
bands a semitone wide that start every third of a semitone, so that a change of pitch is a shift along the bands and a
change of tempo a stretch along time. Two clips are compared at every lag, and at the tempi and pitches that editors make:
a little of either, and up to 31 % of tempo, alone or with the pitch that a tape would have. What agrees a little is
compared again at tempi and pitches in between. The score is the cosine between their signs where they overlap: 1 for the
same bits, 0 for unrelated ones. Songs that share drum sounds, patterns or chords score higher than 0, but their sound does
not agree band by band and frame by frame.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import fft, signal
from threadpoolctl import threadpool_limits

from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE

HOP = 1024
"""Samples between frames: 46 ms."""
WINDOW = 4096
"""Samples of a frame: 186 ms, fine enough to tell semitones from 200 Hz up."""
LOWEST = 180.0
"""Hz of the lowest band."""
STEPS = 3
"""Bands per semitone."""
SEMITONES = 60
"""Range of the bands: 5 octaves, up to 5.8 kHz, which every codec keeps."""
REACH = 3
"""Bands of change in pitch that are tried with every change of tempo up to 6 %: a semitone, which is 6 % in frequency."""
SLOPES = np.arange(REACH + 1, 54 * STEPS, STEPS)
"""Bands at which slopes are taken: 180 Hz to 4.2 kHz; there are bands enough above for what is a third faster."""
TEMPO_STEP = 0.02
"""Between the tempi at which all clips are compared; half of it where they agree a little."""
CHANGES = (
    *((1.0, shift) for shift in range(REACH + 1)),
    *((tempo, shift) for tempo in (1.02, 1.04, 1.06) for shift in range(-REACH, REACH + 1)),
    *((1 + k / 100, shift) for k in range(8, 31, 2) for shift in (0, round(12 * STEPS * math.log2(1 + k / 100)))),
)
"""(how much faster the first clip of a pair is, how many bands higher); every pair is compared both ways round."""
FLOOR = 1e-2
"""Energy below this share of the clip's loud bands counts as silence: quiet noise then has no bits."""
DEAD = 0.3
"""Changes of the slope (in nepers of energy) that are no bit."""
LAG = 2
"""Frames over which a change is taken: 93 ms."""
PIECE = 215
"""Frames of the pieces that clips are compared in: 10 s, so that 1 % between tempi is at most a frame at their ends."""
OVERLAP = round(3.0 * SAMPLE_RATE / HOP)
"""Frames that two clips must have in common: 3 s."""
FEWEST_BITS = 0.1
"""Share of the bits that must not be silent where two clips overlap."""
LIKELY = 0.6
"""Share of the wanted score from which a pair is compared again at tempi and pitches in between."""
SAME = 0.48
"""Least score of the same recording, see benchmarks/fingerprint.py for what it costs and finds."""
AROUND = 3
"""Frames around a lag that are tried at another tempo."""
BLOCK = 64
"""Pieces that are compared with all others at once; bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two clips that sound like the same recording."""

    first: str
    second: str
    score: float
    """Cosine of the bits, SAME to 1."""
    tempo: float
    """Tempo of `first` over that of `second`."""
    semitones: float
    """How much higher `first` is."""
    seconds: float
    """How much they overlap, of the slower one's time; at most the length of a piece."""


def _bank() -> np.ndarray:
    """(bands, WINDOW / 2 + 1) float32 weights of the spectrum's bins: triangles of a semitone either side."""
    frequency = np.maximum(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE), 1.0)
    centres = np.arange(SEMITONES * STEPS)[:, None] / STEPS
    return np.maximum(0, 1 - np.abs(12 * np.log2(frequency / LOWEST) - centres)).astype(np.float32)


BANK = _bank()


@threadpool_limits.wrap(limits=1, user_api="blas")
def fingerprint(sound: np.ndarray) -> np.ndarray:
    """(N,) float mono at 22 050 Hz, any level -> (T, bands) float32 log energies, the slopes along frequency of which
    are compared. T = 0 for sound shorter than a frame, or silent."""
    if len(sound) < WINDOW or not np.any(sound):
        return np.zeros((0, len(BANK)), np.float32)
    spectrum = signal.stft(sound.astype(np.float32), nperseg=WINDOW, noverlap=WINDOW - HOP)[2]
    energy = BANK @ (np.abs(spectrum) ** 2).astype(np.float32)
    return np.log(energy / max(np.quantile(energy, 0.99), 1e-20) + FLOOR).T.astype(np.float32)


@threadpool_limits.wrap(limits=1, user_api="blas")  # its products are small: further threads only wait for each other
def same_recordings(
    prints: dict[str, np.ndarray], group_of: dict[str, str], least: float = SAME, label: str = "split: comparing"
) -> list[Match]:
    """Pairs of clips of different groups (songs) that hold the same recording, best first, one match per pair of clips.

    prints: clip id to its `fingerprint`; clips with less than 3 s are never matched. label: of the progress bar.
    """
    pieces = list(_pieces(prints))
    if len(pieces) < 2:
        return []
    ids = np.array([clip_id for clip_id, _ in pieces])
    groups = np.array([group_of[clip_id] for clip_id in ids])
    longest = max(len(values) for _, values in pieces)
    size = fft.next_fast_len(
        math.ceil(longest * (1 + CHANGES[-1][0])) - OVERLAP, real=True
    )  # lags of less in common may meet
    seconds = _Bits([_bits(values, 1.0, 0) for _, values in pieces], size)
    likely: dict[tuple[int, int], _Place] = {}
    work = [(begin, *change) for begin in range(0, len(pieces), BLOCK) for change in CHANGES]
    for begin, tempo, shift in progress(work, label, unit="block"):
        rows = slice(begin, begin + BLOCK)
        firsts = _Bits([_bits(values, tempo, shift) for _, values in pieces[rows]], size)
        apart = groups[rows, None] != groups[None, :]
        for i, j, lag, score in _alike(firsts, seconds, apart, LIKELY * least):
            if score > likely.get((begin + i, j), NOWHERE).score:
                likely[begin + i, j] = _Place(score, tempo, shift, lag)
    best: dict[tuple[str, str], Match] = {}
    for (i, j), place in likely.items():
        place = _refined(place, pieces[i][1], seconds.pieces[j])
        if place.score < least:
            continue
        turned = ids[i] > ids[j]
        match = Match(
            first=str(min(ids[i], ids[j])), second=str(max(ids[i], ids[j])), score=round(place.score, 3),
            tempo=round(1 / place.tempo if turned else place.tempo, 2),
            semitones=round((-place.shift if turned else place.shift) / STEPS, 2), seconds=round(place.seconds, 1),
        )  # fmt: skip
        key = (match.first, match.second)
        best[key] = max(best.get(key, match), match, key=lambda m: m.score)
    return sorted(best.values(), key=lambda m: (-m.score, m.first, m.second))


class _Place(NamedTuple):
    """Where two pieces agree."""

    score: float
    tempo: float
    """Of the first over that of the second."""
    shift: int
    """Bands by which the first is higher."""
    lag: int
    """Frames into the second at which the first begins, at the second's tempo."""
    seconds: float = 0.0
    """What they have in common."""


NOWHERE = _Place(-1.0, 1.0, 0, 0)


def _refined(place: _Place, first: np.ndarray, second: np.ndarray) -> _Place:
    """The best of `place` and what is around it. first: log energies (T, bands); second: bits."""
    best = NOWHERE
    for tempo in (place.tempo - TEMPO_STEP / 2, place.tempo, place.tempo + TEMPO_STEP / 2):
        for shift in (place.shift - 1, place.shift, place.shift + 1):
            bits = _bits(first, tempo, shift)
            for lag in range(place.lag - AROUND, place.lag + AROUND + 1):
                score, count = _score(bits, second, lag)
                if score > best.score:
                    best = _Place(score, tempo, shift, lag, count * HOP / SAMPLE_RATE)
    return best


def _score(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[float, int]:
    """Cosine of two pieces' bits where they overlap, and the frames of that; -1 where that is too short, or silent."""
    a, b = first[max(0, -lag) :], second[max(0, lag) :]
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    energy = math.sqrt(np.vdot(a, a) * np.vdot(b, b))
    enough = count >= OVERLAP - LAG and energy > FEWEST_BITS * a.size
    return (float(np.vdot(a, b)) / energy if enough else -1.0), count


def _pieces(prints: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Clips in pieces of at most PIECE frames, each overlapping the next by half."""
    for clip_id in sorted(prints):
        values = prints[clip_id]
        for start in range(0, max(1, len(values) - PIECE // 2), PIECE // 2):
            if len(piece := values[start : start + PIECE]) > OVERLAP:
                yield clip_id, piece


def _bits(values: np.ndarray, stretch: float, shift: int) -> np.ndarray:
    """(T, bands) log energies -> (T * stretch - LAG, rows) float32 of -1, 0, 1, as if the clip were `stretch` times as
    long and `shift` bands lower."""
    bands = SLOPES + shift
    slope = values[:, bands] - values[:, bands + STEPS]
    at = np.arange(int((len(values) - 1) * stretch) + 1) / stretch
    before = np.minimum(at.astype(int), len(values) - 2)
    part = (at - before)[:, None].astype(np.float32)
    slope = slope[before] * (1 - part) + slope[before + 1] * part
    change = slope[LAG:] - slope[:-LAG]
    return np.sign(change) * (np.abs(change) > DEAD)


class _Bits:
    """Bits of several pieces, with their spectra along time ready for correlation."""

    def __init__(self, pieces: list[np.ndarray], size: int):
        self.pieces, self.size = pieces, size
        self.lengths = np.array([len(piece) for piece in pieces], np.int32)
        padded = np.zeros((size, len(pieces), pieces[0].shape[1]), np.float32)
        for index, piece in enumerate(pieces):
            padded[: len(piece), index] = piece
        self.spectra = fft.rfft(padded, axis=0)
        """(frequencies, pieces, rows) complex64."""
        self.density = np.array([np.mean(piece**2) for piece in pieces], np.float32)


def _alike(firsts: _Bits, seconds: _Bits, apart: np.ndarray, least: float) -> Iterator[tuple[int, int, int, float]]:
    """(index of the first, of the second, lag, score) of the pieces that are `apart` and alike."""
    product = np.matmul(firsts.spectra.conj(), seconds.spectra.transpose(0, 2, 1))
    agreement = fft.irfft(product.transpose(1, 2, 0), firsts.size)  # (firsts, seconds, lags)
    lags = np.arange(firsts.size, dtype=np.int32)
    lags[lags >= seconds.lengths.max()] -= firsts.size
    overlap = np.minimum(firsts.lengths[:, None, None], seconds.lengths[:, None] - lags)
    overlap -= np.maximum(0, -lags)
    # The lag is chosen by the clips' mean density of bits, then scored by the bits where they overlap.
    np.divide(agreement, overlap, out=agreement, where=overlap >= OVERLAP - LAG)
    agreement[overlap < OVERLAP - LAG] = -1
    chosen = agreement.argmax(-1)
    density = np.sqrt(firsts.density[:, None] * seconds.density) * firsts.pieces[0].shape[1]
    likely = np.take_along_axis(agreement, chosen[..., None], -1)[..., 0] > 0.7 * least * density
    for i, j in np.argwhere(likely & apart & (density > 0)):
        lag = int(lags[chosen[i, j]])
        score, _ = _score(firsts.pieces[i], seconds.pieces[j], lag)
        if score >= least:
            yield int(i), int(j), lag, score


def joined(matches: list[Match], group_of: dict[str, str]) -> dict[str, str]:
    """Group to the first (by name) of all groups that share its recordings, directly or through others; groups that
    share nothing are left out."""
    head: dict[str, str] = {}

    def first(group: str) -> str:
        while head.get(group, group) != group:
            group = head[group]
        return group

    for match in matches:
        ends = sorted({first(group_of[match.first]), first(group_of[match.second])})
        for low, high in pairwise(ends):
            head[high] = low
    members = {group_of[clip] for match in matches for clip in (match.first, match.second)}
    return {group: first(group) for group in sorted(members)}
