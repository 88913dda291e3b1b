"""Audible faults of music that is decoded from codes: a hum at the code rate, and passages copied from training music."""

from collections.abc import Mapping, Sequence

import numpy as np

from d2m_model.metrics.bootstrap import weighted_mean, with_intervals
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE

WINDOW = 8192
"""Samples per spectrum, for bins of 2.7 Hz."""
NEAR = 5.4
"""Largest distance in Hz from a multiple of the code rate: half of the window's main lobe."""


def code_rate(level: str) -> float:
    """Codes per second: 172.27 at level high, 689.06 at low."""
    return SAMPLE_RATE / HOPS[LEVELS[level]]


def hum_share(audio: np.ndarray, rate: float) -> float:
    """Share of the audio's power at multiples of `rate` Hz, within 0..1; nan for silence and for audio under 0.4 s.

    P(f) is the power spectrum (Welch's method, Hann windows of 8192 samples). The share is the sum of P(f) over all f within 5.4 Hz
    of k * rate, k = 1, 2, ..., up to half the sample rate, divided by the sum of P(f) over all f above 5.4 Hz.
    """
    from scipy.signal import welch

    if len(audio) < WINDOW or not np.any(audio):
        return float("nan")
    hertz, power = welch(audio.astype(float), SAMPLE_RATE, nperseg=WINDOW)
    from_multiple = np.abs(hertz - rate * np.maximum(1, np.round(hertz / rate)))
    return float(power[from_multiple <= NEAR].sum() / power[hertz > NEAR].sum())


def hum_scores(
    audio: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], rate: float, weights: Mapping[str, np.ndarray]
) -> dict:
    """{'hum_ratio': mean `hum_share` of a system's audio, divided by that of the reconstructions of the same clips}, with bounds.

    again : clip -> its own music, encoded and decoded at the system's level. weights : from `resamples` over the sorted clips.
    """
    clips = sorted(audio)
    made, coded = (np.array([hum_share(of[c], rate) for c in clips]) for of in (audio, again))
    return with_intervals(
        lambda w: {"hum_ratio": weighted_mean(w, made) / weighted_mean(w, coded)}, len(clips), weights
    )


def longest_copy(codes: Sequence[np.ndarray], training: Sequence[np.ndarray]) -> int:
    """Length of the longest run of consecutive codes in one of `codes`, each (L,), that also occurs in one of `training`; 0 without
    a common code.

    Windows of 2 ** k codes are numbered so that equal windows have equal numbers; two of them cover a window of any length.
    """
    parts = [np.asarray(p, np.int64).ravel() for p in (*codes, *training)]
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    mine = owner < len(codes)
    numbered = lambda a, b: np.unique(a * len(owner) + b, return_inverse=True)[1]  # equal pairs, equal numbers
    ranks = [np.unique(np.concatenate(parts), return_inverse=True)[1]] if parts else []

    def shared(length: int) -> bool:
        k = length.bit_length() - 1
        while len(ranks) <= k:
            half = 1 << (len(ranks) - 1)
            ranks.append(numbered(ranks[-1][:-half], ranks[-1][half:]))
        last = len(owner) - length + 1
        whole = owner[:last] == owner[length - 1 :]
        number = numbered(ranks[k][:last], ranks[k][length - (1 << k) :])
        return bool(np.isin(number[whole & mine[:last]], number[whole & ~mine[:last]]).any())

    low, high = (
        0,
        min(
            max((len(p) for p in parts[: len(codes)]), default=0), max((len(p) for p in parts[len(codes) :]), default=0)
        ),
    )
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if shared(middle) else (low, middle - 1)
    return low
