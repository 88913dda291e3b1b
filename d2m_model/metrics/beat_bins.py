"""Protocols P1, P2 and P3: onsets counted in bins of whole or fifth seconds.

P1  beats coverage B_g / B_t and beats hit B_a / B_t of the paper (section 5.1), as its published scoring tool computes
    them: onset-strength peaks, one binary bin per second. Coverage is a ratio of counts and may exceed 1.
P2  LORIS-style BCS, CSD, BHS, HSD and F1 (Yu et al., 2023): the same bins, a smoother peak picker.
P3  P2 in bins of 0.2 s, over pieces of 5 s.

Conventions: audio is mono float at 22 050 Hz; onset times are seconds; bins are boolean (n,), bin k covers
[k * width, (k + 1) * width). A click every half second fills every bin of P1 and P2: read them beside the controls.

References without onsets. P1 divides by their count, so a clip whose reference has none is left out of the macro means;
in the pooled (micro) ratios it adds its generated bins and no reference bins. P2 and P3 take a ratio over 0 as 0, so the
clip stays in every mean. Either way `undefined` counts such clips.
"""

import math
from dataclasses import dataclass

import numpy as np

from d2m_model.metrics.bootstrap import weighted_deviation, weighted_mean
from dataset_tools.lib.core.timebase import SAMPLE_RATE

PICKERS = {
    "P1": {"wait": 1, "delta": 0.2, "pre_avg": 1, "post_avg": 1, "post_max": 1},
    "P2": {"wait": 1, "delta": 0.2, "pre_avg": 3, "post_avg": 3, "pre_max": 3, "post_max": 3},
}
PICKERS["P3"] = PICKERS["P2"]
BIN_SECONDS = {"P1": 1.0, "P2": 1.0, "P3": 0.2}
PIECE_SECONDS = 5.0
"""Of P3: a longer sound is scored in whole pieces of this length, a shorter one as it is."""


def onset_bins(envelope: np.ndarray, samples: int, protocol: str) -> np.ndarray:
    """Which bins hold an onset.

    envelope : onset strength (F,) at hop 512 of a sound of `samples` at 22 050 Hz. protocol : 'P1', 'P2' or 'P3'.
    Returns bool (ceil(samples / 22050 / bin width),). A flat envelope, so silence, has no onsets. An onset that the
    centred frames place exactly at the sound's end belongs to no bin.
    """
    import librosa

    width = BIN_SECONDS[protocol]
    bins = np.zeros(math.ceil(samples / (SAMPLE_RATE * width)), bool)
    times = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE, units="time", **PICKERS[protocol])
    index = np.trunc(np.asarray(times) / width).astype(int)
    bins[index[index < len(bins)]] = True
    return bins


@dataclass(frozen=True, kw_only=True)
class BinCounts:
    """One clip's counts, or one piece's. Pooled (micro) and mean (macro) scores both come from these."""

    generated: int
    """Bins with an onset in the generated sound."""
    reference: int
    """Bins with an onset in the reference."""
    both: int


def count_bins(generated: np.ndarray, reference: np.ndarray) -> BinCounts:
    """Counts over bins (n,) of two sounds of one length."""
    assert generated.shape == reference.shape, (generated.shape, reference.shape)
    return BinCounts(
        generated=int(generated.sum()), reference=int(reference.sum()), both=int((generated & reference).sum())
    )


def _columns(counts: list[BinCounts]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.array([getattr(c, k) for c in counts], float) for k in ("generated", "reference", "both"))


def coverage_and_hit(counts: list[BinCounts]):
    """P1 as a summary of weights (draws, len(counts)), in percent: coverage and hit, macro and micro."""
    generated, reference, both = _columns(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        coverage = np.where(reference > 0, generated / reference, np.nan)
        hit = np.where(reference > 0, both / reference, np.nan)
    return lambda w: {
        "coverage_macro": 100 * weighted_mean(w, coverage),
        "hit_macro": 100 * weighted_mean(w, hit),
        "coverage_micro": 100 * _ratio(w @ generated, w @ reference, np.nan),
        "hit_micro": 100 * _ratio(w @ both, w @ reference, np.nan),
    }


def precision_and_recall(counts: list[BinCounts]):
    """P2 and P3 as a summary of weights (draws, len(counts)), in percent.

    BCS = both / generated and BHS = both / reference (0 where the denominator is 0) are means, CSD and HSD their sample
    standard deviations, F1 of the two means; the `_micro` ones come from pooled counts.
    """
    generated, reference, both = _columns(counts)
    bcs, bhs = _ratio(both, generated, 0.0), _ratio(both, reference, 0.0)

    def summary(w: np.ndarray) -> dict[str, np.ndarray]:
        mean = weighted_mean(w, bcs), weighted_mean(w, bhs)
        pooled = _ratio(w @ both, w @ generated, 0.0), _ratio(w @ both, w @ reference, 0.0)
        scores = {
            "BCS": mean[0],
            "CSD": weighted_deviation(w, bcs),
            "BHS": mean[1],
            "HSD": weighted_deviation(w, bhs),
            "F1": _f1(*mean),
        }
        scores |= {"BCS_micro": pooled[0], "BHS_micro": pooled[1], "F1_micro": _f1(*pooled)}
        return {name: 100 * value for name, value in scores.items()}

    return summary


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)


def _f1(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    return _ratio(2 * precision * recall, precision + recall, 0.0)
