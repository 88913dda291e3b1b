"""The stage `tables`: the paper's tables, with its numbers beside ours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from d2m_model.metrics import notes, overview
from d2m_model.metrics.every_table import every_table
from d2m_model.metrics.table_forms import Table, frame, written
from d2m_model.nets.variants import VARIANTS
from d2m_model.tables.columns import BASELINES, MEASURES, OPINIONS, STAND_INS
from d2m_model.tables.params import FORMS, Params
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout

PAPER = Path(__file__).with_name("paper_tables.csv")
CAPTIONS = {
    1: "Main comparison",
    2: "Modalities, TikTok",
    3: "Sequence length",
    4: "Modalities",
    5: "Architecture",
    6: "Losses",
}
"""Number of a table of the paper -> its caption."""
PAPER_CORPUS = {1: "aistpp", 2: "tiktok", 3: "aistpp", 4: "aistpp", 5: "aistpp", 6: "aistpp"}


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of `evaluate` and `listen`."""

    metrics: Mapping
    """From `evaluate`."""
    opinions: Mapping
    """{'coherence', 'quality': {system: {'mos', 'low', 'high'}}, 'split', 'raters'} of `listen`; empty without a
    listening test."""

    @property
    def systems(self) -> Mapping[str, Mapping]:
        """System -> its summary."""
        return self.metrics["systems"]

    def value(self, system: str, measure: str) -> tuple[float, float | None, float | None] | None:
        """(value, low, high) of one cell; None if it was not measured. Undefined bounds are None."""
        if measure in OPINIONS:
            found = self.opinions.get(measure, {}).get(system, {})
            names = ("mos", "low", "high")
        else:
            protocol, key = ("genre", "accuracy") if measure == "genre" else ("P1", f"{measure}_micro")
            found = self.systems.get(system, {}).get(protocol, {})
            names = (key, f"{key}_low", f"{key}_high")
        value, low, high = (found.get(name) for name in names)
        return None if value is None else (value, low, high)


def paper_rows(number: int, results: Results) -> pd.DataFrame:
    """The paper's rows of one table as texts; `system` is the name of our corresponding system in `evaluate`."""
    paper = pd.read_csv(PAPER, dtype=str, keep_default_na=False)
    rows = paper[paper.table == str(number)].reset_index(drop=True)
    return rows.assign(
        system=[f"{r.level}-{r.variant}" if r.level else ours(r.variant, results) for r in rows.itertuples()]
    )


def ours(variant: str, results: Results) -> str:
    """The name of our system for a row of the paper that is not a model."""
    names = STAND_INS.get(variant, (variant,))
    return next((name for name in names if name in results.systems), names[-1])


def cells(number: int, results: Results) -> pd.DataFrame:
    """One table in long form: a row for each system and measure, with columns paper, ours, low, high and difference (ours minus
    paper), nan if unknown. After the paper's rows come the controls and, in Table 1, all other baselines and the systems of others."""
    rows = paper_rows(number, results)
    used = [m for m in MEASURES if (rows[m] != "").any()]
    listed = [
        (
            f"{r.method} (ours: {r.system})" if r.variant in STAND_INS else r.method,
            r.system,
            {m: float(getattr(r, m)) for m in used if getattr(r, m)},
        )
        for r in rows.itertuples()
    ]
    kinds = ("control", "baseline") if number == 1 else ("control",)
    more = [n for n, s in results.systems.items() if s["kind"] in kinds and n not in set(rows.system)]
    records = []
    for method, system, theirs in listed + [(n, n, {}) for n in more]:
        for measure in used:
            ours, low, high = results.value(system, measure) or (None, None, None)
            paper = theirs.get(measure)
            difference = ours - paper if ours is not None and paper is not None else None
            found = {"paper": paper, "ours": ours, "low": low, "high": high, "difference": difference}
            records.append({"table": number, "method": method, "system": system, "measure": measure} | found)
    return pd.DataFrame(records)


def paper_table(number: int, results: Results, digits: int) -> pd.DataFrame:
    """One table in readable form: for each measure the paper's number, ours with its 95 % interval, and the difference."""
    known = overview.reference_kind(results.systems)
    rows = []
    for (method, system), part in cells(number, results).groupby(["method", "system"], sort=False):
        record = {"method": method}
        for c in part.astype(object).where(part.notna(), None).itertuples():
            d = max(1, digits) if c.measure in OPINIONS else digits
            ours = overview.cell({"x": c.ours, "x_low": c.low, "x_high": c.high}, "x", d)
            record[f"{c.measure}: paper"] = overview.number(c.paper, 1)
            record[f"{c.measure}: ours"] = "not run" if c.ours is None else ours
            record[f"{c.measure}: difference"] = overview.number(c.difference, d, sign=True)
        p4 = overview.p4_kind(results.systems.get(system, {}).get("P4", {}), known)
        record["P4 own − other: ours"] = overview.counted(p4, "difference", 3, sign=True) if p4 else "not run"
        rows.append(record)
    return frame(rows)


def note(number: int, corpus: str, results: Results, digits: int) -> str:
    """The paragraphs under a table of the paper: what may be compared, how to fill missing cells, and the note on the controls."""
    first = next(iter(results.systems.values()), {})
    pooled, asked = first.get("P1", {}).get("segments"), first.get("genre", {}).get("segments")
    text = f"Ours: protocol P1, pooled over {f'{pooled} segments of 2 s' if pooled else 'clips'}; genre accuracy by retrieval"
    text += f" of {asked} segments of 2 s" if asked else ""
    text += "; in brackets bootstrap 95 % intervals over clips; those over songs are in systems.md and in P4's tables. "
    if corpus != PAPER_CORPUS[number]:
        text += (
            f"The paper measured {PAPER_CORPUS[number]}; ours is {corpus}, so the differences compare different music. "
        )
    found = cells(number, results)
    table = paper_rows(number, results)
    missing = [s for s in table.system if s not in results.systems and s not in BASELINES]
    if missing:
        text += f"Not run: {', '.join(missing)}; {remedy(corpus, missing)} "
    if unheard := [s for s in table.system if s not in results.systems and s in BASELINES]:
        text += f"Not run: {', '.join(unheard)}; name {'it' if len(unheard) == 1 else 'them'} in `systems` of params.yaml and run `dvc repro tables`. "
    for name in sorted({r.variant for r in table.itertuples()} & set(VARIANTS)):
        for preset, reason in VARIANTS[name].same.items():
            text += f"In the preset {preset}, {name} is full once more: {reason}. "
    if "coherence" in set(found.measure):
        text += f"{opinion_note(corpus, results)} "
    text += "A dash is a number that the paper does not give or that cannot be had."
    baselines = notes.baseline_note(results.systems) if set(table.variant) & set(BASELINES) else ""
    parts = (text, notes.seed_note(results.systems), baselines, notes.control_note(results.metrics, digits))
    return "\n\n".join(part for part in parts if part)


def opinion_note(corpus: str, results: Results) -> str:
    """A note on the listening test: who rated what, or how to run one."""
    opinions = results.opinions
    if not any(opinions.get(o) for o in OPINIONS):
        return f"Coherence and quality: `python -m d2m_model.listen --corpus {corpus}`, then `--results` and this command again."
    people = opinions.get("raters", {}).get("kept")
    text = f"Coherence and quality: mean opinion scores 1 to 5 of {people} raters, brackets from a crossed bootstrap of raters and clips"
    if opinions.get("split") and opinions["split"] != results.metrics.get("split", opinions["split"]):
        text += (
            f", on clips of the {opinions['split']} split, where the other columns are of {results.metrics['split']}"
        )
    return text + "."


def remedy(corpus: str, systems: list[str]) -> str:
    """The commands that train, generate and score systems `<level>-<variant>`; controls come with their levels."""
    if corpus == "demo":
        return "`cp presets/demo-ablations.yaml params.yaml && dvc repro tables` runs every variant."
    levels, variants = (", ".join(dict.fromkeys(s.split("-", 1)[part] for s in systems if "-" in s)) for part in (0, 1))
    return f"name {variants} in `variants` and {levels} in `levels` of params.yaml and run `dvc repro tables`."


def read_results(layout: Layout) -> Results:
    """metrics.json of `evaluate`, and mos.json of `listen` if it exists. UserError for a missing metrics.json or a damaged file."""
    path = layout.stage("evaluate") / "metrics.json"
    if not path.exists():
        raise UserError(f"{path}: not there; run `python -m d2m_model.evaluate --corpus {layout.corpus}` first")
    path_of_mos = layout.stage("listen") / "mos.json"
    try:
        metrics = json.loads(path.read_text())
        opinions = json.loads(path_of_mos.read_text()) if path_of_mos.exists() else {}
    except ValueError as err:
        raise UserError(
            f"{path} or {path_of_mos.name}: not JSON ({err}); run the command that writes it again"
        ) from None
    return Results(metrics=metrics, opinions=opinions)


def make_tables(layout: Layout, params: Params, results: Results) -> list[Table]:
    """Write runs/<corpus>/tables, every table in each of `FORMS` and all numbers of the paper's tables in cells.csv; returns the
    tables."""
    out, tables = layout.stage("tables"), every_table(results.metrics, params.digits)
    for number, caption in CAPTIONS.items():
        text = note(number, layout.corpus, results, params.digits)
        table = paper_table(number, results, params.digits)
        tables.append(Table(name=f"table{number}", title=f"Table {number}: {caption}", cells=table, note=text))
    for table in tables:
        for form in FORMS:
            write_text(out / f"{table.name}.{form}", written(form, table))
    every = pd.concat([cells(number, results) for number in CAPTIONS], ignore_index=True)
    write_text(out / "cells.csv", every.round(6).to_csv(index=False))
    return tables
