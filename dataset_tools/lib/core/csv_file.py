"""CSV that someone else wrote, within limits (lib/core/limits.py): cells as texts, whichever of comma, semicolon and tab parts them.

Excel writes what the computer's region says: with a decimal comma it parts cells by semicolons. A first line `sep=;` is
Excel's way to say so.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice

from dataset_tools.lib.core.limits import CELL, CSV_ROWS

SEPARATORS = ",;\t"
SAMPLE_ROWS = 20
"""Rows that tell the separator."""


def detect_separator(text: str, known: Collection[str] = ()) -> str:
    """What parts the cells of a CSV text: the separator under which the first row has most of the names `known`, else the one
    that gives most rows one number of cells; a comma where that does not tell."""
    if said := re.match(r"sep=(.)\r?\n", text):
        return said[1]
    heads = {mark: _first_rows(text, mark) for mark in SEPARATORS}
    if known:
        return max(SEPARATORS, key=lambda mark: len({name.strip() for name in (heads[mark] or [[]])[0]} & set(known)))
    return max(SEPARATORS, key=lambda mark: _score_widths(heads[mark]))


def _first_rows(text: str, separator: str) -> list[list[str]]:
    """The first rows, as far as they can be read: what is one long cell under one separator is a row under another."""
    rows: list[list[str]] = []
    with suppress(ValueError):
        rows.extend(row for _, row in islice(iterate_rows(text, separator), SAMPLE_ROWS))
    return rows


def _score_widths(rows: list[list[str]]) -> tuple[int, int]:
    """(rows that have the commonest number of cells, that number), of those with more than one."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return max(((count, width) for width, count in widths.items()), default=(0, 0))


def iterate_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(row number as a spreadsheet counts, its cells) of the rows that are not empty, without Excel's `sep=` line.

    Raises ValueError, one line: quotes that csv can't read, a cell of more than `CELL` letters, more than `CSV_ROWS` rows, a
    NUL.
    """
    if "\0" in text:
        raise ValueError("not a text file: holds NUL")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for number, row in enumerate(reader, start=1):
            if number > CSV_ROWS:
                raise ValueError(f"more than {CSV_ROWS} rows; give it in parts")
            if number == 1 and re.match(r"sep=.\r?\n", text):
                continue
            if long := next((cell for cell in row if len(cell) > CELL), ""):
                raise ValueError(
                    f"row {number}: a cell of {len(long)} letters, at most {CELL} are read; is a quote left open?"
                )
            if row:
                yield number, row
    except csv.Error as err:
        raise ValueError(f"row {reader.line_num}: not CSV: {err}; is a quote left open?") from None
