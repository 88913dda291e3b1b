"""Protocols P1, P2 and P3: onsets counted in bins of a second or a fifth of a second.

P1  beats coverage B_g / B_t and beats hit B_a / B_t of the paper (section 5.1), computed like its published scoring tool:
    onset-strength peaks, one binary bin per second. Coverage is a ratio of counts and may exceed 1.
P2  LORIS-style BCS, CSD, BHS, HSD and F1 (Yu et al., 2023): the same bins, a smoother peak picker.
P3  P2 in bins of 0.2 s, over pieces of 5 s.

Conventions: audio is mono float at 22 050 Hz; onset times are in seconds; bins are boolean (n,), and bin k covers
[k * width, (k + 1) * width). A click every half second fills every bin of P1 and P2, so compare scores with the controls'.

References without onsets: P1 divides by the number of reference bins, so a clip whose reference has none is left out of the
macro means; in the pooled (micro) ratios it adds its generated bins and no reference bins. In P2 and P3 a ratio with a
denominator of 0 is 0, so the clip stays in every mean. In all protocols `undefined` counts such clips.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from d2m_model.metrics.bootstrap import weighted_deviation, weighted_mean
from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.timebase import SAMPLE_RATE

PICKERS: dict[str, dict[str, Any]] = {
    "P1": {"wait": 1, "delta": 0.2, "pre_avg": 1, "post_avg": 1, "post_max": 1},
    "P2": {"wait": 1, "delta": 0.2, "pre_avg": 3, "post_avg": 3, "pre_max": 3, "post_max": 3},
}
PICKERS["P3"] = PICKERS["P2"]
BIN_SECONDS = {"P1": 1.0, "P2": 1.0, "P3": 0.2}
PIECE_SECONDS = 5.0
"""Length of P3's pieces. Longer audio is scored in whole pieces, shorter audio as it is."""


def onset_bins(envelope: np.ndarray, samples: int, protocol: str) -> np.ndarray:
    """Which bins hold an onset.

    envelope : onset strength (F,) at hop 512 of audio of `samples` at 22 050 Hz. protocol : 'P1', 'P2' or 'P3'.
    Returns bool (ceil(samples / 22050 / bin width),). A flat envelope, such as that of silence, has no onsets. An onset exactly at
    the end of the audio, where the last centred frame may place it, belongs to no bin.
    """
    librosa = load_librosa()

    width = BIN_SECONDS[protocol]
    bins = np.zeros(math.ceil(samples / (SAMPLE_RATE * width)), bool)
    times = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE, units="time", **PICKERS[protocol])
    index = np.trunc(np.asarray(times) / width).astype(int)
    bins[index[index < len(bins)]] = True
    return bins


@dataclass(frozen=True, kw_only=True)
class BinCounts:
    """Counts of one clip or piece, from which both pooled (micro) and mean (macro) scores are computed."""

    generated: int
    """Bins with an onset in the generated audio."""
    reference: int
    """Bins with an onset in the reference."""
    both: int
    """Bins with an onset in both."""


def count_bins(generated: np.ndarray, reference: np.ndarray) -> BinCounts:
    """Counts over bins (n,) of two waveforms of equal length."""
    assert generated.shape == reference.shape, (generated.shape, reference.shape)
    return BinCounts(
        generated=int(generated.sum()), reference=int(reference.sum()), both=int((generated & reference).sum())
    )


def _columns(counts: list[BinCounts]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = ("generated", "reference", "both")
    generated, reference, both = (np.array([getattr(c, name) for c in counts], float) for name in names)
    return generated, reference, both


def coverage_and_hit(counts: list[BinCounts]):
    """P1 as a `bootstrap.Summary`: weights (draws, len(counts)) -> coverage and hit, macro and micro, in percent."""
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
    """P2 and P3 as a `bootstrap.Summary`: weights (draws, len(counts)) -> scores in percent.

    BCS = both / generated and BHS = both / reference (0 where the denominator is 0) are means over clips, CSD and HSD are their
    sample standard deviations, and F1 is computed from the two means. Scores with `_micro` come from pooled counts.
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
