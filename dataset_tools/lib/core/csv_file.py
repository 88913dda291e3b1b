"""Read untrusted CSV text within limits (lib/core/limits.py): cells as strings, separated by comma, semicolon or tab.

Excel's separator depends on the computer's region: where the decimal mark is a comma, Excel separates cells by semicolons. It
may say so in a first line `sep=;`.
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
"""Rows from which the separator is detected."""


def detect_separator(text: str, known: Collection[str] = ()) -> str:
    """The separator of a CSV text: with `known` column names, the one that finds most of them in the first row; otherwise the one
    that gives the most rows the same number of cells. A comma if that does not decide."""
    if said := re.match(r"sep=(.)\r?\n", text):
        return said[1]
    heads = {mark: _first_rows(text, mark) for mark in SEPARATORS}
    if known:
        return max(SEPARATORS, key=lambda mark: len({name.strip() for name in (heads[mark] or [[]])[0]} & set(known)))
    return max(SEPARATORS, key=lambda mark: _score_widths(heads[mark]))


def _first_rows(text: str, separator: str) -> list[list[str]]:
    """The first rows, up to one that can't be read: text that is one overlong cell under one separator may be a row under another."""
    rows: list[list[str]] = []
    with suppress(ValueError):
        rows.extend(row for _, row in islice(iterate_rows(text, separator), SAMPLE_ROWS))
    return rows


def _score_widths(rows: list[list[str]]) -> tuple[int, int]:
    """(number of rows with the commonest number of cells, that number), counting only rows with more than one cell."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return max(((count, width) for width, count in widths.items()), default=(0, 0))


def iterate_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number as in a spreadsheet, cells) of each row that is not empty, without Excel's `sep=` line.

    Raises ValueError, one line, for unbalanced quotes, a cell of more than `CELL` letters, more than `CSV_ROWS` rows, or a NUL.
    """
    if "\0" in text:
        raise ValueError("not a text file: holds NUL")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for number, row in enumerate(reader, start=1):
            if number > CSV_ROWS:
                raise ValueError(f"more than {CSV_ROWS} rows; split the file")
            if number == 1 and re.match(r"sep=.\r?\n", text):
                continue
            if (longest := max(map(len, row), default=0)) > CELL:
                raise ValueError(
                    f"row {number}: a cell of {longest} letters, at most {CELL} are read; is a quote not closed?"
                )
            if row:
                yield number, row
    except csv.Error as err:
        raise ValueError(f"row {reader.line_num}: not CSV: {err}; is a quote not closed?") from None
