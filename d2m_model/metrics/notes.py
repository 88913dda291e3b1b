"""Notes under the tables, derived from the numbers: what the controls, the baselines and chance show."""

from collections.abc import Mapping

from d2m_model.metrics.comparison import CHANCE
from d2m_model.metrics.overview import cell, number, p4_kind, reference_kind

UNDEFINED = {
    "P1": "left out of the means of clips; in the pooled ratios they add what was generated",
    "P2": "their recall counts as 0",
    "P3": "their recall counts as 0",
    "P4": "left out",
}
"""Protocol -> how clips (in P3: pieces) whose reference has no onsets are treated."""


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
        _permuted(systems, models),
        _coded(systems),
        *_embedded(metrics, digits),
    ]
    return "Controls: " + (" ".join(s for s in sentences if s) or "there are too few scores for a statement.")


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
    if any(f.get("references") is not None for f in fads.values()):
        sentences.append("FAD references is to the dances' own music, all of it at once.")
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
    best = max(blind, key=blind.__getitem__)
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
    unseeing = [n for n in BLIND if n in found]
    blind = [found[n]["difference"] for n in unseeing]
    scored = [n for n in models if n in found]
    if not blind or not scored:
        return ""
    low = lambda p: p.get("difference_low", p.get("difference"))
    above = [n for n in scored if (bound := low(found[n])) is not None and bound > max(*blind, 0.0)]
    text = (
        f"In P4 (own − other dances, {kind} ±70 ms) the controls that have not seen the dance ({', '.join(unseeing)}) lie between "
        f"{min(blind):+.3f} and {max(blind):+.3f}"
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


def _permuted(systems: Mapping, models: Mapping) -> str:
    """A sentence on P4 by chance: which models, and which controls that ignore the dance, follow the dances more than chance."""
    kind = reference_kind(systems)
    p = {
        n: found["p"]
        for n, s in systems.items()
        if (found := p4_kind(s.get("P4", {}), kind)) and found.get("p") is not None
    }
    scored, blind = [n for n in models if n in p], [n for n in BLIND if n in p]
    if not scored:
        return ""
    under = lambda names: [n for n in names if p[n] < CHANCE]
    share = lambda names, what: (
        f"{len(under(names))} of {len(names)} {what}{': ' if under(names) else ''}{', '.join(under(names))}"
    )
    text = (
        "p is the share of random permutations of a system's own music over the dances in which it follows the dances no worse than as "
        f"it was made; p is under {CHANCE:g} for {share(scored, 'models')}"
    )
    return text + (f", and for {share(blind, 'controls that have not seen the dance')}." if blind else ".")


def _coded(systems: Mapping) -> str:
    """A sentence on the P4 of the VQ reconstructions, which are limited by the codec only."""
    parts = []
    for name, summary in systems.items():
        p4 = p4_kind(summary.get("P4", {}), reference_kind(systems))
        if name.startswith("VQ reconstruction") and p4 and p4.get("difference") is not None:
            parts.append(f"{name.removeprefix('VQ reconstruction ')} {p4['difference']:+.3f}")
    return f"In P4 the ground truth coded and decoded again is at: {', '.join(parts)}." if parts else ""
