"""Protocols P1, P2 and P3: onsets counted in bins of whole or fifth seconds.

P1  beats coverage B_g / B_t and beats hit B_a / B_t of the paper (section 5.1), as its published scoring tool computes
    them: onset-strength peaks, one binary bin per second. Coverage is a ratio of counts and may exceed 1.
P2  LORIS-style BCS, CSD, BHS, HSD and F1 (Yu et al., 2023): the same bins, a smoother peak picker.
P3  P2 in bins of 0.2 s.

Conventions: audio is mono float at 22 050 Hz; onset times are seconds; bins are boolean (n,), bin k covers
[k * width, (k + 1) * width). A click every half second fills every bin of P1 and P2: read them beside the controls.
"""

import math
from dataclasses import dataclass

import numpy as np

from dataset_tools.base.timebase import SAMPLE_RATE

PICKERS = {
    "P1": {"wait": 1, "delta": 0.2, "pre_avg": 1, "post_avg": 1, "post_max": 1},
    "P2": {"wait": 1, "delta": 0.2, "pre_avg": 3, "post_avg": 3, "pre_max": 3, "post_max": 3},
}
PICKERS["P3"] = PICKERS["P2"]
BIN_SECONDS = {"P1": 1.0, "P2": 1.0, "P3": 0.2}


def onset_bins(audio: np.ndarray, protocol: str) -> np.ndarray:
    """Which bins hold an onset.

    audio : float (S,) at 22 050 Hz. protocol : 'P1', 'P2' or 'P3'.
    Returns bool (ceil(S / 22050 / bin width),). Digital silence has no onsets.
    """
    import librosa

    width = BIN_SECONDS[protocol]
    bins = np.zeros(math.ceil(len(audio) / SAMPLE_RATE / width), bool)
    if len(audio) and np.any(audio):
        times = librosa.onset.onset_detect(y=audio, sr=SAMPLE_RATE, units="time", **PICKERS[protocol])
        index = np.floor(np.asarray(times) / width).astype(int)
        bins[index[index < len(bins)]] = True
    return bins


@dataclass(frozen=True, kw_only=True)
class BinCounts:
    """One clip's counts. Pooled (micro) and per-clip (macro) scores both come from these."""

    generated: int
    """Bins with an onset in the generated sound."""
    reference: int
    """Bins with an onset in the reference."""
    both: int


def count_bins(generated: np.ndarray, reference: np.ndarray) -> BinCounts:
    """Counts over the bins that both have: the longer one is cut to the shorter."""
    n = min(len(generated), len(reference))
    g, r = generated[:n], reference[:n]
    return BinCounts(generated=int(g.sum()), reference=int(r.sum()), both=int((g & r).sum()))


def ratio(part: float, whole: float) -> float:
    """part / whole, or nan where whole is 0: such a clip is left out of means and counted as `undefined`."""
    return part / whole if whole else float("nan")


def coverage_and_hit(counts: list[BinCounts]) -> dict[str, float]:
    """P1 in percent: coverage and hit, macro (mean of clips with reference onsets) and micro (pooled)."""
    total = {k: sum(getattr(c, k) for c in counts) for k in ("generated", "reference", "both")}
    heard = [c for c in counts if c.reference]
    mean = lambda values: 100 * float(np.mean(values)) if values else float("nan")
    return {
        "coverage_macro": mean([c.generated / c.reference for c in heard]),
        "hit_macro": mean([c.both / c.reference for c in heard]),
        "coverage_micro": 100 * ratio(total["generated"], total["reference"]),
        "hit_micro": 100 * ratio(total["both"], total["reference"]),
        "clips": len(counts),
        "undefined": len(counts) - len(heard),
    }


def precision_and_recall(counts: list[BinCounts]) -> dict[str, float]:
    """P2 and P3 in percent: BCS = both / generated, BHS = both / reference (0 where the denominator is 0), CSD and HSD
    their sample standard deviations over clips, F1 of the two means."""
    bcs = np.array([c.both / c.generated if c.generated else 0.0 for c in counts])
    bhs = np.array([c.both / c.reference if c.reference else 0.0 for c in counts])
    spread = lambda x: 100 * float(np.std(x, ddof=1)) if len(x) > 1 else float("nan")
    p, r = float(bcs.mean()), float(bhs.mean())
    return {
        "BCS": 100 * p,
        "CSD": spread(bcs),
        "BHS": 100 * r,
        "HSD": spread(bhs),
        "F1": 100 * 2 * p * r / (p + r) if p + r else 0.0,
        "clips": len(counts),
    }
