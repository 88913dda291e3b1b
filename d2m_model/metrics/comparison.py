"""Compares systems: paired differences, the spread over seeds, and ranks with ties.

Systems are compared clip by clip. A difference has a bootstrap interval, for which both systems' clips are drawn together (Koehn,
2004, "Statistical significance tests for machine translation evaluation"), and p of the test that swaps the two systems' music
of a clip at random (Fisher's randomisation test; Noreen, 1989). Distances between sets of embeddings are not sums over clips;
their differences have the interval and p of the paired delete-one jackknife (Efron and Tibshirani, 1993).

A system `NAME/seedN` is one training of NAME; the scores of NAME are means over its seeds. Rows are from `scoring.score_system`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from d2m_model.metrics.bootstrap import resamples, with_intervals

SEEDED = re.compile(r"/(seed[ _-]?\d+)$")
"""End of the name of one training of a system: CDCD/seed0."""
CHANCE = 0.05
"""Differences with p below this are considered more than chance."""
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A score by which systems are compared."""

    name: str
    """Heading of its column."""
    better: str
    """'higher' or 'lower'."""
    digits: int
    sign: bool = False
    """Whether it is shown with its sign."""
    parts: Callable[[Row], tuple[float, float]] | None = None
    """row of a clip -> (numerator, denominator). The score is the sum of numerators divided by the sum of denominators."""
    place: tuple[str, str] = ("", "")
    """For a distance: its two keys in a system's summary. A clip's row has the distance without this clip as `<key>_without`."""


def _gain(kind: str) -> Measure:
    own, other = f"P4_{kind}_own", f"P4_{kind}_other"
    parts = lambda row: (row[own] - row[other], 1.0)
    return Measure(name=f"P4 own − other ({kind})", better="higher", digits=3, sign=True, parts=parts)


def _pooled_f1(protocol: str) -> Measure:
    both, generated, reference = (f"{protocol}_{part}" for part in ("both", "generated", "reference"))
    parts = lambda row: (200.0 * row[both], row[generated] + row[reference])
    return Measure(name=f"{protocol} F1 pooled %", better="higher", digits=1, parts=parts)


MEASURES = (
    _gain("beats"),
    _gain("onsets"),
    Measure(
        name="P1 hit %", better="higher", digits=1, parts=lambda row: (100.0 * row["P1_both"], row["P1_reference"])
    ),
    _pooled_f1("P2"),
    _pooled_f1("P3"),
    Measure(
        name="genre %",
        better="higher",
        digits=1,
        parts=lambda row: (100 * row["genre_right"] * row["segments"], row["segments"]),
    ),
    Measure(name="FAD", better="lower", digits=2, place=("fad", "fad")),
    Measure(name="FAD references", better="lower", digits=2, place=("fad", "references")),
    Measure(name="KAD", better="lower", digits=2, place=("kad", "kad")),
    Measure(name="log-mel distance dB", better="lower", digits=1, parts=lambda row: (row["log_mel_distance_db"], 1.0)),
)
"""In the order of the tables; the main one comes first."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A system's scores by one measure."""

    seeds: np.ndarray
    """(seeds,): the score of each seed; one score for a system without seeds."""
    parts: np.ndarray | None
    """(clips, 2): numerator and denominator, mean over seeds, nan if undefined; None for a distance."""
    without: Mapping[str, np.ndarray]
    """For a distance: {'': score without each clip (clips,), '_song': score without each clip's song (clips,)}."""

    @property
    def score(self) -> float:
        """The mean over seeds."""
        return float(self.seeds.mean())


def group_of(name: str) -> str:
    """'ours' for 'ours/seed0'; a name without a seed is returned unchanged."""
    return SEEDED.sub("", name)


def groups_of(names: Sequence[str]) -> dict[str, list[str]]:
    """{system: names of its seeds, or its own name}."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(group_of(name), []).append(name)
    return groups


def scored(
    measure: Measure, members: Sequence[str], rows: Mapping, summaries: Mapping, clips: Sequence[str]
) -> Scored | None:
    """A system's scores by a measure; None if undefined.

    members : names of its seeds. rows : name -> clip -> row. summaries : name -> summary. clips : all clips, sorted.
    """
    if measure.parts is None:
        part, key = measure.place
        seeds = np.array([summaries[m].get(part, {}).get(key, np.nan) for m in members], float)
        column = lambda kind: np.array(
            [[rows[m].get(c, {}).get(f"{key}{kind}_without", np.nan) for c in clips] for m in members], float
        ).mean(axis=0)
        return None if np.isnan(seeds).any() else Scored(seeds, None, {kind: column(kind) for kind in ("", "_song")})
    found = np.array([[_parts(measure, rows[m].get(c)) for c in clips] for m in members], float)
    with np.errstate(divide="ignore", invalid="ignore"):
        seeds = np.nansum(found[..., 0], axis=1) / np.nansum(found[..., 1], axis=1)
    return None if np.isnan(seeds).any() else Scored(seeds, found.mean(axis=0), {})


def _parts(measure: Measure, row: Row | None) -> tuple[float, float]:
    try:
        parts = measure.parts(row) if row is not None and measure.parts else (np.nan, np.nan)
    except KeyError:
        return np.nan, np.nan
    return parts if not np.isnan(parts).any() else (np.nan, np.nan)


def difference(a: Scored, b: Scored, songs: Sequence[str] | None, *, draws: int, seed: int) -> dict[str, float]:
    """{'difference': a minus b, 'low' and 'high' over clips, 'song_low' and 'song_high' over songs, 'p': two-sided, 'clips': number of
    common clips}; {} without common clips. Undefined bounds are absent. songs : song of each clip; None if unknown."""
    return (
        _of_distances(a, b, songs)
        if a.parts is None or b.parts is None
        else _of_sums(a.parts, b.parts, songs, draws, seed)
    )


def _of_sums(a: np.ndarray, b: np.ndarray, songs: Sequence[str] | None, draws: int, seed: int) -> dict[str, float]:
    known = ~np.isnan(a[:, 0] + b[:, 0])
    count = int(known.sum())
    if not count:
        return {}
    a, b = a[known], b[known]
    of = None if songs is None else tuple(song for song, kept in zip(songs, known, strict=True) if kept)
    ratio = lambda w, x: (w @ x[:, 0]) / (w @ x[:, 1])
    found = with_intervals(lambda w: {"difference": ratio(w, a) - ratio(w, b)}, count, _drawn(count, of, draws, seed))
    swap = _swaps(count, draws, seed)
    moved = swap @ (b - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        here, there = a.sum(axis=0) + moved, b.sum(axis=0) - moved
        permuted = np.abs(here[:, 0] / here[:, 1] - there[:, 0] / there[:, 1])
    p = float((~(permuted < permuted[0] - 1e-12)).mean())  # the first entry of `permuted` swaps nothing
    return {name.removeprefix("difference_"): value for name, value in found.items()} | {"p": p, "clips": count}


@lru_cache(maxsize=32)
def _drawn(clips: int, songs: tuple[str, ...] | None, draws: int, seed: int) -> dict[str, np.ndarray]:
    return resamples(clips, songs, draws=draws, seed=seed)


@lru_cache(maxsize=32)
def _swaps(clips: int, draws: int, seed: int) -> np.ndarray:
    """(swaps, clips): 1 where the music of a clip is swapped. All ways, if there are at most `draws`; the first swaps nothing."""
    if 2**clips <= draws:
        return (np.arange(2**clips)[:, None] >> np.arange(clips) & 1).astype(float)
    drawn = np.random.default_rng(seed).integers(0, 2, (draws, clips))
    return np.concatenate([np.zeros((1, clips)), drawn])


def _of_distances(a: Scored, b: Scored, songs: Sequence[str] | None) -> dict[str, float]:
    from scipy.stats import t

    found = {"difference": a.score - b.score}
    for kind in ("", "_song") if songs is not None else ("",):
        without = a.without[kind] - b.without[kind]
        if kind and songs is not None:
            without = np.array(list(dict(zip(songs, without, strict=True)).values()))
        without = without[~np.isnan(without)]
        if (count := len(without)) > 1:
            error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
            reach = float(t.ppf(0.975, count - 1)) * error
            kind = kind.removeprefix("_")
            names = (f"{kind}_low", f"{kind}_high") if kind else ("low", "high")
            found |= dict(zip(names, (found["difference"] - reach, found["difference"] + reach), strict=True))
            if not kind:
                far = abs(found["difference"])
                found |= {"p": float(2 * t.sf(far / error, count - 1)) if error else float(far == 0), "clips": count}
    return found


def wins(found: Mapping[str, float], better: str) -> bool:
    """Whether the first of two systems is better beyond chance: p is under 0.05, and the whole interval of the difference is on its
    side of 0, over clips and, if known, over songs. better : 'higher' or 'lower'."""
    ends = ("low", "song_low") if better == "higher" else ("high", "song_high")
    bounds = [found[end] for end in ends if end in found]
    return (
        bool(bounds)
        and found.get("p", 1.0) < CHANCE
        and all(bound > 0 if better == "higher" else bound < 0 for bound in bounds)
    )


def turned(found: Mapping[str, float]) -> dict[str, float]:
    """The result of `difference` for the systems in the other order."""
    names = {"low": "high", "high": "low", "song_low": "song_high", "song_high": "song_low"}
    swapped = {names.get(name, name): value for name, value in found.items()}
    return {name: value if name in ("p", "clips") else -value for name, value in swapped.items()}


def compare(
    summaries: Mapping[str, Mapping], rows: Sequence[Mapping], songs: Mapping[str, str] | None, *, draws: int, seed: int
) -> tuple[dict, list[dict]]:
    """Compare every pair of systems by every measure.

    summaries : name -> summary with its 'kind'. rows : of all systems, with 'system' and 'clip_id'. songs : clip -> song, or None.
    Returns ({'ranks': {measure: {system: {'rank', 'score', 'seeds'}}}, 'seeds': {system: {measure: {'mean', 'sd', 'min', 'max',
    'seeds'}}} of systems with several, 'differences': the pairs by the first measure}, all pairs: [{'measure', 'better', 'a', 'b',
    'a_score', 'b_score', and what `difference` gives}]). If there are two or more systems that are not controls, these are
    ranked: 1 plus the number of systems that are better beyond chance (`wins`). So systems that can't be told apart share a rank.
    """
    by_system: dict[str, dict[str, Row]] = {name: {} for name in summaries}
    for row in rows:
        by_system[row["system"]][row["clip_id"]] = row
    clips = sorted({c for found in by_system.values() for c in found})
    of = None if songs is None else [songs[c] for c in clips]
    groups = groups_of(list(summaries))
    ranked = [g for g, members in groups.items() if summaries[members[0]]["kind"] != "control"]
    pairs, ranks, seeds, first = [], {}, {}, None
    for measure in MEASURES:
        found = {g: s for g, members in groups.items() if (s := scored(measure, members, by_system, summaries, clips))}
        if not found:
            continue
        between = {}
        for a, b in combinations(found, 2):
            if between_them := difference(found[a], found[b], of, draws=draws, seed=seed):
                between[a, b], between[b, a] = between_them, turned(between_them)
                facts: dict[str, Any] = {"measure": measure.name, "better": measure.better, "a": a, "b": b}
                pairs.append(facts | {"a_score": found[a].score, "b_score": found[b].score} | between_them)
        first = first or measure.name
        mine = [g for g in ranked if g in found]
        if len(mine) > 1:
            better = lambda a, b, m=measure, between=between: (a, b) in between and wins(between[a, b], m.better)
            ranks[measure.name] = {
                g: {"rank": 1 + sum(better(h, g) for h in mine), "score": found[g].score, "seeds": len(found[g].seeds)}
                for g in mine
            }
        for g in (g for g in found if len(found[g].seeds) > 1):
            of_seeds = found[g].seeds
            spread = {"sd": float(of_seeds.std(ddof=1)), "min": float(of_seeds.min()), "max": float(of_seeds.max())}
            seeds.setdefault(g, {})[measure.name] = {"mean": found[g].score} | spread | {"seeds": len(of_seeds)}
    shown = [pair for pair in pairs if pair["measure"] == first and {pair["a"], pair["b"]} <= set(ranked)]
    return {"ranks": ranks, "seeds": seeds, "differences": shown}, pairs
