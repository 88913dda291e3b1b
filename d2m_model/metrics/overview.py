"""Scores of systems as readable tables, and notes that say in words what the controls' scores show."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from d2m_model.metrics.table_forms import Cell, frame

COLUMNS = {
    "P1": {
        "coverage_micro": "coverage %",
        "hit_micro": "hit %",
        "coverage_macro": "coverage, mean of clips %",
        "hit_macro": "hit, mean of clips %",
    },
    "P2": {"BCS": "BCS %", "CSD": "CSD %", "BHS": "BHS %", "HSD": "HSD %", "F1": "F1 %", "F1_micro": "F1 pooled %"},
}
COLUMNS["P3"] = COLUMNS["P2"] | {"tempo_difference_bpm": "tempo difference BPM"}
TITLES = {
    "P1": "P1: onsets per second, beats coverage and hit, pooled over clips",
    "P2": "P2: onsets per second, LORIS-style",
    "P3": "P3: onsets per fifth of a second, pieces of 5 s",
}
KINDS = {
    "onsets": "onsets of both, F-measure ±70 ms",
    "beats": "onsets and the dance's true beats, F-measure ±70 ms",
    "rhythm": "onsets and the beats that the stage rhythm read from the motion, F-measure ±70 ms",
    "tracked": "tracked beats of clips of 6 s and more, F-measure ±70 ms",
    "music_to_motion": "each onset and the nearest motion beat, σ = 3 frames",
    "motion_to_music": "each motion beat and the nearest onset, σ = 3 frames",
}


SCORES = {
    "P1 coverage": ("P1", "coverage_micro"),
    "P1 hit": ("P1", "hit_micro"),
    "P2 F1": ("P2", "F1"),
    "P3 F1": ("P3", "F1"),
}
"""Column of the first table -> (protocol, score) in a system's summary."""


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with fixed decimals; '–' for None and nan."""
    return "–" if value is None or math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def cell(scores: Mapping, name: str, digits: int, *, sign: bool = False, over: str = "") -> str:
    """A score with its 95 % interval, such as '88.2 [80.1, 93.0]'; over clips, or over songs with over='_song'."""
    text = number(scores.get(name), digits, sign=sign)
    low, high = scores.get(f"{name}{over}_low"), scores.get(f"{name}{over}_high")
    return (
        text
        if low is None or high is None
        else f"{text} [{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"
    )


def p4_kind(p4: Mapping, kind: str) -> Mapping | None:
    """Scores of one kind at ±70 ms (those of motion have no window); None if there are none."""
    return p4.get(f"{kind}_70ms") or p4.get(kind)


def reference_kind(systems: Mapping[str, Mapping]) -> str:
    """The most important kind of P4 difference: 'beats' if the corpus has true beats, else 'onsets'."""
    return "beats" if any("beats_70ms" in s.get("P4", {}) for s in systems.values()) else "onsets"


def clips_of(scores: Mapping, name: str) -> object:
    """The clips behind a score, for `table_forms.Cell`: (their number, names of clips left out)."""
    count = scores.get(f"{name}_clips", scores.get(f"{name}_pieces", scores.get("clips")))
    return None if count is None else (count, *scores.get("left_out", ()))


def counted(scores: Mapping, name: str, digits: int, *, sign: bool = False, brief: bool = False) -> Cell:
    """`cell` with the clips behind the score. brief: without the interval."""
    text = number(scores.get(name), digits, sign=sign) if brief else cell(scores, name, digits, sign=sign)
    return Cell(text, clips_of(scores, name))


def p_text(p: float | None) -> str:
    """p with three decimals; '<0.001' below that, '–' for None and nan."""
    return "–" if p is None or math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def against_chance(scores: Mapping) -> dict[str, str]:
    """The columns beside a P4 difference: its interval over songs (if known), the difference by chance, and p."""
    columns = {}
    if scores.get("difference_song_low") is not None:
        columns["over songs"] = f"[{scores['difference_song_low']:+.3f}, {scores['difference_song_high']:+.3f}]"
    if scores.get("p") is not None:
        columns |= {"permuted": cell(scores, "permuted", 3, sign=True), "p": p_text(scores["p"])}
    return columns


def protocol_table(systems: Mapping[str, Mapping], protocol: str, digits: int = 1) -> pd.DataFrame:
    """A table of P1, P2 or P3: one row per system, scores with their intervals over clips."""
    scored = {n: s[protocol] for n, s in systems.items() if protocol in s}
    return frame(
        [
            {"system": n} | {label: counted(s, key, digits) for key, label in COLUMNS[protocol].items()}
            for n, s in scored.items()
        ]
    )


def difference_table(systems: Mapping[str, Mapping], kind: str) -> pd.DataFrame:
    """A table of one kind of P4: own, other, and their difference with its intervals over clips and, if known, over songs; then the
    difference when the same music is assigned to the dances at random (`permuted`), with its 95 % range, and p."""
    rows = []
    for name, summary in systems.items():
        scores = p4_kind(summary.get("P4", {}), kind) or {}
        row: dict[str, Any] = {
            "system": name,
            "own": number(scores.get("own"), 3),
            "other": number(scores.get("other"), 3),
        }
        row["own − other"] = counted(scores, "difference", 3, sign=True)
        rows.append(row | against_chance(scores))
    return frame(rows)


def tempo_table(systems: Mapping[str, Mapping]) -> pd.DataFrame:
    """A table of P4's other scores: tempo error, and the peak and lag of the onset envelopes' cross-correlation."""
    rows = []
    for name, summary in systems.items():
        p4 = summary.get("P4", {})
        row: dict[str, Any] = {"system": name, "tempo error BPM": counted(p4, "tempo_error_bpm", 1)}
        row |= {
            "envelope correlation": counted(p4, "envelope_peak", 2),
            "its lag s": counted(p4, "envelope_lag_s", 2, sign=True),
        }
        rows.append(row)
    return frame(rows)


def protocol_tables(systems: Mapping[str, Mapping], protocol: str) -> list[tuple[str, str, pd.DataFrame]]:
    """(name, title, table) of each table of a protocol."""
    if protocol != "P4":
        return [(protocol.lower(), TITLES[protocol], protocol_table(systems, protocol))]
    kinds = [k for k in KINDS if any(p4_kind(s.get("P4", {}), k) for s in systems.values())]
    parts = [(f"p4_{k}", f"P4: {KINDS[k]}", difference_table(systems, k)) for k in kinds]
    return [*parts, ("p4_tempo", "P4: tempo and onset strength", tempo_table(systems))]


FOLLOWS = (
    "kind",
    "over songs",
    "permuted",
    "p",
    *(f"P4 own − other ({k})" for k in ("beats", "onsets", "rhythm")),
)
"""Columns of the systems' table on how well systems follow their dances."""
NEAR = ("genre %", "FAD", "FAD∞", "FAD coded", "FAD references", "KAD")
"""Columns on how near systems are to music."""


def kind_of(summary: Mapping) -> str:
    """'model', 'baseline', 'control', or 'other' for a system from `evaluate.others`."""
    return "other" if summary.get("others") else summary["kind"]


def systems_table(systems: Mapping[str, Mapping], digits: int = 1, *, brief: bool = False) -> pd.DataFrame:
    """The main scores of every system and control: pooled P1, F1 of P2 and P3, and genre accuracy in percent, P4 differences (the
    main one with its interval over songs, chance and p), FAD, FAD to coded music and to the references, and KAD. brief: intervals
    for P4 only."""
    rows = []
    main = reference_kind(systems)
    fads = [s.get("fad", {}) for s in systems.values()]
    for name, summary in systems.items():
        part = lambda protocol, s=summary: s.get(protocol, {})
        show = lambda scores, key, d: counted(scores, key, d, brief=brief)
        row: dict[str, Any] = {"system": name, "kind": kind_of(summary)}
        for label, (protocol, key) in SCORES.items():
            row[label] = show(part(protocol), key, digits)
        for kind in [
            k for k in ("beats", "onsets", "rhythm") if any(p4_kind(s.get("P4", {}), k) for s in systems.values())
        ]:
            scores = p4_kind(part("P4"), kind) or {}
            row[f"P4 own − other ({kind})"] = counted(scores, "difference", 3, sign=True)
            row |= against_chance(scores) if kind == main else {}
        if any(fads):
            row |= {
                "genre %": show(part("genre"), "accuracy", digits),
                "FAD": show(part("fad"), "fad", 2),
                "FAD∞": number(part("fad").get("fad_infinity"), 2),
            }
            for label, key in (("FAD coded", "coded"), ("FAD references", "references")):
                row |= {label: show(part("fad"), key, 2)} if any(key in f for f in fads) else {}
            row |= {"KAD": show(part("kad"), "kad", 2)}
        rows.append(row)
    return frame(rows)


def audio_table(systems: Mapping[str, Mapping]) -> pd.DataFrame:
    """Loudness of every system and control, its difference from the clips' own music, spectral distance and, for a corpus, novelty."""
    rows = []
    for name, summary in systems.items():
        audio, novelty = summary.get("sound", {}), summary.get("novelty")
        row: dict[str, Any] = {
            "system": name,
            "loudness LUFS": counted(audio, "lufs", 1),
            "difference LU": counted(audio, "loudness_difference_lu", 1),
        }
        row["log-mel distance dB"] = counted(audio, "log_mel_distance_db", 1)
        rows.append(row | ({"novelty": counted(novelty, "novelty", 2)} if novelty else {}))
    return frame(rows)


def codes_table(systems: Mapping[str, Mapping]) -> pd.DataFrame:
    """Systems over codes: level, power at multiples of the code rate relative to the reconstruction (`code_health.hum_share`), onsets
    relative to the ground truth, novelty and, if codes are stored, the longest run copied from a training clip."""
    rows = []
    for name, summary in systems.items():
        if codes := summary.get("codes"):
            row: dict[str, Any] = {
                "system": name,
                "level": codes["level"],
                "power at the codes' rate ÷ reconstruction's": cell(codes, "hum_ratio", 2),
            }
            row |= {
                "onsets ÷ ground truth's": cell(summary.get("P4", {}), "onset_ratio", 2),
                "novelty": counted(summary.get("novelty", {}), "novelty", 2),
            }
            rows.append(row | {"longest copy s": number(codes.get("copied_seconds"), 2)})
    return frame(rows)


def rhythm_table(rhythm: Mapping[str, Mapping]) -> pd.DataFrame:
    """The stage rhythm itself: F-measure (±70 ms) of its beats and down-beats against the true ones, of own and other dances."""
    rows = []
    for name, scores in rhythm.items():
        row: dict[str, Any] = {"rhythm": name, "own": cell(scores, "own", 3), "other": cell(scores, "other", 3)}
        rows.append(row | {"own − other": cell(scores, "difference", 3, sign=True)})
    return frame(rows)


def headline(summary: Mapping) -> dict[str, float]:
    """The scores of `systems_table` and a few more as plain numbers, rounded as in the table; for DVC."""
    p4, fad = summary.get("P4", {}), summary.get("fad", {})
    values = {
        label.replace(" ", "_"): (summary.get(protocol, {}).get(key), 1) for label, (protocol, key) in SCORES.items()
    }
    for kind in ("beats", "onsets", "rhythm", "music_to_motion", "motion_to_music"):
        values[f"P4_{kind}"] = ((p4_kind(p4, kind) or {}).get("difference"), 3)
    values |= {
        "tempo_error_bpm": (p4.get("tempo_error_bpm"), 1),
        "genre": (summary.get("genre", {}).get("accuracy"), 1),
    }
    values |= {
        "FAD": (fad.get("fad"), 2),
        "FAD_infinity": (fad.get("fad_infinity"), 2),
        "novelty": (summary.get("novelty", {}).get("novelty"), 2),
    }
    values |= {
        "FAD_coded": (fad.get("coded"), 2),
        "KAD": (summary.get("kad", {}).get("kad"), 2),
        "onset_ratio": (p4.get("onset_ratio"), 2),
    }
    values |= {name: (summary.get("codes", {}).get(name), 2) for name in ("hum_ratio", "copied_seconds")}
    values["log_mel_distance_db"] = (summary.get("sound", {}).get("log_mel_distance_db"), 1)
    return {
        name: round(value, digits)
        for name, (value, digits) in values.items()
        if value is not None and not math.isnan(value)
    }
