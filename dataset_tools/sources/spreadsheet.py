"""Read an untrusted spreadsheet, CSV or XLSX: every cell as text.

Nothing in a sheet is executed or followed. Formulas give the value that was saved with the file, links and macros are not
opened, and sizes are checked before anything is unpacked.
"""

import io
import re
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.csv_file import detect_separator, iterate_rows
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable, read_bytes
from dataset_tools.lib.core.names import to_nfc

TIME_FORMAT = re.compile(r"(?:\[\$-[^\]]*\])?(?:(\[?h+\]?):)?(\[?m+\]?)(:ss(?:\.0+)?)?(?:;@)?", re.IGNORECASE)
"""h:mm, h:mm:ss, mm:ss and the like: (hours, minutes, seconds). Brackets mean that this part counts on, over 24 h or 60 min."""
NUMBER_FORMAT = re.compile(r"General|@|[#,0]*[#0](?:\.[#0]*)?", re.IGNORECASE)
"""A format under which a cell shows its number. 115 under 0":"00 looks like 1:15."""


NumberedRow = tuple[int, Sequence[str]]
"""(row number as in a spreadsheet, cells)"""


def read_sheet(path: Path, name: str = "") -> Sequence[NumberedRow]:
    """The rows that are not empty of the sheet called `name` of an .xlsx file (default: the only one), or of a .csv, .tsv or .txt file.

    CSV is UTF-8, separated by comma, semicolon or tab.

    Raises UserError for a missing file, another format, a file that is too large or damaged, a missing sheet and an empty sheet.
    """
    data = read_bytes(path, limits.SHEET_BYTES)
    if data.startswith(b"PK"):
        rows = _read_xlsx(path, data, name)
    elif path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise UserError(f"{path}: neither .csv nor .xlsx; save the sheet as one of them")
    elif name:
        raise UserError(f"{path}: --sheet {name}: a CSV file has no sheets")
    else:
        rows = _read_csv(path, data)
    kept = [(n, cells) for n, row in rows if any(cells := tuple(map(_clean_text, row[: limits.SHEET_COLUMNS])))]
    if not kept:
        raise UserError(f"{path}: the sheet is empty")
    if kept[-1][0] > limits.SHEET_ROWS:
        raise UserError(f"{path}: more than {limits.SHEET_ROWS} rows; import it in parts")
    return kept


def _clean_text(text: str) -> str:
    """The text on one line, without control characters (which a terminal would execute), cut to `SHEET_CELL` letters."""
    clean = "".join(c if c.isprintable() else " " for c in text[: 4 * limits.SHEET_CELL])
    return " ".join(to_nfc(clean).split())[: limits.SHEET_CELL]


def _read_csv(path: Path, data: bytes) -> list[NumberedRow]:
    try:
        text = data.decode("utf-8-sig")
        return list(iterate_rows(text, detect_separator(text)))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as 'CSV UTF-8'") from None
    except ValueError as err:
        raise UserError(f"{path}: {err}") from None


def _read_xlsx(path: Path, data: bytes, name: str) -> list[NumberedRow]:
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            _check_parts(path, parts.infolist())
            # read_only: reading whole sheets, openpyxl would build every cell that a hostile range names
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            names = [sheet.title for sheet in book.worksheets]
            if name not in names and (name or len(names) != 1):
                raise UserError(
                    f"{path}: say which sheet with --sheet; it has {', '.join(map(printable, names)) or 'none'}"
                )
            sheet = book[name or names[0]]
            sheet.reset_dimensions()  # the dimensions in the file may be wrong
            _refuse_unsaved_formulas(path, parts, sheet._worksheet_path)
        cells = sheet.iter_rows(max_row=limits.SHEET_ROWS + 1, max_col=limits.SHEET_COLUMNS)
        return [(number, [*map(_cell_text, row)]) for number, row in enumerate(cells, start=1)]
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - a damaged or hostile file makes openpyxl raise almost anything
        raise UserError(f"{path}: not a readable .xlsx file: {printable(str(err)) or type(err).__name__}") from None


def _check_parts(path: Path, parts: list[zipfile.ZipInfo]) -> None:
    """Raise UserError for an XLSX file that would take too much time or memory to unpack."""
    if len(parts) > limits.SHEET_PARTS:
        raise UserError(f"{path}: {len(parts)} parts; an annotation sheet has at most {limits.SHEET_PARTS}")
    named = ((part.filename.lower(), part.file_size) for part in parts)
    opened = [(name, size) for name, size in named if not name.startswith("xl/media/")]
    if (unpacked := sum(size for _, size in opened)) > limits.SHEET_UNPACKED:
        raise UserError(f"{path}: unpacks to {unpacked} bytes; an annotation sheet has at most {limits.SHEET_UNPACKED}")
    large = {"worksheets/": limits.SHEET_UNPACKED, "sharedstrings": limits.SHEET_STRINGS}
    for name, size in opened:
        most = next((bytes_ for kind, bytes_ in large.items() if kind in name), limits.SHEET_PART)
        if size > most:
            raise UserError(f"{path}: its part {printable(name)} unpacks to {size} bytes; at most {most} are read")


def _refuse_unsaved_formulas(path: Path, parts: zipfile.ZipFile, part: str) -> None:
    """Raise UserError for a formula that was saved without a value, by a program that does not compute. It would be an empty cell."""
    from openpyxl.xml.constants import SHEET_MAIN_NS
    from openpyxl.xml.functions import iterparse

    row, cell, formula, result = (f"{{{SHEET_MAIN_NS}}}{tag}" for tag in ("row", "c", "f", "v"))
    with parts.open(part) as source:
        for _, element in iterparse(source):
            if element.tag == row:
                element.clear()
            elif element.tag == cell and element.find(formula) is not None and not element.findtext(result):
                if element.get("t") != "str":  # a formula's text may be empty
                    where = f"{path} cell {printable(element.get('r'))}"
                    raise UserError(f"{where}: a formula without its value; open the file in a spreadsheet, save it")


def _cell_text(cell) -> str:
    """A cell's value as text. A value that its format shows as another one gets a remark, so that it is not read."""
    value = cell.value
    if isinstance(value, (datetime, time, timedelta)):
        return format_time(value, cell.number_format)
    if isinstance(value, (int, float)) and not NUMBER_FORMAT.fullmatch(cell.number_format):
        return f"{value} in the format {cell.number_format}"
    return "" if value is None else str(value)


def format_time(value: datetime | time | timedelta, number_format: str) -> str:
    """The text of a cell that openpyxl reads as a date or time, as the cell shows it.

    So 1:15 under h:mm, which a spreadsheet takes for hours and minutes, is read as minutes and seconds, as a person typed it. A
    value that its format does not show completely gets a remark, so that it is not read.
    """
    shown = TIME_FORMAT.fullmatch(number_format)
    if shown and (shown[1] or shown[3]) and not isinstance(value, datetime):  # mm alone is a month
        since = value if isinstance(value, timedelta) else datetime.combine(date.min, value) - datetime.min
        minutes, seconds = divmod(round(since.total_seconds(), 3), 60)
        hours, minutes = divmod(int(minutes), 60)
        counts_on = (shown[1] or shown[2]).startswith("[")
        complete = hours >= 0 and (counts_on or hours < (24 if shown[1] else 1))
        if complete and shown[3]:
            return f"{hours}:{minutes:02d}:{seconds:06.3f}".removesuffix(".000")
        if complete and not seconds:
            return f"{hours}:{minutes:02d}"
    return f"{value} in the format {number_format}"
