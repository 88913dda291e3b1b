"""Tables that fit a page: at most eight columns, headings that say what is better; as Markdown, CSV and LaTeX."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

MOST = 8
"""Columns of a table that fit a page."""
NOT_THE_SAME = "Where the rows of a column do not stand on the same clips (pieces, in P3), each cell says on how many, such as (n 6)."
COUNTED = re.compile(r"\(n \d+\)$")
HIGHER, LOWER = "higher is better", "lower is better"
WORDS = {
    "coverage": "target 100",
    "hit": HIGHER,
    "genre": HIGHER,
    "coherence": HIGHER,
    "quality": HIGHER,
    "coverage %": "target 100",
    "coverage, mean of clips %": "target 100",
    "hit %": HIGHER,
    "hit, mean of clips %": HIGHER,
    "BCS %": HIGHER,
    "CSD %": LOWER,
    "BHS %": HIGHER,
    "HSD %": LOWER,
    "F1 %": HIGHER,
    "F1 pooled %": HIGHER,
    "tempo difference BPM": LOWER,
    "own": HIGHER,
    "other": "of a dance it was not made for",
    "own − other": HIGHER,
    "over songs": "95 % interval",
    "permuted": "what chance gives",
    "p": "under 0.05: more than chance",
    "tempo error BPM": LOWER,
    "envelope correlation": HIGHER,
    "its lag s": "target 0",
    "P1 coverage": "target 100",
    "P1 hit": HIGHER,
    "P1 hit %": HIGHER,
    "P2 F1": HIGHER,
    "P3 F1": HIGHER,
    "P2 F1 pooled %": HIGHER,
    "P3 F1 pooled %": HIGHER,
    "genre %": HIGHER,
    "FAD": LOWER,
    "FAD∞": LOWER,
    "FAD coded": LOWER,
    "FAD references": LOWER,
    "KAD": LOWER,
    "loudness LUFS": "target: the ground truth's",
    "difference LU": LOWER,
    "log-mel distance dB": LOWER,
    "novelty": "0: copied",
    "power at the codes' rate ÷ reconstruction's": "target 1",
    "onsets ÷ ground truth's": "target 1",
    "longest copy s": LOWER,
}
"""column -> what is better in it, or what to compare it with."""


def heading(column: str) -> str:
    """A column's name with what is better: 'FAD (lower is better)'. CSV files have the name only."""
    part, _, side = column.partition(": ")
    name = "own − other" if part.startswith("P4 own − other") else part
    words = WORDS.get(name) if side in ("", "ours", "paper") else None
    if not words:
        return column
    return f"{column}, {words}" if column.endswith(")") else f"{column} ({words})"


class Cell(NamedTuple):
    """A score as text, with the clips behind it."""

    text: str
    clips: object = None
    """(number of clips or pieces, names of clips left out); None if it doesn't matter."""


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table of texts from rows of texts and cells. If the cells of a column are not from the same clips, each says from how many."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: _counted([row.get(name, "–") for row in rows]) for name in columns})


def _counted(found: Sequence[str | Cell]) -> list[str]:
    cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in found]
    known = {str(cell.clips) for cell in cells if cell.clips is not None and cell.text != "–"}
    count = lambda clips: clips[0] if isinstance(clips, tuple) else clips
    return [
        f"{cell.text} (n {count(cell.clips)})"
        if len(known) > 1 and cell.clips is not None and cell.text != "–"
        else cell.text
        for cell in cells
    ]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its title and note."""

    name: str
    """Name of its files."""
    title: str
    cells: pd.DataFrame
    """Texts; the first column has the names of the rows."""
    note: str
    together: tuple[tuple[str, ...], ...] = ()
    """Groups of columns that stay in one part if they fit. Columns with one prefix before ': ' are a group by themselves."""

    @property
    def text(self) -> str:
        """The note; it explains '(n 6)' if a cell has it."""
        counted = any(COUNTED.search(cell) for cell in self.cells.to_numpy().ravel())
        return f"{NOT_THE_SAME}\n\n{self.note}" if counted else self.note

    def parts(self) -> list[pd.DataFrame]:
        """The table in parts of at most eight columns; each begins with the first column."""
        first, *columns = self.cells.columns
        groups: list[list[str]] = []
        for column in columns:
            kin = next(
                (set(g) for g in self.together if column in g), {c for c in columns if _word(c) == _word(column)}
            )
            if groups and kin & set(groups[-1]) and len(groups[-1]) < MOST - 1:
                groups[-1].append(column)
            else:
                groups.append([column])
        parts: list[list[str]] = []
        for group in groups:
            if parts and len(parts[-1]) + len(group) < MOST:
                parts[-1] += group
            else:
                parts.append(list(group))
        return [self.cells[[first, *part]] for part in parts or [[]]]


def _word(column: str) -> str:
    return column.partition(": ")[0] if ": " in column else column


def written(form: str, table: Table) -> str:
    """A table in one format: Markdown and LaTeX in parts, with title and note; CSV with the cells only, in one part."""
    if form == "csv":
        return table.cells.to_csv(index=False)
    parts = [part.rename(columns=heading) for part in table.parts()]
    if form == "md":
        shown = "\n\n(continued)\n\n".join(part.to_markdown(index=False, disable_numparse=True) for part in parts)
        return f"## {table.title}\n\n{shown}\n\n{table.text}\n"
    titles = [table.title] + [f"{table.title}, continued"] * (len(parts) - 1)
    notes = "\n\n".join(latex(part) for part in table.text.split("\n\n"))
    return "\n".join([PACKAGES, *map(_tabular, titles, parts), f"\n{notes}\n"])


PACKAGES = "% \\usepackage{booktabs,graphicx}"


def _tabular(title: str, part: pd.DataFrame) -> str:
    """A LaTeX table, scaled down if it is wider than the text."""
    line = lambda cells: " & ".join(_escaped(str(cell)) for cell in cells) + r" \\"
    fitting = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    rows = [line(row) for row in part.itertuples(index=False, name=None)]
    body = [r"\toprule", line(part.columns), r"\midrule", *rows, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    start = [
        r"\begin{table}[ht]",
        rf"\caption{{{latex(title)}}}",
        fitting,
        rf"\begin{{tabular}}{{{'l' * len(part.columns)}}}",
    ]
    return "\n".join(start + body)


SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: f"\\{c}" for c in "&%$#_{}"
}
TEX = {
    "−": "$-$", "±": r"$\pm$", "σ": r"$\sigma$", "∞": r"$_\infty$", "–": "--", "÷": r"$\div$", "<": "$<$", ">": "$>$",
    "|": "$|$", "…": r"\dots{}", "×": r"$\times$", "²": "$^2$",
}  # fmt: skip
"""Replacements of characters that pdfLaTeX does not have in text, or prints as others."""


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(c) or TEX.get(c, c) for c in text)


def latex(text: str) -> str:
    r"""Plain text for LaTeX: special characters escaped, `code` as \texttt."""
    parts = _escaped(text).split("`")
    return "".join(rf"\texttt{{{part}}}" if i % 2 else part for i, part in enumerate(parts))
