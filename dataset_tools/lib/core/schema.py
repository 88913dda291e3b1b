"""Records: CSV tables whose rows are frozen dataclasses. Every value is checked, and an error names file, row, column and rule.

A column has the same meaning in every table: those of `FILE_NAMES` are file names, those of `RANGES` have bounds.

Why not `pydantic` 2.14, as for parameters: it reads 1_5 as 15 and 1.0 as an integer. The patterns, the bounds and the messages
would still be ours, so pydantic would make this file longer by half, and hardly faster.
"""

import csv
import dataclasses
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_type_hints

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.collection import no_collection
from dataset_tools.lib.core.csv_file import detect_separator, iterate_rows
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import (
    CELL,
    CLIP_SECONDS,
    CSV_BYTES,
    DANCERS,
    SIDE,
    TEMPO,
    VIDEO_SECONDS,
    WHOLE,
    printable,
    read_bytes,
)
from dataset_tools.lib.core.names import CONTROL, check_label, check_name, to_nfc
from dataset_tools.lib.core.timebase import SAMPLE_RATE

R = TypeVar("R")
FILE_NAMES = ("id", "video_id", "clip_id", "song_id", "shard", "name")
RANGES = {
    "samples": (0, CLIP_SECONDS * SAMPLE_RATE), "segments_2s": (0, CLIP_SECONDS // 2),
    "crop_w": (1, SIDE), "crop_h": (1, SIDE), "crop_x": (0, SIDE), "crop_y": (0, SIDE),
    "source_width": (1, SIDE), "source_height": (1, SIDE), "source_fps": (0, 10_000), "dancers": (1, DANCERS),
    "people": (0, DANCERS), "bytes": (0, WHOLE), "seconds": (0, 100 * VIDEO_SECONDS), "cuts": (0, WHOLE), "value": (0, WHOLE),
    "coverage": (0, 1), "audio_peak": (0, WHOLE), "fold": (0, WHOLE),
}  # fmt: skip
"""Column -> (least, largest) number. `frames`, `width` and `height` are not here: a bad one should fail its clip, not the table
(`accounting.check_frames`)."""
TYPE_NAMES = {int: "a whole number", float: "a finite number", bool: "True or False"}
INTEGER, NUMBER = (
    re.compile(p, re.ASCII) for p in (r"[+-]?\d{1,19}", r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
)
CLOCK_TIME = re.compile(r"\d{1,4}(:\d{1,2}){1,2}([.,]\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
PARTS = ("", "train", "val", "test")
"""What `official_split` may be; '' is no part."""
STATUSES = ("ok", "permanent", "auth", "transient", "failed", "dropped")


def leaks(parts: Iterable[str]) -> bool:
    """Whether an item that is in these parts of a split leaks from training to evaluation: it is in 'train' and in another part.
    'val' and 'test' may share music, as in AIST++; '' is no part."""
    return "train" in (found := set(parts) - {""}) and len(found) > 1


class BrokenRules(ValueError):
    """A record breaks rules. `rules` has one line for each of them; the message is the first line."""

    def __init__(self, rules: list[str]):
        super().__init__(rules[0])
        self.rules = rules


def refuse(rules: Iterable[str]) -> None:
    """Raise BrokenRules if `rules` has any lines. For __post_init__ of records."""
    if found := list(rules):
        raise BrokenRules(found)


def _broken(check: Callable[[str, str], str], text: str, what: str) -> list[str]:
    """The error message of `check_name` or `check_label` for a text, in a list that is empty if the text is valid."""
    try:
        check(text, what)
    except ValueError as err:
        return [str(err)]
    return []


@dataclass(frozen=True, kw_only=True)
class Video:
    """One row of videos.csv: a compilation to download."""

    video_id: str
    url: str
    """http(s) URL, or the path of a local file relative to the folder of videos.csv. Empty: not known yet."""
    title: str = ""

    def __post_init__(self):
        check_name(self.video_id, "video_id")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One row of clips.csv: one dance cut from a compilation."""

    clip_id: str
    video_id: str
    song_id: str
    start: float | None = None
    """Seconds into the video; None until the annotation sheet is imported."""
    end: float | None = None
    """Seconds into the video, after `start`."""
    dancers: int | None = None
    official_split: str = ""
    """'train', 'val', 'test' or empty."""

    def __post_init__(self):
        refuse(self._rules())

    def _rules(self) -> Iterator[str]:
        yield from _broken(check_name, self.clip_id, "clip_id")
        times = {"start": self.start, "end": self.end}
        outside = {n: v for n, v in times.items() if v is not None and not 0 <= v <= VIDEO_SECONDS}  # also nan
        for name, value in outside.items():
            yield f"{name} must be 0 s to {VIDEO_SECONDS} s, found {value}"
        if not outside and self.start is not None and self.end is not None:
            if not 0 < self.end - self.start <= CLIP_SECONDS:
                yield f"end must be after start {self.start} s, found {self.end}; a clip has {CLIP_SECONDS} s at most"
        if self.official_split not in PARTS:
            yield f"official_split must be train, val, test or empty, found '{printable(self.official_split)}'"


SEGMENT_SECONDS = 2.0
"""Length, in seconds, of the segments that the authors of the TikTok corpus and AIST++ cut. `segments_2s` counts them."""


@dataclass(frozen=True, kw_only=True)
class ListedClip(Clip):
    """A row of a manifest's clips.csv that may have a number of segments."""

    segments_2s: int | None = None
    """Number of 2 s segments that its publishers cut from it: an estimate of its length while its times are not known."""


@dataclass(frozen=True, kw_only=True)
class Song:
    """One row of songs.csv."""

    song_id: str
    genre: str = ""
    tempo: float | None = None
    """Beats per minute, where known."""
    title: str = ""
    artist: str = ""

    def __post_init__(self):
        refuse(self._rules())

    def _rules(self) -> Iterator[str]:
        yield from _broken(check_name, self.song_id, "song_id")
        if self.tempo is not None and not 0 < self.tempo <= TEMPO:
            yield f"tempo must be above 0 and at most {TEMPO:g} beats a minute, found {self.tempo:g}"
        yield from _broken(check_label, self.genre, "genre")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of a stage for one of its inputs, ok or not. Stages add columns by subclassing."""

    id: str
    status: str
    reason: str = ""
    """One line; empty when ok."""

    def __post_init__(self):
        check_name(self.id, "id")
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, found '{printable(self.status)}'")


def read_records(path: Path, record: type[R], *, extra: bool = True) -> list[R]:
    """Read a CSV file into records. The separator may be comma, semicolon or tab, and with the last two numbers may have a decimal comma.

    extra: ignore columns that `record` does not have; with False they are an error.

    Raises UserError, which names file, row, column, rule and value, for anything that `read_bytes` refuses, text that is not
    UTF-8, a missing column without a default, a duplicate column or id (the record's first field), more cells than columns,
    and a value that has the wrong type, is out of range, is no file name in a column of `FILE_NAMES`, or breaks a rule of the record.
    """
    found = scan_records(path, record, extra=extra)
    if found.problems:
        raise UserError(found.problems[0])
    return found.records


class Scan(NamedTuple, Generic[R]):
    """The rows of a table that can be read, and the errors of the others."""

    records: list[R]
    """The rows that break no rule; empty if a column is missing."""
    problems: list[str]
    """One line for each violation of a rule."""
    columns: tuple[str, ...] = ()
    """Names of the header; empty if the rows can't be read."""
    broken: tuple[dict[str, str], ...] = ()
    """Cells by column of each row that breaks a rule. Other tables may still refer to it."""

    def values(self, *names: str) -> list[tuple]:
        """These columns of every row. The broken rows come last; their cells are text as in the file ('' if missing)."""
        good = [tuple(getattr(record, name) for name in names) for record in self.records]
        return good + [tuple(cells.get(name, "") for name in names) for cells in self.broken]


@no_collection()
def scan_records(path: Path, record: type[R], *, extra: bool = True, together: tuple[str, ...] = ()) -> Scan[R]:
    """Read a CSV file of records as far as possible, with one line for each cell, row or header that breaks a rule of `read_records`.

    together: columns that must be all present or all absent.
    """
    path = Path(path)
    fields = dataclasses.fields(record)  # type: ignore[arg-type]  # R is a dataclass, which no bound can say
    hints = get_type_hints(record)
    try:
        text = read_bytes(path, CSV_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        return Scan([], [f"{path}: not UTF-8 text; save it as 'CSV UTF-8'"])
    except UserError as err:
        return Scan([], [str(err)])
    try:
        separator = detect_separator(text, hints)
        (_, names), *rows = [*iterate_rows(text, separator)] or [(1, [])]
    except ValueError as err:
        return Scan([], [f"{path}: {err}"])
    header = tuple(name.strip() for name in names)
    lacking = _lacking_columns(path, header, fields, together)
    twice = [name for name, times in Counter(header).items() if name and times > 1]
    doubts = [f"{path}: column '{printable(name)}' occurs twice in the header; keep one" for name in twice]
    unknown = [name for name in header if name not in hints]
    if unknown and not extra:
        doubts.append(f"{path}: unknown column '{printable(unknown[0])}'; expected {', '.join(hints)}")
    if doubts:
        return Scan([], lacking + doubts)
    columns = [(field.name, hints[field.name], _is_required(field)) for field in fields]
    records, broken, problems, seen = [], [], list(lacking), set()
    for number, cells in rows:
        raw = dict(zip(header, cells + [""] * (len(header) - len(cells))))
        if any(cells[len(header) :]):  # the cells can't be assigned to columns
            advice = f"put a text that contains '{separator}' in quotes"
            item, rules = None, [f"{len(cells)} cells, but {len(header)} columns; {advice}"]
        else:
            item, rules = _parse_record(raw, record, columns, separator)
        key = to_nfc(raw.get(fields[0].name, ""))
        if key in seen and (key or not rules):
            rules.append(f"{fields[0].name} '{printable(key)}' occurs twice; ids must be unique")
        seen.add(key)
        if rules or lacking:
            problems += [f"{path} row {number}: {rule}" for rule in rules]
            broken.append(raw)
        elif item is not None:
            records.append(item)
    return Scan(records, problems, header, tuple(broken))


def _parse_record(
    raw: dict[str, str], record: type[R], columns: list[tuple[str, Any, bool]], separator: str
) -> tuple[R | None, list[str]]:
    """(the record of a row's cells, one line for each rule that they break). Use the record only if there are no such lines. columns:
    name, type, and whether it must be there.

    A cell that can't be read is replaced by a valid value, so that the other rules of the record are checked too.
    """
    values, rules = {}, []
    for name, kind, required in columns:
        try:
            if name in raw:
                values[name] = _convert(raw[name], kind, name, separator)
            elif required:
                values[name] = _stand_in(kind)
        except ValueError as err:
            rules.append(str(err))
            if required:
                values[name] = _stand_in(kind)
    try:
        return record(**values), rules
    except BrokenRules as err:
        return None, rules + err.rules
    except ValueError as err:
        return None, [*rules, str(err)]


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _stand_in(kind: type) -> object:
    return None if type(None) in get_args(kind) else "_" if kind is str else kind()


def _lacking_columns(path: Path, header: tuple[str, ...], fields: tuple, together: tuple[str, ...]) -> list[str]:
    partly = set(together) if set(together) & set(header) else set()
    found = printable(", ".join(header)) or "no header"
    return [
        f"{path}: column '{field.name}' is missing; found {found}"
        for field in fields
        if (field.default is dataclasses.MISSING or field.name in partly) and field.name not in header
    ]


@lru_cache(4096)  # most columns repeat few values
def _convert(text: str, kind, name: str, separator: str):
    kinds = [k for k in get_args(kind) if k is not type(None)] or [kind]
    if kinds[0] is str:
        # a URL stays as it is: it must match the bytes on a server or a disk
        return check_name(text, name) if name in FILE_NAMES and text else text if name == "url" else to_nfc(text)
    if text == "":
        if kind is kinds[0]:
            raise ValueError(f"{name} is empty; {TYPE_NAMES[kind]} is required")
        return None
    value: bool | float | None
    if kinds[0] is bool:
        value = {"true": True, "false": False}.get(text.lower())
    else:
        value = _number(text.strip(), kinds[0], name, separator)
    if value is None:
        seconds = "; write seconds, such as 75.5" if CLOCK_TIME.fullmatch(text.strip()) else ""
        raise ValueError(f"{name} must be {TYPE_NAMES[kinds[0]]}, found '{printable(text)}'{seconds}")
    low, high = RANGES.get(name, (-WHOLE, WHOLE) if kinds[0] is int else (-math.inf, math.inf))
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, found {printable(text)}")
    return value


def _number(text: str, kind: type, name: str, separator: str) -> int | float | None:
    """The number, or None. Python's int() and float() would also take 1_5, nan and digits of any script."""
    if kind is int:
        return int(text) if INTEGER.fullmatch(text) else None
    if DECIMAL_COMMA.fullmatch(text):
        if separator == ",":
            raise ValueError(
                f"{name} has a decimal comma in a comma-separated table, found '{printable(text)}'; write it with a point"
            )
        text = text.replace(",", ".")
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def write_records(path: Path, records: Iterable, record: type | None = None) -> None:
    """Write records of one type as CSV, sorted by their first field. `record` gives the header if there are no records.

    A string is written as one line of at most `CELL` letters, so that it can be read again.
    """
    records = list(records)
    record = record or type(records[0])
    names = [f.name for f in dataclasses.fields(record)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for item in sorted(records, key=lambda r: getattr(r, names[0])):
        values = [getattr(item, name) for name in names]
        writer.writerow([CONTROL.sub(" ", v)[:CELL] if isinstance(v, str) else "" if v is None else v for v in values])
    write_text(path, out.getvalue())
