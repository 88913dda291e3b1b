"""Records: one frozen dataclass is one CSV row. Reading checks every value and names file, row, field and rule."""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

from dataset_tools.base.atomic import write_text
from dataset_tools.base.errors import UserError

R = TypeVar("R")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}")
STATUSES = ("ok", "permanent", "auth", "transient", "failed", "dropped")


def leaks(parts: Iterable[str]) -> bool:
    """Whether what is in these parts of a split is learnt from and tested on: in 'train' and in another. 'val' and 'test'
    may share music, as AIST++'s do; '' is no part."""
    return "train" in (found := set(parts) - {""}) and len(found) > 1


def check_name(value: str) -> str:
    """An id is also a file name: letters, digits, '_', '.', '-', not starting with a dot or dash."""
    if not NAME.fullmatch(value):
        raise ValueError("must be letters, digits, '_', '.', '-' (it becomes a file name)")
    return value


@dataclass(frozen=True, kw_only=True)
class Video:
    """One row of videos.csv: a compilation to download."""

    video_id: str
    url: str
    """http(s) URL, or for a local file a path relative to the folder that videos.csv is in. Empty: not known yet."""
    title: str = ""

    def __post_init__(self):
        check_name(self.video_id)


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
        check_name(self.clip_id)
        for name in ("start", "end"):
            if (value := getattr(self, name)) is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number of seconds, found {value}")
        if self.start is not None and self.start < 0:
            raise ValueError(f"start must be at least 0 s, found {self.start}")
        if self.start is not None and self.end is not None and not self.end > self.start:
            raise ValueError(f"end must be after start {self.start} s, found {self.end}")
        if self.official_split not in ("", "train", "val", "test"):
            raise ValueError(f"official_split must be train, val, test or empty, found '{self.official_split}'")


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
        check_name(self.song_id)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one input of a stage; stages add columns by subclassing. in = ok + the rest."""

    id: str
    status: str
    reason: str = ""
    """One line; empty when ok."""

    def __post_init__(self):
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, found '{self.status}'")


def read_records(path: Path, record: type[R], *, extra: bool = True) -> list[R]:
    """Read a CSV into records.

    Raises UserError naming file, row, field, rule and value: file missing, column without default missing, duplicate
    id (the record's first field), a value that does not convert or breaks the record's own rule; with extra=False
    also a column that the record does not have.
    """
    records, problems = scan_records(path, record, extra=extra)
    if problems:
        raise UserError(problems[0])
    return records


def scan_records(
    path: Path, record: type[R], *, extra: bool = True, together: tuple[str, ...] = ()
) -> tuple[list[R], list[str]]:
    """The records of a CSV that can be read, and one line for every rule of `read_records` that it breaks. Columns
    named in `together` may be left out only all at once."""
    path = Path(path)
    fields = dataclasses.fields(record)
    hints = get_type_hints(record)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return [], [f"{path}: not UTF-8 text; save it as 'CSV UTF-8'"]
    except OSError as err:
        return [], [f"{path}: {'file not found' if isinstance(err, FileNotFoundError) else err.strerror}"]
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header, rows = reader.fieldnames or [], list(reader)
    except csv.Error as err:
        return [], [f"{path}: not a CSV file: {err}"]
    partly = {name for name in together if set(together) & set(header)}
    problems = [
        f"{path}: column '{field.name}' is missing; found {', '.join(header) or 'no header'}"
        for field in fields
        if (field.default is dataclasses.MISSING or field.name in partly) and field.name not in header
    ]
    unknown = [name for name in header if name not in hints]
    if unknown and not extra:
        problems.append(f"{path}: unknown column '{unknown[0]}'; expected {', '.join(hints)}")
    if problems:
        return [], problems
    records, seen = [], set()
    for line, raw in enumerate(rows, start=2):
        try:
            item = record(**{f.name: _convert(raw[f.name] or "", hints[f.name], f.name) for f in fields if f.name in header})
        except ValueError as err:
            problems.append(f"{path} row {line}: {err}")
            continue
        key = getattr(item, fields[0].name)
        if key in seen:
            problems.append(f"{path} row {line}: {fields[0].name} '{key}' occurs twice; ids must be unique")
            continue
        seen.add(key)
        records.append(item)
    return records, problems


def _convert(text: str, kind, name: str):
    kinds = [k for k in get_args(kind) if k is not type(None)] or [kind]
    if text == "" and kinds[0] is not str:
        if kind is kinds[0]:
            raise ValueError(f"{name} is empty; a {kinds[0].__name__} is required")
        return None
    try:
        value = {"True": True, "False": False}[text] if kinds[0] is bool else kinds[0](text)
    except (ValueError, KeyError):
        raise ValueError(f"{name} must be a {kinds[0].__name__}, found '{text}'") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found '{text}'")
    return value


def write_records(path: Path, records: Iterable, record: type | None = None) -> None:
    """Write records of one type as CSV sorted by their first field; `record` gives the header when there are none."""
    records = list(records)
    record = record or type(records[0])
    names = [f.name for f in dataclasses.fields(record)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for item in sorted(records, key=lambda r: getattr(r, names[0])):
        writer.writerow(["" if (v := getattr(item, n)) is None else v for n in names])
    write_text(path, out.getvalue())
