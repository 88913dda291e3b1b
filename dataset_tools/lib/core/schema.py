"""Records: one frozen dataclass is one CSV row. Reading checks every value and names file, row, field and rule.

A column means one thing in every table: those of `FILE_NAMES` are names of files, those of `RANGES` have bounds.

Why not `pydantic` 2.14, as for parameters: it reads 1_5 as 15 and 1.0 as a whole number. So the patterns, the bounds of columns and
the words of messages would stay ours, and pydantic come on top: half as many lines again, and little quicker than ours could be.
"""

import csv
import dataclasses
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, get_args, get_type_hints

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.csv_file import cells_of, separator_of
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
    file_bytes,
    shown,
)
from dataset_tools.lib.core.names import CONTROL, check_label, check_name, plain
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
"""Column -> least and largest number. Of `frames`, `width` and `height` of a cut clip see `accounting.check_frames`: they cost
the clip, not the table."""
WORDS = {int: "a whole number", float: "a finite number", bool: "True or False"}
WHOLE_NUMBER, NUMBER = (
    re.compile(p, re.ASCII) for p in (r"[+-]?\d{1,19}", r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
)
CLOCK = re.compile(r"\d{1,4}(:\d{1,2}){1,2}([.,]\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
PARTS = ("", "train", "val", "test")
"""What `official_split` may be; '' is no part."""
STATUSES = ("ok", "permanent", "auth", "transient", "failed", "dropped")


def leaks(parts: Iterable[str]) -> bool:
    """Whether what is in these parts of a split is learnt from and tested on: in 'train' and in another. 'val' and 'test'
    may share music, as AIST++'s do; '' is no part."""
    return "train" in (found := set(parts) - {""}) and len(found) > 1


class BrokenRules(ValueError):
    """What is wrong with a record: `rules` has one line for every rule that it breaks, the message is the first."""

    def __init__(self, rules: list[str]):
        super().__init__(rules[0])
        self.rules = rules


def refuse(rules: Iterable[str]) -> None:
    """For __post_init__ of records: raise BrokenRules where there are any."""
    if found := list(rules):
        raise BrokenRules(found)


def _broken(check: Callable[[str, str], str], text: str, what: str) -> list[str]:
    """What `check_name` or `check_label` says against a text."""
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
    """http(s) URL, or for a local file a path relative to the folder that videos.csv is in. Empty: not known yet."""
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
    """Seconds into the video; empty where the annotation sheet is still to be imported."""
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
            yield f"official_split must be train, val, test or empty, found '{shown(self.official_split)}'"


SEGMENT = 2.0
"""Seconds of the segments that the authors of TikTok and AIST++ cut, which `segments_2s` counts."""


@dataclass(frozen=True, kw_only=True)
class ListedClip(Clip):
    """A row of a manifest's clips.csv that may count segments."""

    segments_2s: int | None = None
    """How many segments of 2 s its publishers cut from it: its length while its times are not known."""


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
    """What became of one input of a stage; stages add columns by subclassing. in = ok + the rest."""

    id: str
    status: str
    reason: str = ""
    """One line; empty when ok."""

    def __post_init__(self):
        check_name(self.id, "id")
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, found '{shown(self.status)}'")


def read_records(path: Path, record: type[R], *, extra: bool = True) -> list[R]:
    """Read a CSV into records; cells may be parted by comma, semicolon or tab, and have a decimal comma where that parts none.

    Raises UserError naming file, row, field, rule and value: what `file_bytes` refuses, not UTF-8, column without default
    missing, a column or an id (the record's first field) twice, more cells than columns, a value that does not convert,
    is out of its column's range, no file's name in a column of those, or breaks the record's own rule; with extra=False
    also a column that the record does not have.
    """
    found = scan_records(path, record, extra=extra)
    if found.problems:
        raise UserError(found.problems[0])
    return found.records


class Scan(NamedTuple, Generic[R]):
    """A table as far as it can be read."""

    records: list[R]
    """Of the rows that break no rule; none where a column is missing."""
    problems: list[str]
    """One line for every rule that the file breaks."""
    columns: tuple[str, ...] = ()
    """Names of the header; none where the rows can't be looked at."""
    broken: tuple[dict[str, str], ...] = ()
    """Cells by column of each row that breaks a rule: it may still be what another row names."""

    def values(self, *names: str) -> list[tuple]:
        """Those columns of every row, the broken ones last, whose cells are texts as they stand ('' where there is none)."""
        good = [tuple(getattr(record, name) for name in names) for record in self.records]
        return good + [tuple(cells.get(name, "") for name in names) for cells in self.broken]


def scan_records(path: Path, record: type[R], *, extra: bool = True, together: tuple[str, ...] = ()) -> Scan[R]:
    """What can be read of a CSV of records, and all that is wrong with it: one line for every rule of `read_records` that a
    cell, a row or the header breaks. Columns named in `together` may be left out only all at once."""
    path = Path(path)
    fields = dataclasses.fields(record)  # type: ignore[arg-type]  # R is a dataclass, which no bound can say
    hints = get_type_hints(record)
    try:
        text = file_bytes(path, CSV_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        return Scan([], [f"{path}: not UTF-8 text; save it as 'CSV UTF-8'"])
    except UserError as err:
        return Scan([], [str(err)])
    try:
        separator = separator_of(text, hints)
        (_, names), *rows = [*cells_of(text, separator)] or [(1, [])]
    except ValueError as err:
        return Scan([], [f"{path}: {err}"])
    header = tuple(name.strip() for name in names)
    lacking = _lacking_columns(path, header, fields, together)
    twice = [name for name, times in Counter(header).items() if name and times > 1]
    doubts = [f"{path}: column '{shown(name)}' stands twice in the header; keep one" for name in twice]
    unknown = [name for name in header if name not in hints]
    if unknown and not extra:
        doubts.append(f"{path}: unknown column '{shown(unknown[0])}'; expected {', '.join(hints)}")
    if doubts:
        return Scan([], lacking + doubts)
    records, broken, problems, seen = [], [], list(lacking), set()
    for number, cells in rows:
        raw = dict(zip(header, cells + [""] * len(header)))
        if any(cells[len(header) :]):  # which cell is which can't be told
            advice = f"put a text that holds '{separator}' in quotes"
            item, rules = None, [f"{len(cells)} cells, but {len(header)} columns; {advice}"]
        else:
            item, rules = _record_of(raw, record, hints, separator)
        key = plain(raw.get(fields[0].name, ""))
        if key in seen and (key or not rules):
            rules.append(f"{fields[0].name} '{shown(key)}' occurs twice; ids must be unique")
        seen.add(key)
        problems += [f"{path} row {number}: {rule}" for rule in rules]
        if rules or lacking:
            broken.append(raw)
        elif item is not None:
            records.append(item)
    return Scan(records, problems, header, tuple(broken))


def _record_of(raw: dict[str, str], record: type[R], hints: dict, separator: str) -> tuple[R | None, list[str]]:
    """(the record of a row's cells, one line for each rule that they break); the record is of use where there is none. What
    stands for a cell that can't be read breaks no rule itself, so that the record's other rules are seen too."""
    values, rules = {}, []
    for field in dataclasses.fields(record):  # type: ignore[arg-type]  # as above
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        try:
            if field.name in raw:
                values[field.name] = _convert(raw[field.name], hints[field.name], field.name, separator)
            elif required:
                values[field.name] = _stand_in(hints[field.name])
        except ValueError as err:
            rules.append(str(err))
            if required:
                values[field.name] = _stand_in(hints[field.name])
    try:
        return record(**values), rules
    except BrokenRules as err:
        return None, rules + err.rules
    except ValueError as err:
        return None, [*rules, str(err)]


def _stand_in(kind: type) -> object:
    return None if type(None) in get_args(kind) else "_" if kind is str else kind()


def _lacking_columns(path: Path, header: tuple[str, ...], fields: tuple, together: tuple[str, ...]) -> list[str]:
    partly = set(together) if set(together) & set(header) else set()
    found = shown(", ".join(header)) or "no header"
    return [
        f"{path}: column '{field.name}' is missing; found {found}"
        for field in fields
        if (field.default is dataclasses.MISSING or field.name in partly) and field.name not in header
    ]


def _convert(text: str, kind, name: str, separator: str):
    kinds = [k for k in get_args(kind) if k is not type(None)] or [kind]
    if kinds[0] is str:
        # an address stays as it is: its letters are those of a server or of a disk
        return check_name(text, name) if name in FILE_NAMES and text else text if name == "url" else plain(text)
    if text == "":
        if kind is kinds[0]:
            raise ValueError(f"{name} is empty; {WORDS[kind]} is required")
        return None
    value: bool | float | None
    if kinds[0] is bool:
        value = {"true": True, "false": False}.get(text.lower())
    else:
        value = _number(text.strip(), kinds[0], name, separator)
    if value is None:
        seconds = "; write seconds, such as 75.5" if CLOCK.fullmatch(text.strip()) else ""
        raise ValueError(f"{name} must be {WORDS[kinds[0]]}, found '{shown(text)}'{seconds}")
    low, high = RANGES.get(name, (-WHOLE, WHOLE) if kinds[0] is int else (-math.inf, math.inf))
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, found {shown(text)}")
    return value


def _number(text: str, kind: type, name: str, separator: str) -> int | float | None:
    """None of what is no number; Python's own readers would also take 1_5, nan and digits of any script."""
    if kind is int:
        return int(text) if WHOLE_NUMBER.fullmatch(text) else None
    if DECIMAL_COMMA.fullmatch(text):
        if separator == ",":
            raise ValueError(
                f"{name} has a decimal comma in a table of commas, found '{shown(text)}'; write it with a point"
            )
        text = text.replace(",", ".")
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def write_records(path: Path, records: Iterable, record: type | None = None) -> None:
    """Write records of one type as CSV sorted by their first field; `record` gives the header when there are none. A text is
    written as one line of at most `CELL` letters, which is what can be read again."""
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
