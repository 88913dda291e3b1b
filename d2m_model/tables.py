"""The paper's Tables 1 to 6 with its numbers beside ours, and a table of every system and control that was scored.

    python -m d2m_model.tables --corpus demo

Ours are protocol P1, pooled (micro), because the paper's numbers fit a pooled count. The paper's rows are measured on
AIST++ (Tables 1, 3 to 6) and TikTok (Table 2): on any other corpus the difference compares unlike things, and the note
under the table says so. Nothing here is typed by hand but the paper's own numbers, in paper_tables.csv.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from d2m_model.metrics import overview
from dataset_tools.base.atomic import write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require

PAPER = Path(__file__).with_name("paper_tables.csv")
CAPTIONS = {
    1: "Main comparison",
    2: "Modalities, TikTok",
    3: "Sequence length",
    4: "Modalities",
    5: "Architecture",
    6: "Losses",
}
PAPER_CORPUS = {1: "aistpp", 2: "tiktok", 3: "aistpp", 4: "aistpp", 5: "aistpp", 6: "aistpp"}


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `tables` of params.yaml."""

    digits: int = 1
    """Decimals of percentages."""

    def __post_init__(self):
        require(0 <= self.digits <= 6, f"digits must be 0 to 6, found {self.digits}")


def system_of(row: pd.Series) -> str:
    """Name in metrics.json of a row of the paper's tables."""
    return f"{row.level}-{row.variant}" if row.level else row.variant


def paper_table(number: int, systems: dict, digits: int) -> tuple[pd.DataFrame, list[str]]:
    """(table, systems not run). Columns: the paper's coverage / hit, ours with its 95 % interval, the difference."""
    paper = pd.read_csv(PAPER, dtype=str, keep_default_na=False)
    rows, missing = [], []
    for _, row in paper[paper.table == str(number)].iterrows():
        name = system_of(row)
        record = {"method": row.method}
        record |= {f"paper {k}": row[k] or "–" for k in ("coverage", "hit", "genre", "coherence", "quality") if _used(paper, number, k)}
        scores = systems.get(name, {}).get("P1")
        if scores is None:
            missing.append(name)
        for key in ("coverage", "hit"):
            if scores is None or scores.get(f"{key}_micro") is None:
                record |= {f"our {key}": "not run", f"{key} − paper": ""}
                continue
            value, low, high = (scores.get(f"{key}_micro{s}") for s in ("", "_low", "_high"))
            interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if low is not None else ""
            record[f"our {key}"] = f"{value:.{digits}f}{interval}"
            record[f"{key} − paper"] = f"{value - float(row[key]):+.{digits}f}" if row[key] else ""
        found = overview.p4_kind(systems.get(name, {}).get("P4", {}), overview.reference_kind(systems))
        record["our P4 difference"] = overview.cell(found, "difference", 3, sign=True) if found else "not run"
        rows.append(record)
    return pd.DataFrame(rows), missing


def _used(paper: pd.DataFrame, number: int, column: str) -> bool:
    return bool((paper[paper.table == str(number)][column] != "").any())


def note(number: int, corpus: str, missing: list[str]) -> str:
    """The paragraph under a paper table: what may be compared, and how to run what is missing."""
    text = "Ours: protocol P1, pooled over clips, with bootstrap 95 % intervals. "
    if corpus != PAPER_CORPUS[number]:
        text += f"The paper measured {PAPER_CORPUS[number]}; ours is {corpus}, so the differences compare different music. "
    ours = [m for m in missing if "-" in m]
    if ours:
        names = ", ".join(sorted({m.split("-", 1)[1] for m in ours}))
        text += (
            f"Not run: {', '.join(ours)}. Add {names} to `variants` in params.yaml and run "
            "`dvc repro`. "
        )
    return text


def main(argv: list[str] | None = None) -> int:
    args = stage_parser("d2m_model.tables", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "tables", Params)
    path = layout.stage("evaluate") / "metrics.json"
    if not path.exists():
        raise UserError(f"{path}: not there; run `python -m d2m_model.evaluate --corpus {layout.corpus}` first")
    systems = json.loads(path.read_text())["systems"]
    known = systems | {"vq_reconstruction": next((s for n, s in systems.items() if n.startswith("VQ")), {})}
    out = layout.stage("tables")
    every = overview.systems_table(systems, params.digits)
    written = [("systems", "All systems and controls", every, overview.control_note(systems, params.digits))]
    for number, caption in CAPTIONS.items():
        table, missing = paper_table(number, known, params.digits)
        written.append((f"table{number}", f"Table {number}: {caption}", table, note(number, layout.corpus, missing)))
    for name, title, table, text in written:
        write_text(out / f"{name}.md", f"## {title}\n\n{table.to_markdown(index=False, disable_numparse=True)}\n\n{text}\n")
        write_text(out / f"{name}.csv", table.to_csv(index=False))
        write_text(out / f"{name}.tex", table.style.hide(axis="index").format(escape="latex").to_latex(hrules=True, caption=title))
    say("tables", f"Tables 1 to 6 and the overview as md, csv and tex in {out}")
    return 0


if __name__ == "__main__":
    run(main)
