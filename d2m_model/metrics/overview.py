"""Scores of systems as tables a person can read, and what the controls among them show, said from the numbers."""

import math
from collections.abc import Mapping

import pandas as pd

COLUMNS = {
    "P1": {"coverage_micro": "coverage %", "hit_micro": "hit %", "coverage_macro": "coverage, mean of clips %", "hit_macro": "hit, mean of clips %"},
    "P2": {"BCS": "BCS %", "CSD": "CSD %", "BHS": "BHS %", "HSD": "HSD %", "F1": "F1 %", "F1_micro": "F1 pooled %"},
}
COLUMNS["P3"] = COLUMNS["P2"] | {"tempo_difference_bpm": "tempo difference BPM"}
TITLES = {
    "P1": "P1: onsets per second, beats coverage and hit, pooled over clips",
    "P2": "P2: onsets per second, LORIS-style",
    "P3": "P3: onsets per fifth of a second, pieces of 5 s",
}
UNDEFINED = {
    "P1": "left out of the means of clips; in the pooled ratios they add what was generated",
    "P2": "their recall counts as 0",
    "P3": "their recall counts as 0",
    "P4": "left out",
}
"""What happens to clips (P3: pieces) whose reference has no onsets."""
KINDS = {
    "onsets": "onsets of both, F-measure ±70 ms",
    "beats": "onsets and the dance's true beats, F-measure ±70 ms",
    "tracked": "tracked beats of clips of 6 s and more, F-measure ±70 ms",
    "music_to_motion": "each onset and the nearest motion beat, σ = 3 frames",
    "motion_to_music": "each motion beat and the nearest onset, σ = 3 frames",
}


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """Fixed decimals, '–' where there is no number."""
    return "–" if value is None or math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def cell(scores: Mapping, name: str, digits: int, *, sign: bool = False, over: str = "") -> str:
    """'88.2 [80.1, 93.0]': a score with its 95 % interval over clips, or over songs with over='_song'."""
    text = number(scores.get(name), digits, sign=sign)
    low, high = scores.get(f"{name}{over}_low"), scores.get(f"{name}{over}_high")
    return text if low is None or high is None else f"{text} [{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def p4_kind(p4: Mapping, kind: str) -> Mapping | None:
    """Scores of one kind at 70 ms (motion has no window)."""
    return p4.get(f"{kind}_70ms") or p4.get(kind)


def reference_kind(systems: Mapping[str, Mapping]) -> str:
    """'beats' where the corpus knows its true beats, else 'onsets': which P4 difference to read first."""
    return "beats" if any("beats_70ms" in s.get("P4", {}) for s in systems.values()) else "onsets"


def protocol_table(systems: Mapping[str, Mapping], protocol: str, digits: int = 1) -> pd.DataFrame:
    """One row per system: the scores of P1, P2 or P3 with their intervals over clips."""
    scored = {n: s[protocol] for n, s in systems.items() if protocol in s}
    rows = [{"system": n} | {label: cell(s, key, digits) for key, label in COLUMNS[protocol].items()} for n, s in scored.items()]
    return pd.DataFrame(rows)


def difference_table(systems: Mapping[str, Mapping], kind: str) -> pd.DataFrame:
    """P4, one kind: own, other and their difference with its intervals over clips and, where songs are known, songs."""
    rows = []
    for name, summary in systems.items():
        scores = p4_kind(summary.get("P4", {}), kind) or {}
        row = {"system": name, "own": number(scores.get("own"), 3), "other": number(scores.get("other"), 3)}
        row["own − other"] = cell(scores, "difference", 3, sign=True)
        if scores.get("difference_song_low") is not None:
            row["over songs"] = f"[{scores['difference_song_low']:+.3f}, {scores['difference_song_high']:+.3f}]"
        rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def tempo_table(systems: Mapping[str, Mapping]) -> pd.DataFrame:
    """P4, the rest: tempo error, and the peak and lag of the onset envelopes' cross-correlation."""
    rows = []
    for name, summary in systems.items():
        p4 = summary.get("P4", {})
        row = {"system": name, "tempo error BPM": cell(p4, "tempo_error_bpm", 1)}
        row |= {"envelope correlation": cell(p4, "envelope_peak", 2), "its lag s": cell(p4, "envelope_lag_s", 2, sign=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def protocol_tables(systems: Mapping[str, Mapping], protocol: str) -> list[tuple[str, pd.DataFrame]]:
    """(title, table) of everything that a protocol computes."""
    if protocol != "P4":
        return [(TITLES[protocol], protocol_table(systems, protocol))]
    kinds = [k for k in KINDS if any(p4_kind(s.get("P4", {}), k) for s in systems.values())]
    parts = [(f"P4: {KINDS[k]}", difference_table(systems, k)) for k in kinds]
    return [*parts, ("P4: tempo and onset strength", tempo_table(systems))]


def systems_table(systems: Mapping[str, Mapping], digits: int = 1) -> pd.DataFrame:
    """Every system and control, the scores to look at first: P1 pooled, P2 and P3 F1 in percent, P4 differences."""
    rows = []
    for name, summary in systems.items():
        part = lambda protocol, s=summary: s.get(protocol, {})
        row = {"system": name, "kind": summary["kind"]}
        row |= {"P1 coverage": cell(part("P1"), "coverage_micro", digits), "P1 hit": cell(part("P1"), "hit_micro", digits)}
        row |= {"P2 F1": cell(part("P2"), "F1", digits), "P3 F1": cell(part("P3"), "F1", digits)}
        for kind in [k for k in ("beats", "onsets") if any(p4_kind(s.get("P4", {}), k) for s in systems.values())]:
            row[f"P4 own − other ({kind})"] = cell(p4_kind(part("P4"), kind) or {}, "difference", 3, sign=True)
        rows.append(row)
    return pd.DataFrame(rows)


def policy_line(summary: Mapping, protocol: str) -> str:
    """How many clips were scored, and what became of those whose reference has no onsets."""
    scores = summary[protocol]
    missing = scores["onsets_70ms"]["undefined"] if protocol == "P4" else scores["undefined"]
    unit = "pieces" if protocol == "P3" else "clips"
    of = scores.get("pieces", scores["clips"]) if protocol != "P4" else scores["clips"]
    reason = "reference onsets, or other songs to compare with" if protocol == "P4" else "reference onsets"
    return f"{missing} of {of} {unit} have no {reason}" + (f": {UNDEFINED[protocol]}" if missing else "")


BLIND = ("shuffled ground truth", "random training song", "fixed click", "silence", "white noise")
"""Controls that have not seen the dance."""


def control_note(systems: Mapping[str, Mapping], digits: int = 1) -> str:
    """What the controls show, in sentences that follow from the numbers and say only what they hold."""
    models = {n: s for n, s in systems.items() if s["kind"] == "model"}
    sentences = [_saturation(systems, models, digits), _listening(systems, models), _coded(systems)]
    return "Controls: " + " ".join(s for s in sentences if s)


def _saturation(systems: Mapping, models: Mapping, digits: int) -> str:
    """P1 hit: the best control that has not seen the dance against the models."""
    hit = lambda s: s.get("P1", {}).get("hit_micro")
    blind = {n: hit(systems[n]) for n in BLIND if n in systems and hit(systems[n]) is not None}
    scored = {n: hit(s) for n, s in models.items() if hit(s) is not None}
    if not blind or not scored:
        return ""
    best = max(blind, key=blind.get)
    beaten = [n for n, v in scored.items() if v <= blind[best]]
    verdict = (
        f"no lower than {len(beaten)} of {len(scored)} models, so a P1 hit up to there is no sign of listening to the dance"
        if beaten
        else f"below all {len(scored)} models"
    )
    return f"in P1, the {best}, which has not seen the dance, hits {number(blind[best], digits)} %, {verdict}."


def _listening(systems: Mapping, models: Mapping) -> str:
    """P4: the span of the blind controls, and which models are above it with their whole interval."""
    kind = reference_kind(systems)
    found = {n: p for n, s in systems.items() if (p := p4_kind(s.get("P4", {}), kind)) and p.get("difference") is not None}
    blind = [found[n]["difference"] for n in BLIND if n in found]
    scored = [n for n in models if n in found]
    if not blind or not scored:
        return ""
    low = lambda p: p.get("difference_low", p.get("difference"))
    above = [n for n in scored if (bound := low(found[n])) is not None and bound > max(*blind, 0.0)]
    text = f"In P4 (own − other dances, {kind} ±70 ms) those controls lie between {min(blind):+.3f} and {max(blind):+.3f}"
    if "ground truth" in found:
        text += f" and the ground truth is at {found['ground truth']['difference']:+.3f}"
    text += f"; {len(above)} of {len(scored)} models are above every one of them and above 0 with their whole interval over clips"
    return text + (f": {', '.join(above)}." if above else ".")


def _coded(systems: Mapping) -> str:
    """Where coding alone leads: the VQ reconstructions."""
    parts = []
    for name, summary in systems.items():
        p4 = p4_kind(summary.get("P4", {}), reference_kind(systems))
        if name.startswith("VQ reconstruction") and p4 and p4.get("difference") is not None:
            parts.append(f"{name.removeprefix('VQ reconstruction ')} {p4['difference']:+.3f}")
    return f"The ground truth coded and decoded again is there at: {', '.join(parts)}." if parts else ""
