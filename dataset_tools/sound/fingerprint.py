"""Audio fingerprints: the same recording in two clips, though cut elsewhere, coded, faster, slower, higher or lower.

A fingerprint is the sign of the change in time of the slope along frequency (Haitsma & Kalker, ISMIR 2002), here on
bands a semitone wide that start every third of a semitone, so that a change of pitch is a shift along the bands and a
change of tempo a stretch along time. Two clips are compared at every lag, tempo and pitch of a grid; the score is the
cosine between their signs where they overlap: 1 for the same bits, 0 for unrelated ones. Songs that share drum sounds,
patterns or chords score higher than 0, but their sound does not agree band by band and frame by frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import fft, signal
from threadpoolctl import threadpool_limits

from dataset_tools.base.timebase import SAMPLE_RATE
from dataset_tools.base.workers import progress

HOP = 1024
"""Samples between frames: 46 ms."""
WINDOW = 4096
"""Samples of a frame: 186 ms, fine enough to tell semitones from 200 Hz up."""
LOWEST = 180.0
"""Hz of the lowest band."""
STEPS = 3
"""Bands per semitone."""
SEMITONES = 56
"""Range of the bands: 4.7 octaves, up to 4.6 kHz, which every codec keeps."""
REACH = 3
"""Bands of change in pitch that are tried: a semitone, which is 6 % in frequency."""
TEMPI = tuple(1 + k / 100 for k in range(7))
"""How much faster the second clip of a pair may be; every pair is compared both ways round."""
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
SAME = 0.48
"""Least score of the same recording, see benchmarks/fingerprint.py for what it costs and finds."""
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
    """How much they overlap, at most the length of a piece."""


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
def same_recordings(prints: dict[str, np.ndarray], group_of: dict[str, str], least: float = SAME) -> list[Match]:
    """Pairs of clips of different groups (songs) that hold the same recording, best first, one match per pair of clips.

    prints: clip id to its `fingerprint`; clips with less than 3 s are never matched.
    """
    pieces = list(_pieces(prints))
    if len(pieces) < 2:
        return []
    ids = np.array([clip_id for clip_id, _ in pieces])
    groups = np.array([group_of[clip_id] for clip_id in ids])
    longest = max(len(values) for _, values in pieces)
    size = fft.next_fast_len(2 * longest, real=True)
    seconds = _Bits([_bits(values, 1.0, 0) for _, values in pieces], size)
    best: dict[tuple[str, str], Match] = {}
    changes = [(tempo, shift) for tempo in TEMPI for shift in range(-REACH if tempo > 1 else 0, REACH + 1)]
    for tempo, shift in progress(changes, "split: comparing"):
        for begin in range(0, len(pieces), BLOCK):
            rows = slice(begin, begin + BLOCK)
            firsts = _Bits([_bits(values, 1 / tempo, shift) for _, values in pieces[rows]], size)
            apart = groups[rows, None] != groups[None, :]
            for i, j, score, overlap in _alike(firsts, seconds, apart, least):
                pair = (str(ids[begin + i]), str(ids[j]))
                turned = pair[0] > pair[1]
                match = Match(
                    first=min(pair), second=max(pair), score=round(score, 3), seconds=round(overlap, 1),
                    tempo=round(tempo if turned else 1 / tempo, 2),
                    semitones=round((-shift if turned else shift) / STEPS, 2),
                )  # fmt: skip
                key = (match.first, match.second)
                best[key] = max(best.get(key, match), match, key=lambda m: m.score)
    return sorted(best.values(), key=lambda m: (-m.score, m.first, m.second))


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
    bands = np.arange(REACH + 1, values.shape[1] - REACH - 1 - STEPS, STEPS) + shift
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


def _alike(firsts: _Bits, seconds: _Bits, apart: np.ndarray, least: float) -> Iterator[tuple[int, int, float, float]]:
    """(index of the first, of the second, score, seconds of overlap) of the pieces that are `apart` and alike."""
    product = np.matmul(firsts.spectra.conj(), seconds.spectra.transpose(0, 2, 1))
    agreement = fft.irfft(product.transpose(1, 2, 0), firsts.size)  # (firsts, seconds, lags)
    lags = np.arange(firsts.size, dtype=np.int32)
    lags[lags > firsts.size // 2] -= firsts.size
    overlap = np.minimum(firsts.lengths[:, None, None], seconds.lengths[:, None] - lags)
    overlap -= np.maximum(0, -lags)
    # The lag is chosen by the clips' mean density of bits, then scored by the bits where they overlap.
    np.divide(agreement, overlap, out=agreement, where=overlap >= OVERLAP - LAG)
    agreement[overlap < OVERLAP - LAG] = -1
    chosen = agreement.argmax(-1)
    density = np.sqrt(firsts.density[:, None] * seconds.density) * firsts.pieces[0].shape[1]
    likely = np.take_along_axis(agreement, chosen[..., None], -1)[..., 0] > 0.7 * least * density
    for i, j in np.argwhere(likely & apart & (density > 0)):
        lag = lags[chosen[i, j]]
        a = firsts.pieces[i][max(0, -lag) : max(0, seconds.lengths[j] - lag)]
        b = seconds.pieces[j][max(0, lag) :]
        count = min(len(a), len(b))
        a, b = a[:count], b[:count]
        energy = np.sqrt(np.sum(a**2) * np.sum(b**2))
        if energy > FEWEST_BITS * a.size and (score := float(np.sum(a * b) / energy)) >= least:
            yield int(i), int(j), score, count * HOP / SAMPLE_RATE


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
