"""Files and texts of the scores: JSON, CSV with a row per clip, system or pair of systems, and tables."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from d2m_model.evaluate.all_systems import Result
from d2m_model.metrics import notes, overview
from d2m_model.metrics.comparison_tables import comparison_tables
from d2m_model.metrics.every_table import every_table, overview_table
from d2m_model.metrics.table_forms import Table, written
from dataset_tools.lib.core.atomic import write_text

FORMS = ("md", "csv", "tex")


def rounded(value, digits: int = 6):
    """Nested dicts and lists with rounded numbers, and None for nan: valid JSON with the same bytes on every run."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    if isinstance(value, float):
        return round(value, digits) if np.isfinite(value) else None
    return value


def as_json(value) -> str:
    """JSON text of nested dicts and lists, rounded by `rounded`."""
    return json.dumps(rounded(value), indent=2, allow_nan=False) + "\n"


def table_text(rows: Sequence[Mapping]) -> str:
    """Rows as CSV; missing columns of a row are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for r in rows for k in r)), lineterminator="\n")
    writer.writeheader()
    writer.writerows([rounded(dict(r)) for r in rows])
    return text.getvalue()


def write_scores(folder: Path, metrics: Mapping, result: Result) -> None:
    """Write metrics.json, per_clip.csv, systems.csv (the overview's numbers) and comparisons.csv (all pairs by all measures)."""
    write_text(folder / "per_clip.csv", table_text(result.rows))
    write_text(folder / "comparisons.csv", table_text(result.pairs))
    of_system = [{"system": n, "kind": s["kind"]} | overview.headline(s) for n, s in result.systems.items()]
    write_text(folder / "systems.csv", table_text(of_system))
    write_text(folder / "metrics.json", as_json(metrics))


def write_tables(folder: Path, metrics: Mapping) -> None:
    """Write every table as Markdown, CSV and LaTeX."""
    for table in every_table(rounded(metrics)):
        for form in FORMS:
            write_text(folder / f"{table.name}.{form}", written(form, table))


def printed(table: Table) -> list[str]:
    """Lines to print: the title, and the cells in parts."""
    return [table.title, *[part.to_string(index=False) for part in table.parts()]]


def as_text(metrics: Mapping, protocols: tuple[str, ...]) -> str:
    """Tables of all systems as text, each with a note on undefined clips, and the note on the controls at the end."""
    songs = f"{metrics['songs']} songs" if metrics["songs"] else "songs unknown: no intervals over songs"
    lines = [
        f"{metrics['clips']} clips, {songs}; in brackets bootstrap 95 % intervals over clips",
        *metrics.get("remarks", []),
        "",
    ]
    systems = metrics["systems"]
    if "embedding" in metrics:
        lines += [*printed(overview_table(systems, brief=True)), ""]
    for table in comparison_tables(metrics):
        lines += [*printed(table), table.text, ""]
    for protocol in protocols:
        for name, title, cells in overview.protocol_tables(systems, protocol):
            table = Table(name=name, title=title, cells=cells, note="")
            lines += [*printed(table), *([table.text] if table.text else []), ""]
        lines[-1:] = [notes.policy_line(next(iter(systems.values())), protocol), ""]
    if any("sound" in s for s in systems.values()):
        lines += [*printed(Table(name="", title="Audio", cells=overview.audio_table(systems), note="")), ""]
    return "\n".join([*lines, notes.control_note(metrics)])
