"""Tables of systems side by side: ranks, paired differences, and the spread over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from d2m_model.metrics.comparison import CHANCE, MEASURES
from d2m_model.metrics.overview import cell, number, p_text
from d2m_model.metrics.table_forms import Table, frame, heading

BY_NAME = {measure.name: measure for measure in MEASURES}
MOST_PAIRS = 15
"""Most pairs in the table. If there are more, it has only those with the first in rank."""


def rank_table(ranks: Mapping[str, Mapping[str, Mapping]]) -> pd.DataFrame:
    """A row for each ranked system, best first by the first measure. Cells are '1 (+0.504)': rank and score."""
    first = next(iter(ranks.values()))
    rows = []
    for system in sorted(first, key=lambda name: first[name]["rank"]):
        row = {"system": system}
        for name, found in ranks.items():
            m, its = BY_NAME[name], found.get(system)
            row[name] = f"{its['rank']} ({number(its['score'], m.digits, sign=m.sign)})" if its else "–"
        rows.append(row)
    return frame(rows)


def rank_note(systems: int) -> str:
    """A note on how this number of systems is ranked."""
    return (
        "Rank, and in brackets the score, the mean over seeds where there are several. A rank is 1 and the number of systems that are "
        f"better beyond chance: p of the pair is under {CHANCE:g}, and the whole 95 % interval of the paired difference says so, over "
        "clips and, where songs are known, over songs. Systems that can't be told apart share a rank. "
        f"{systems} systems are {systems * (systems - 1) // 2} pairs by each measure, and neither p nor an interval is corrected for that."
    )


def pair_table(pairs: Sequence[Mapping], ranks: Mapping[str, Mapping]) -> pd.DataFrame:
    """A row 'A − B' for each pair of systems, by one measure. pairs : 'differences' from `comparison.compare`. ranks : by this
    measure."""
    measure = BY_NAME[pairs[0]["measure"]]
    best = min(ranks, key=lambda name: ranks[name]["rank"], default=None)
    shown = pairs if len(pairs) <= MOST_PAIRS else [p for p in pairs if best in (p["a"], p["b"])]
    rows = []
    for pair in shown:
        row: dict[str, Any] = {"systems": f"{pair['a']} − {pair['b']}"}
        row["difference"] = cell({**pair, "difference_low": pair.get("low"), "difference_high": pair.get("high")}, "difference", measure.digits, sign=True)  # fmt: skip
        if pair.get("song_low") is not None:
            bounds = (number(pair[f"song_{end}"], measure.digits, sign=True) for end in ("low", "high"))
            row["over songs"] = f"[{', '.join(bounds)}]"
        rows.append(row | {"p of the pair": p_text(pair.get("p")), "clips": str(pair.get("clips", "–"))})
    return frame(rows)


PAIR_NOTE = (
    "The first system minus the second on the same clips; in brackets the paired bootstrap's 95 % interval over clips. p, two-sided, is "
    "of the test that swaps the two systems' music of a clip at random. Every pair by every measure is in comparisons.csv."
)


def seed_table(seeds: Mapping[str, Mapping[str, Mapping]]) -> pd.DataFrame:
    """A row for each system with several seeds: mean, sample standard deviation, lowest and highest."""
    rows = []
    for system, found in seeds.items():
        row = {"system": system, "seeds": str(max(its["seeds"] for its in found.values()))}
        for name, its in found.items():
            m = BY_NAME[name]
            show = lambda key, m=m, its=its, sign=None: number(
                its[key], m.digits, sign=m.sign if sign is None else sign
            )
            row[name] = f"{show('mean')} ± {show('sd', sign=False)} ({show('min')} to {show('max')})"
        rows.append(row)
    return frame(rows)


SEED_NOTE = "Mean ± sample standard deviation over seeds, and in brackets the lowest and highest. Other tables have a row for each seed."


def comparison_tables(metrics: Mapping) -> list[Table]:
    """Ranks, differences and seeds, as far as there is something to compare. metrics : from `evaluate`."""
    ranks, pairs, seeds, tables = metrics.get("ranks"), metrics.get("differences"), metrics.get("seeds"), []
    if ranks:
        cells = rank_table(ranks)
        tables.append(Table(name="ranks", title="Ranks with ties", cells=cells, note=rank_note(len(cells))))
    if ranks and pairs:
        name = pairs[0]["measure"]
        title = f"Paired differences of {heading(name)}"
        cells = pair_table(pairs, ranks[name])
        tables.append(Table(name="differences", title=title, cells=cells, note=PAIR_NOTE))
    if seeds:
        tables.append(Table(name="seeds", title="Spread over training seeds", cells=seed_table(seeds), note=SEED_NOTE))
    return tables
