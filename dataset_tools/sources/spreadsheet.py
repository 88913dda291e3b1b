"""Read an untrusted spreadsheet, CSV or XLSX: every cell as text, and its hyperlinks.

Nothing in a sheet is executed or followed. Formulas give the value that was saved with the file, links and macros are not
opened, and sizes are checked before anything is unpacked.
"""

import codecs
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import islice, product
from pathlib import Path

from dataset_tools.lib.core.csv_file import detect_separator, iterate_rows
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import (
    SHEET_BYTES,
    SHEET_CELL,
    SHEET_COLUMNS,
    SHEET_PART,
    SHEET_PARTS,
    SHEET_ROWS,
    SHEET_STRINGS,
    SHEET_UNPACKED,
    read_bytes,
)
from dataset_tools.lib.core.names import to_nfc

HIDDEN = re.compile(r'"[^"]*"|\\.|\[(?!h+\]|m+\]|s+\])[^\]]*\]|;.*', re.IGNORECASE | re.DOTALL)
"""Parts of a number format that show nothing of a time: quoted text, colour and locale, further sections."""
BRACKETS = re.compile(r"\[[^\]]*\]")
COLON = re.compile(r'[0#?](?:\\:|"\s*:\s*"|:)[0#?]')
"""A colon between two digits of a number: 115 is shown as 1:15."""
HOURS = re.compile(r'h\]?\s*(?:"\s*h|\\h)', re.IGNORECASE)
"""A format that says that its hours are hours: h"h" mm"m"."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The cells of one sheet."""

    name: str
    """Name of the sheet in the file; empty for CSV."""
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """(row number as in a spreadsheet, cells) of every row that is not empty."""
    others: tuple[str, ...] = ()
    """Names of the other sheets of the file."""
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """(row number, column index) -> web address of the cell's hyperlink."""


def read_sheet(path: Path, name: str = "") -> Sheet:
    """Read the sheet called `name` of an .xlsx file (default: the first), or a .csv, .tsv or .txt file.

    CSV may be UTF-8, UTF-16 with a byte order mark, or Windows-1252, separated by comma, semicolon or tab.

    Raises UserError for a missing file, another format, a file that is too large or damaged, a missing sheet and an empty sheet.
    """
    path = Path(path)
    data = read_bytes(path, SHEET_BYTES)
    if data.startswith(b"PK"):
        sheet = _read_xlsx(path, data, name)
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        if name:
            raise UserError(f"{path}: --sheet {name}: a CSV file has no sheets")
        sheet = Sheet(name="", rows=_clean_rows(path, _read_csv(path, data)))
    else:
        raise UserError(f"{path}: neither .csv nor .xlsx; save the sheet as one of them")
    if not sheet.rows:
        others = f"; read another with --sheet: {', '.join(sheet.others)}" if sheet.others else ""
        raise UserError(f"{path}: {f'the sheet {sheet.name!r}' if sheet.name else 'the file'} is empty{others}")
    return sheet


def _clean_rows(path: Path, rows) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Clean the cells of numbered rows and drop empty cells at the end and empty rows, within the limits."""
    kept = []
    for number, row in rows:
        cells = [clean_text(cell, SHEET_CELL) for cell in row[:SHEET_COLUMNS]]
        while cells and not cells[-1]:
            cells.pop()
        if cells and number > SHEET_ROWS:
            raise UserError(f"{path}: more than {SHEET_ROWS} rows; import it in parts")
        if cells:
            kept.append((number, tuple(cells)))
    return tuple(kept)


def clean_text(text: str, letters: int = 60) -> str:
    """The text on one line, without control characters (which a terminal would execute), cut to `letters` letters."""
    clean = "".join(c if c.isprintable() else " " for c in text[: 4 * letters])
    clean = " ".join(to_nfc(clean).split())
    return clean if len(clean) <= letters else clean[: letters - 1] + "…"


def _read_csv(path: Path, data: bytes):
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        text = data.decode("utf-16" if data.startswith(marks) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    try:
        yield from iterate_rows(text, detect_separator(text))
    except ValueError as err:
        raise UserError(f"{path}: {err}") from None


def _read_xlsx(path: Path, data: bytes, name: str) -> Sheet:
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            inside = parts.infolist()
        _check_parts(path, inside)
        book = openpyxl.load_workbook(
            io.BytesIO(data), read_only=True, data_only=True, keep_links=False, rich_text=False
        )
        names = [sheet.title for sheet in book.worksheets]
        if not names or (name and name not in names):
            raise UserError(f"{path}: no sheet {name!r}; it has {', '.join(map(clean_text, names)) or 'none'}")
        name = name or names[0]
        sheet = book[name]
        sheet.reset_dimensions()  # the dimensions in the file may be wrong
        unsaved = _find_unsaved_formulas(data, book, name)
        cells = (
            [_cell_text(cell.value, cell.number_format if cell.value is not None else "", book.epoch) for cell in row]
            for row in _iterate_rows(sheet)
        )
        rows = _clean_rows(
            path,
            (
                (number, [unsaved.get((number, at), text) for at, text in enumerate(row)])
                for number, row in enumerate(cells, start=1)
            ),
        )
        links = _read_links(data, book, name)
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - a damaged or hostile file makes openpyxl raise almost anything
        raise UserError(f"{path}: not a readable .xlsx file: {clean_text(str(err)) or type(err).__name__}") from None
    return Sheet(name=name, rows=rows, others=tuple(clean_text(n) for n in names if n != name), links=links)


def _check_parts(path: Path, parts: list[zipfile.ZipInfo]) -> None:
    """Raise UserError for an XLSX file that would take too much time or memory to unpack."""
    opened = [part for part in parts if not part.filename.lower().startswith("xl/media/")]
    if len(parts) > SHEET_PARTS:
        raise UserError(f"{path}: {len(parts)} parts; an annotation sheet has at most {SHEET_PARTS}")
    if (unpacked := sum(part.file_size for part in opened)) > SHEET_UNPACKED:
        raise UserError(f"{path}: unpacks to {unpacked} bytes; an annotation sheet has at most {SHEET_UNPACKED}")
    for part in opened:
        name = part.filename.lower()
        most = SHEET_UNPACKED if "worksheets/" in name else SHEET_STRINGS if "sharedstrings" in name else SHEET_PART
        if part.file_size > most:
            raise UserError(
                f"{path}: its part {clean_text(part.filename)} unpacks to {part.file_size} bytes; at most {most} are read"
            )


def _iterate_rows(sheet) -> Iterable[tuple]:
    """Yield the rows of cells. After the last row openpyxl may fail on a hyperlink without a cell, which is ignored."""
    try:
        yield from sheet.iter_rows(max_row=SHEET_ROWS + 1, max_col=SHEET_COLUMNS)
    except TypeError as err:
        if "Hyperlink" not in str(err):
            raise


def _read_links(data: bytes, book, name: str) -> dict[tuple[int, int], str]:
    """`Sheet.links` of a sheet; openpyxl does not read them when it reads row by row."""
    from openpyxl.packaging.relationship import get_dependents, get_rels_path
    from openpyxl.xml.constants import REL_NS, SHEET_MAIN_NS
    from openpyxl.xml.functions import iterparse

    part = book[name]._worksheet_path
    links, room = {}, SHEET_ROWS * SHEET_COLUMNS  # a short file could link the whole sheet a million times
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        if get_rels_path(part) not in parts.namelist():
            return links
        targets = {rel.id: rel.Target for rel in get_dependents(parts, get_rels_path(part))}
        for _, element in iterparse(parts.open(part)):
            if element.tag == f"{{{SHEET_MAIN_NS}}}hyperlink":
                target = clean_text(targets.get(element.get(f"{{{REL_NS}}}id"), ""), SHEET_CELL)
                if target.lower().startswith(("http://", "https://")):
                    cells = list(islice(_iterate_cells(element.get("ref")), room))
                    room -= len(cells)
                    links |= dict.fromkeys(cells, target)
            elif element.tag == f"{{{SHEET_MAIN_NS}}}row":
                element.clear()
    return links


def _find_unsaved_formulas(data: bytes, book, name: str) -> dict[tuple[int, int], str]:
    """(row number, column index) -> a remark, for formulas that were saved without a value (by programs that do not compute them)."""
    from openpyxl.xml.constants import SHEET_MAIN_NS
    from openpyxl.xml.functions import iterparse

    found: dict[tuple[int, int], str] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        part = parts.read(book[name]._worksheet_path)
    if re.search(rb"<(\w+:)?f[\s>/]", part):
        for _, element in iterparse(io.BytesIO(part)):
            if element.tag == f"{{{SHEET_MAIN_NS}}}row":
                element.clear()
            elif (
                element.tag == f"{{{SHEET_MAIN_NS}}}c"
                and (formula := element.find(f"{{{SHEET_MAIN_NS}}}f")) is not None
            ):
                value = element.find(f"{{{SHEET_MAIN_NS}}}v")
                if (value is None or not value.text) and (at := next(iter(_iterate_cells(element.get("r"))), None)):
                    found[at] = (
                        f"={clean_text(formula.text or '')} (a formula saved without its value: open the file in a spreadsheet, save it)"
                    )
    return found


def _iterate_cells(ref: str) -> Iterable[tuple[int, int]]:
    """(row number, column index) of the cells of a reference such as A2 or A2:B9, within the limits; none if it is invalid."""
    from openpyxl.utils.cell import range_boundaries

    try:
        left, top, right, bottom = range_boundaries(ref)
        return product(range(top, min(bottom, SHEET_ROWS + 1) + 1), range(left - 1, min(right, SHEET_COLUMNS)))
    except (ValueError, TypeError):
        return ()


def _cell_text(value, number_format: str, epoch: datetime) -> str:
    """A cell's value as text."""
    if value is None:
        return ""
    if isinstance(value, (datetime, time, timedelta)):
        return format_time(value, number_format, epoch)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    colon = type(value) in (int, float) and COLON.search(BRACKETS.sub("", number_format).split(";")[0])
    return f"{value} (shown as {number_format})" if colon else str(value)


def format_time(value: datetime | time | timedelta, number_format: str, epoch: datetime) -> str:
    """The text of a cell that openpyxl reads as a date or time; `epoch` is the workbook's.

    A spreadsheet takes 1:15 for hours and minutes. A dance has none, so under a format without seconds it becomes 1:15, which is read
    as minutes and seconds; under one with seconds it becomes 1:15:00. Dates, times of which the format hides a part, and times whose
    format names hours but no seconds become texts that are not read as times.
    """
    from openpyxl.utils.datetime import to_excel

    days = value.total_seconds() / 86400 if isinstance(value, timedelta) else to_excel(value, epoch)
    minutes, seconds = divmod(round(days * 86400, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    full = f"{hours}:{minutes:02d}:{seconds:06.3f}".removesuffix(".000")
    shown = set(re.sub("AM/PM|A/P", "", HIDDEN.sub("", number_format), flags=re.IGNORECASE).lower())
    if shown & set("yd") or not shown & set("hs"):
        return f"a date ({value if hours > 999 else full} in the cell)"
    elapsed = "[" in shown
    if "s" in shown:
        hidden = not elapsed and bool((hours and "h" not in shown) or ((hours or minutes) and "m" not in shown))
    else:
        hidden = bool(seconds or "m" not in shown or HOURS.search(number_format))
    if hidden or days < 0 or (hours >= 24 and not elapsed):
        return f"a time shown in part ({full} in the cell)"
    return full if "s" in shown else f"{hours}:{minutes:02d}"
