"""Scores of systems as readable tables, and notes that say in words what the controls' scores show."""

import math
from collections.abc import Mapping

import pandas as pd

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
UNDEFINED = {
    "P1": "left out of the means of clips; in the pooled ratios they add what was generated",
    "P2": "their recall counts as 0",
    "P3": "their recall counts as 0",
    "P4": "left out",
}
"""Protocol -> how clips (in P3: pieces) whose reference has no onsets are treated."""
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


def protocol_table(systems: Mapping[str, Mapping], protocol: str, digits: int = 1) -> pd.DataFrame:
    """A table of P1, P2 or P3: one row per system, scores with their intervals over clips."""
    scored = {n: s[protocol] for n, s in systems.items() if protocol in s}
    rows = [
        {"system": n} | {label: cell(s, key, digits) for key, label in COLUMNS[protocol].items()}
        for n, s in scored.items()
    ]
    return pd.DataFrame(rows)


def difference_table(systems: Mapping[str, Mapping], kind: str) -> pd.DataFrame:
    """A table of one kind of P4: own, other, and their difference with its intervals over clips and, if known, over songs."""
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
    """A table of P4's other scores: tempo error, and the peak and lag of the onset envelopes' cross-correlation."""
    rows = []
    for name, summary in systems.items():
        p4 = summary.get("P4", {})
        row = {"system": name, "tempo error BPM": cell(p4, "tempo_error_bpm", 1)}
        row |= {
            "envelope correlation": cell(p4, "envelope_peak", 2),
            "its lag s": cell(p4, "envelope_lag_s", 2, sign=True),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def protocol_tables(systems: Mapping[str, Mapping], protocol: str) -> list[tuple[str, str, pd.DataFrame]]:
    """(name, title, table) of each table of a protocol."""
    if protocol != "P4":
        return [(protocol.lower(), TITLES[protocol], protocol_table(systems, protocol))]
    kinds = [k for k in KINDS if any(p4_kind(s.get("P4", {}), k) for s in systems.values())]
    parts = [(f"p4_{k}", f"P4: {KINDS[k]}", difference_table(systems, k)) for k in kinds]
    return [*parts, ("p4_tempo", "P4: tempo and onset strength", tempo_table(systems))]


def systems_table(systems: Mapping[str, Mapping], digits: int = 1, *, brief: bool = False) -> pd.DataFrame:
    """The main scores of every system and control: pooled P1, F1 of P2 and P3, and genre accuracy in percent, P4 differences, FAD,
    FAD to coded music and KAD. brief: intervals for P4 only."""
    rows = []
    for name, summary in systems.items():
        part = lambda protocol, s=summary: s.get(protocol, {})
        show = (lambda scores, key, d: number(scores.get(key), d)) if brief else cell
        row = {"system": name, "kind": summary["kind"]}
        for label, (protocol, key) in SCORES.items():
            row[label] = show(part(protocol), key, digits)
        for kind in [
            k for k in ("beats", "onsets", "rhythm") if any(p4_kind(s.get("P4", {}), k) for s in systems.values())
        ]:
            row[f"P4 own − other ({kind})"] = cell(p4_kind(part("P4"), kind) or {}, "difference", 3, sign=True)
        if any("fad" in s for s in systems.values()):
            row |= {
                "genre %": show(part("genre"), "accuracy", digits),
                "FAD": show(part("fad"), "fad", 2),
                "FAD∞": number(part("fad").get("fad_infinity"), 2),
            }
            row |= (
                {"FAD coded": show(part("fad"), "coded", 2)}
                if any("coded" in s.get("fad", {}) for s in systems.values())
                else {}
            )
            row |= {"KAD": show(part("kad"), "kad", 2)}
        rows.append(row)
    return pd.DataFrame(rows)


def audio_table(systems: Mapping[str, Mapping]) -> pd.DataFrame:
    """Loudness of every system and control, its difference from the clips' own music, spectral distance and, for a corpus, novelty."""
    rows = []
    for name, summary in systems.items():
        sound, novelty = summary.get("sound", {}), summary.get("novelty")
        row = {
            "system": name,
            "loudness LUFS": cell(sound, "lufs", 1),
            "difference LU": cell(sound, "loudness_difference_lu", 1),
        }
        row["log-mel distance dB"] = cell(sound, "log_mel_distance_db", 1)
        rows.append(row | ({"novelty": cell(novelty, "novelty", 2)} if novelty else {}))
    return pd.DataFrame(rows).fillna("–")


def codes_table(systems: Mapping[str, Mapping]) -> pd.DataFrame:
    """Systems over codes: level, power at multiples of the code rate relative to the reconstruction (`code_health.hum_share`), onsets
    relative to the ground truth, novelty and, if codes are stored, the longest run copied from a training clip."""
    rows = []
    for name, summary in systems.items():
        if codes := summary.get("codes"):
            row = {
                "system": name,
                "level": codes["level"],
                "power at the codes' rate ÷ reconstruction's": cell(codes, "hum_ratio", 2),
            }
            row |= {
                "onsets ÷ ground truth's": cell(summary.get("P4", {}), "onset_ratio", 2),
                "novelty": cell(summary.get("novelty", {}), "novelty", 2),
            }
            rows.append(row | {"longest copy s": number(codes.get("copied_seconds"), 2)})
    return pd.DataFrame(rows)


def rhythm_table(rhythm: Mapping[str, Mapping]) -> pd.DataFrame:
    """The stage rhythm itself: F-measure (±70 ms) of its beats and down-beats against the true ones, of own and other dances."""
    rows = []
    for name, scores in rhythm.items():
        row = {"rhythm": name, "own": cell(scores, "own", 3), "other": cell(scores, "other", 3)}
        rows.append(row | {"own − other": cell(scores, "difference", 3, sign=True)})
    return pd.DataFrame(rows)


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


def policy_line(summary: Mapping, protocol: str) -> str:
    """A note on how many clips have a reference without onsets, and how these are treated."""
    scores = summary[protocol]
    missing = scores["onsets_70ms"]["undefined"] if protocol == "P4" else scores["undefined"]
    unit = "clips" if protocol == "P4" else next((u for u in ("pieces", "segments") if u in scores), "clips")
    of = scores[unit]
    reason = "reference onsets, or other songs to compare with" if protocol == "P4" else "reference onsets"
    return f"{missing} of {of} {unit} have no {reason}" + (f": {UNDEFINED[protocol]}" if missing else "")


BLIND = ("shuffled ground truth", "random training song", "fixed click", "silence", "white noise")
"""Controls that ignore the dance."""


def control_note(metrics: Mapping, digits: int = 1) -> str:
    """A note on what the controls' scores show, in sentences that are derived from the numbers.

    metrics : from `evaluate`: 'systems' and, for a corpus, 'genre' and 'embedding'.
    """
    systems = metrics["systems"]
    models = {n: s for n, s in systems.items() if s["kind"] == "model"}
    sentences = [
        _saturation(systems, models, digits),
        _listening(systems, models),
        _coded(systems),
        *_embedded(metrics, digits),
    ]
    return "Controls: " + (" ".join(s for s in sentences if s) or "of so little nothing can be said.")


def baseline_note(systems: Mapping[str, Mapping]) -> str:
    """A note on each baseline: whether the whole interval of its P4 is above silence and white noise, and what it was trained on.
    Empty without baselines."""
    baselines = {n: s for n, s in systems.items() if s["kind"] == "baseline"}
    kind = reference_kind(systems)
    scores = lambda name: p4_kind(systems.get(name, {}).get("P4", {}), kind) or {}
    floor = {n: d for n in ("silence", "white noise") if (d := scores(n).get("difference")) is not None}
    sentences = []
    if floor:
        found = " and ".join(f"{n} is at {d:+.3f}" for n, d in floor.items())
        sentences.append(f"In P4 (own − other dances, {kind} ±70 ms) {found}.")
    for name, summary in baselines.items():
        text, own = name, scores(name)
        if floor and own.get("difference") is not None:
            low = own.get("difference_low", own["difference"])
            verdict = "beats" if low is not None and low > max(*floor.values(), 0.0) else "does not beat"
            text += f" is at {cell(own, 'difference', 3, sign=True)} and {verdict} {(' and ' if verdict == 'beats' else ' or ').join(floor)}"
        sentences.append(f"{text}: {summary['about']}." if "about" in summary else f"{text}.")
    return f"Baselines: {' '.join(sentences)}" if baselines else ""


def seed_note(systems: Mapping[str, Mapping]) -> str:
    """A note on the training seeds of the models; empty if unknown."""
    seeds = {}
    for name, summary in systems.items():
        if summary.get("seed") is not None:
            seeds.setdefault(summary["seed"], []).append(name)
    return " ".join(f"Training seed {seed}: {', '.join(names)}." for seed, names in sorted(seeds.items()))


def _embedded(metrics: Mapping, digits: int) -> list[str]:
    """Sentences on how genre accuracy and FAD are measured and what to compare them with."""
    if "embedding" not in metrics:
        return []
    facts, systems = metrics["genre"], metrics["systems"]
    if "declined" in facts:
        sentences = [f"No genre accuracy: {facts['declined']}."]
    else:
        own = systems.get("ground truth", {}).get("genre", {}).get("accuracy")
        text = (
            f"Genre accuracy is by the nearest of {facts['database_segments']} segments of 2 s of the {metrics['embedding']['database']}, with "
            f"{metrics['embedding']['label']}: chance {number(facts['chance'], digits)} %, always the commonest genre "
            f"{number(facts['majority'], digits)} %, ground truth {number(own, digits)} %."
        )
        sentences = [text]
    fads = {n: s["fad"] for n, s in systems.items() if "fad" in s}
    given = {n: f for n, f in fads.items() if f.get("fad") is not None}
    if given:
        f = next(iter(given.values()))
        text = f"FAD is to {f['reference_patches']} patches of the {metrics['embedding']['database']}, {f['patches']} of {next(iter(given))}, resampled to 16 kHz"
        sentences.append(
            text
            + (
                f", where the ground truth has {number(given['ground truth']['fad'], 2)}."
                if "ground truth" in given
                else "."
            )
        )
    if levels := sorted({f["coded_level"] for f in given.values() if f.get("coded_level")}):
        sentences.append(
            f"FAD coded is to training music coded and decoded at the system's level, {' or '.join(levels)}: nothing over codes can be nearer to music."
        )
    for key, what in (("declined", "FAD"), ("infinity_declined", "FAD∞")):
        reasons = sorted({f[key] for f in fads.values() if key in f})
        sentences += [f"No {what}: {reason}." for reason in reasons]
    return sentences


SATURATING = {"P1": ("hit_micro", "P1", "hit"), "P2": ("F1", "P2's F1", "F1"), "P3": ("F1", "P3's F1", "F1")}
"""Protocol -> (score that is compared with the controls, its name after 'in', its name after the protocol)."""


def _saturation(systems: Mapping, models: Mapping, digits: int) -> str:
    """A sentence that compares the best control that ignores the dance with the models, by P1's hit or, without P1, the F1 of P2 or
    P3."""
    protocol = next((p for p in SATURATING if any(p in s for s in systems.values())), "P1")
    key, place, thing = SATURATING[protocol]
    score = lambda s: s.get(protocol, {}).get(key)
    blind = {n: score(systems[n]) for n in BLIND if n in systems and score(systems[n]) is not None}
    scored = {n: score(s) for n, s in models.items() if score(s) is not None}
    if not blind or not scored:
        return ""
    best = max(blind, key=blind.get)
    beaten = [n for n, v in scored.items() if v <= blind[best]]
    verdict = (
        f"no lower than {len(beaten)} of {len(scored)} models, so a {protocol} {thing} up to there is no sign of listening to the dance"
        if beaten
        else f"below all {len(scored)} models"
    )
    return f"in {place}, the {best}, which has not seen the dance, {'hits' if protocol == 'P1' else 'is at'} {number(blind[best], digits)} %, {verdict}."


def _listening(systems: Mapping, models: Mapping) -> str:
    """A sentence on P4: the range of the controls that ignore the dance, and the models whose whole interval is above it."""
    kind = reference_kind(systems)
    found = {
        n: p for n, s in systems.items() if (p := p4_kind(s.get("P4", {}), kind)) and p.get("difference") is not None
    }
    blind = [found[n]["difference"] for n in BLIND if n in found]
    scored = [n for n in models if n in found]
    if not blind or not scored:
        return ""
    low = lambda p: p.get("difference_low", p.get("difference"))
    above = [n for n in scored if (bound := low(found[n])) is not None and bound > max(*blind, 0.0)]
    text = (
        f"In P4 (own − other dances, {kind} ±70 ms) those controls lie between {min(blind):+.3f} and {max(blind):+.3f}"
    )
    if "ground truth" in found:
        text += f" and the ground truth is at {found['ground truth']['difference']:+.3f}"
    text += f"; {len(above)} of {len(scored)} models are above every one of them and above 0 with their whole interval over clips"
    rest = [n for n in scored if n not in above]
    named = (
        f", all but {', '.join(rest)}."
        if 0 < len(rest) <= len(above) // 2
        else f": {', '.join(above)}."
        if above
        else "."
    )
    return text + named


def _coded(systems: Mapping) -> str:
    """A sentence on the P4 of the VQ reconstructions, which are limited by the codec only."""
    parts = []
    for name, summary in systems.items():
        p4 = p4_kind(summary.get("P4", {}), reference_kind(systems))
        if name.startswith("VQ reconstruction") and p4 and p4.get("difference") is not None:
            parts.append(f"{name.removeprefix('VQ reconstruction ')} {p4['difference']:+.3f}")
    return f"The ground truth coded and decoded again is there at: {', '.join(parts)}." if parts else ""
