"""All protocols over one system: {clip: sound} against {clip: reference}, in one summary and one row per clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from d2m_model.metrics.beat_bins import count_bins, coverage_and_hit, onset_bins, precision_and_recall
from d2m_model.metrics.bootstrap import bootstrap_interval
from d2m_model.metrics.onset_alignment import WINDOWS, onset_times, own_minus_other
from dataset_tools.base.timebase import SAMPLE_RATE

PROTOCOLS = ("P1", "P2", "P3", "P4")


@dataclass
class Reference:
    """What systems are scored against. Bins and onsets are found once and kept."""

    audio: Mapping[str, np.ndarray]
    """clip -> mono float (S,) at 22 050 Hz, the clip's own music."""
    songs: Mapping[str, str]
    """clip -> song id; clips of one song are never each other's 'other dance'."""
    beats: Mapping[str, np.ndarray] = field(default_factory=dict)
    """clip -> true beat times in seconds, where a corpus knows them (the demo corpus does)."""

    def __post_init__(self):
        self.bins = {p: {c: onset_bins(a, p) for c, a in self.audio.items()} for p in ("P1", "P2", "P3")}
        self.onsets = {c: onset_times(a) for c, a in self.audio.items()}
        self.seconds = {c: len(a) / SAMPLE_RATE for c, a in self.audio.items()}


def score_system(
    sounds: Mapping[str, np.ndarray], reference: Reference, *, protocols=PROTOCOLS, draws: int = 2000, seed: int = 0
) -> tuple[dict, list[dict]]:
    """Score one system.

    sounds : clip -> mono float (S,) at 22 050 Hz; every clip must be in `reference`.
    Returns (summary, rows): summary[protocol] is a dict of numbers, rows one dict per clip. P1 to P3 are percent, P4 is
    0..1. P4's `difference_low` and `difference_high` are the bounds of its paired bootstrap 95 % interval over clips.
    """
    clips = sorted(sounds)
    rows = {clip: {"clip_id": clip, "song": reference.songs[clip]} for clip in clips}
    summary: dict = {}
    for protocol in [p for p in ("P1", "P2", "P3") if p in protocols]:
        counts = [count_bins(onset_bins(sounds[c], protocol), reference.bins[protocol][c]) for c in clips]
        for clip, n in zip(clips, counts, strict=True):
            rows[clip] |= {f"{protocol}_generated": n.generated, f"{protocol}_reference": n.reference, f"{protocol}_both": n.both}
        summary[protocol] = _with_intervals(counts, coverage_and_hit if protocol == "P1" else precision_and_recall, draws, seed)
    if "P4" in protocols:
        found = {c: onset_times(sounds[c]) for c in clips}
        summary["P4"] = {}
        known = {"onsets": reference.onsets} | ({"beats": reference.beats} if reference.beats else {})
        for kind, times in known.items():
            for window in WINDOWS:
                pairs = own_minus_other(found, times, reference.seconds, reference.songs, window)
                summary["P4"][f"{kind}_{round(window * 1000)}ms"] = _difference(pairs, draws, seed)
                if window == WINDOWS[0]:
                    for clip, (own, other) in pairs.items():
                        rows[clip] |= {f"P4_{kind}_own": own, f"P4_{kind}_other": other}
        for clip in clips:
            rows[clip]["onsets"] = len(found[clip])
    return summary, [rows[c] for c in clips]


def _with_intervals(counts, summarise, draws, seed) -> dict[str, float]:
    """The summary of all clips, and for every score in it the bootstrap bounds as `<name>_low` and `<name>_high`."""
    result = summarise(counts)
    rng = np.random.default_rng(seed)
    drawn = [summarise([counts[i] for i in rng.integers(0, len(counts), len(counts))]) for _ in range(draws)]
    for name in [n for n in result if n not in ("clips", "undefined")]:
        values = np.array([d[name] for d in drawn])
        if len(counts) > 1 and not np.all(np.isnan(values)):
            result[f"{name}_low"], result[f"{name}_high"] = map(float, np.nanpercentile(values, [2.5, 97.5]))
    return result


def _difference(pairs: dict[str, tuple[float, float]], draws: int, seed: int) -> dict[str, float]:
    values = np.array([pairs[c] for c in sorted(pairs)], float).reshape(-1, 2)
    estimate, low, high = bootstrap_interval(values[:, 0] - values[:, 1], draws=draws, seed=seed)
    usable = values[~np.isnan(values).any(axis=1)]
    own, other = usable.mean(axis=0) if len(usable) else (float("nan"), float("nan"))
    return {
        "own": float(own),
        "other": float(other),
        "difference": estimate,
        "difference_low": low,
        "difference_high": high,
        "clips": len(usable),
    }
