"""Codes of windows of a clip: 128 bits that stay alike where a recording is encoded, filtered, noisy, or changed a little in tempo or pitch.

A window is 1.9 s. Its code holds the signs of the lowest terms of a cosine transform of the log energies along the bands and along
time. It changes little if the window lies a frame off, or if the tempo is 1.5 % or the pitch a third of a semitone off.
"""

import math

import numpy as np

from dataset_tools.split.slope_bits import BANDS_PER_SEMITONE

WINDOW = 40
"""Frames of a window: 1.9 s; at least 20 windows begin in 3 s."""
ROWS = 159
"""Bands of a window, of which a changed pitch leaves the lowest or the highest out."""
LOWEST_BAND = 4
"""First band of a window at an unchanged pitch."""
BAND_TERMS = 32
"""Terms of the cosine transform along the bands: patterns of 3 semitones and more."""
TIME_TERMS = 4
"""Terms along time: changes of up to 1.1 Hz."""
TEMPI = tuple(1 + k / 100 for k in range(0, 31, 3))
"""Tempi of the faster clip of a pair relative to the slower one."""
QUERIES = (
    *((1.0, shift) for shift in (0, 2)),
    *((TEMPI[1], shift) for shift in (-2, 0, 2)),
    *((TEMPI[2], shift) for shift in (-2, 0, 3)),
    *((tempo, shift) for tempo in TEMPI[3:] for shift in (0, round(12 * BANDS_PER_SEMITONE * math.log2(tempo)))),
)
"""(tempo, shift in bands) at which clips are looked up. No change of `fingerprint.CHANGES` is farther than 1.5 % and a band away."""
MIN_LEVEL = 0.2
"""A window whose terms are all smaller, in nepers, is silent or one steady tone, and has no code."""
_ORDER = sorted(
    range(BAND_TERMS * TIME_TERMS),
    key=lambda d: (d // TIME_TERMS >= BAND_TERMS // 2, d < TIME_TERMS, d // TIME_TERMS + 3 * (d % TIME_TERMS), d),
)  # the most reliable terms first; not those of all bands together, which only follow the drums


def _band_terms(shift: int) -> np.ndarray:
    """(bands, BAND_TERMS) float32, for a clip that is `shift` bands higher."""
    terms = np.zeros((60 * BANDS_PER_SEMITONE, BAND_TERMS), np.float32)
    at = (np.arange(ROWS) + 0.5) / ROWS
    terms[LOWEST_BAND + shift :][:ROWS] = np.cos(np.pi * np.outer(at, np.arange(BAND_TERMS)))
    return terms


def _time_terms(tempo: float) -> np.ndarray:
    """(frames, TIME_TERMS) float32, each without mean, for a clip that is `tempo` times as fast."""
    frames = round(WINDOW / tempo)
    at = (np.arange(frames) + 0.5) / frames
    fade = np.sin(np.pi * at) ** 2
    terms = fade[:, None] * np.cos(np.pi * np.outer(at, np.arange(1, TIME_TERMS + 1)))
    terms -= fade[:, None] * terms.sum(0) / fade.sum()
    return (terms / frames).astype(np.float32)


SHIFTS = sorted({shift for _, shift in QUERIES})
BANK = np.concatenate([_band_terms(shift) for shift in SHIFTS], axis=1)
TIMES = {tempo: _time_terms(tempo) for tempo in TEMPI}


def describe_clip(values: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Log energies (T, bands) -> terms (windows, 128) float32 of the windows at the clip's own tempo and pitch, and their first frames."""
    return _describe(values @ BANK[:, SHIFTS.index(0) * BAND_TERMS :][:, :BAND_TERMS], 1.0, stride)


def describe_changes(values: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log energies (T, bands) of a clip -> (terms (windows, 128) float32, first frames, numbers in QUERIES) of its windows at each of
    QUERIES, as a slower clip would have them. The frames count at the slower tempo."""
    projected = values @ BANK
    parts, starts = [], []
    for tempo, shift in QUERIES:
        at = SHIFTS.index(shift) * BAND_TERMS
        described, frames = _describe(projected[:, at : at + BAND_TERMS], tempo, stride)
        parts.append(described)
        starts.append(np.round(frames * tempo).astype(np.int32))
    changes = np.repeat(np.arange(len(QUERIES), dtype=np.int32), [len(part) for part in parts])
    return np.concatenate(parts), np.concatenate(starts), changes


def _describe(values: np.ndarray, tempo: float, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Terms of each window (windows, 128) and its first frame. values: (T, BAND_TERMS), log energies times the terms along the bands."""
    terms = TIMES[tempo]
    if len(values) < len(terms):
        return np.zeros((0, BAND_TERMS * TIME_TERMS), np.float32), np.zeros(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(values, len(terms), axis=0)[::stride]
    described = (windows @ terms).reshape(len(windows), -1)[:, _ORDER]
    starts = np.arange(len(windows)) * stride
    loud = np.abs(described).max(1, initial=0) >= MIN_LEVEL
    return described[loud], starts[loud]


def pack(bits: np.ndarray) -> np.ndarray:
    """(N, up to 64) bool -> (N,) uint64; column 0 is the lowest bit."""
    wide = np.zeros((len(bits), 64), bool)
    wide[:, : bits.shape[1]] = bits
    return np.packbits(wide, axis=1, bitorder="little").view("<u8")[:, 0]


def encode(described: np.ndarray) -> np.ndarray:
    """(windows, 128) terms -> (windows, 2) uint64, their signs."""
    return np.stack([pack(described[:, :64] > 0), pack(described[:, 64:] > 0)], axis=1)
