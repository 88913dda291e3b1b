"""Tables: manifests, annotation sheets in CSV and XLSX, pairs, tables of weights and of stages."""

import csv
import io
import math
import re
import zipfile
from datetime import datetime, time, timedelta
from functools import cache
from pathlib import Path

import openpyxl
from hypothesis import strategies as st
from openpyxl.utils.exceptions import IllegalCharacterError

from d2m_model.metrics.paired_folders import Pair, inside
from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.core.manifest import find_missing_values, scan_manifest, url_problem
from dataset_tools.lib.core.schema import read_records, write_records
from dataset_tools.lib.core.weights import Weights
from dataset_tools.sources.annotations import import_annotations
from dataset_tools.split.stage import read_manifest_items
from tests.fuzz.case import NAME, Case, promise
from tests.fuzz.mutation import damaged, odd_texts, rezipped

MANIFEST = {
    "videos.csv": [["video_id", "url", "title"], ["v1", "https://example.org/1", "One"], ["v2", "two.mp4", ""]],
    "clips.csv": [
        ["clip_id", "video_id", "song_id", "start", "end", "dancers", "official_split", "segments_2s"],
        ["v1_s1_1", "v1", "s1", "1.5", "9.5", "1", "train", "4"], ["v1_s2_2", "v1", "s2", "", "", "", "test", "3"],
        ["v2_s2_1", "v2", "s2", "0", "8", "2", "", ""],
    ],
    "songs.csv": [["song_id", "genre", "tempo", "title", "artist"], ["s1", "house", "120", "A", "B"], ["s2", "", "", "", ""]],
}  # fmt: skip
SHEET = [
    ["Clip", "Video", "Link", "Start", "End", "Dancers", "Song"], ["v1_s1_1", "v1", "https://example.org/1", "0:01.5", "0:09.5", "1", "A"],
    ["v1_s2_2", "v1", "https://example.org/1", "0:20", "0:26", "2", "B"], ["v2_s2_1", "v2", "https://example.org/2", "0:00", "0:08", "2", "B"],
]  # fmt: skip
PAIRS = [
    ["generated", "reference", "song", "genre"],
    ["a.wav", "a.wav", "s1", "house"],
    ["b.wav", "a.wav", "s2", "pop"],
]
WEIGHTS = [
    ["name", "url", "checksum_kind", "checksum", "bytes", "licence", "purpose"],
    ["demo", "package:dataset_tools/demo/weights/pose.pt", "in-project", "", "", "own", "pose"],
    ["far", "https://example.org/w.pt", "sha256", "ab" * 32, "1000", "MIT", "x"],
]  # fmt: skip
ROWS = [
    ["id", "status", "reason", "video_id", "song_id", "official_split", "frames"], ["c1", "ok", "", "v1", "s1", "train", "240"],
    ["c2", "failed", "it is short", "v1", "s2", "test", ""],
]  # fmt: skip
CELLS = (
    "1:15", "0:75", "1:15:20", "75", "75.5", "1,5", "00:01:05:12", "1'15\"", "1m15s", "-3", "5-9", "0:05 - 0:09", "9 to 5", "?", "n/a", "youtu.be/abc?t=75",
    "https://www.youtube.com/watch?v=abc&t=1m5s", "<b>x</b>", "v1", "v1_s1_1", "s1", "1e6", "1e15", "1e300", "²", "٣", "two", "2+", "train", "ok",
)  # fmt: skip
XLSX_VALUES = (
    1, -1, 0.5, 1.25, 1e300, -1e300, float("inf"), True, time(0, 1, 15), time(1, 15), datetime(1899, 12, 31, 0, 30), datetime(2024, 5, 1),
    timedelta(minutes=24, seconds=30), timedelta(days=400), timedelta(seconds=-5), 45292.5, 0.0173, "=1+1", "#REF!",
)  # fmt: skip
FORMATS = (
    "General",
    "h:mm",
    "mm:ss",
    "[h]:mm:ss",
    "[mm]:ss",
    "mm:ss.0",
    "[$-409]h:mm AM/PM",
    "0.00",
    "yyyy-mm-dd",
    "@",
    ";;;",
    "[s]",
    '"s"0',
)
cells = st.sampled_from(CELLS) | odd_texts


def manifest(into: Path, _out: Path) -> None:
    found, problems = scan_manifest(into)
    for line in problems:
        promise(len(line) < 2000, f"a problem of {len(line)} letters")
    for record in (*found.videos, *found.clips, *found.songs):
        promise(bool(NAME.fullmatch(next(iter(vars(record).values())))), "ids are names")
    for clip in found.clips:
        for seconds in (clip.start, clip.end):
            promise(seconds is None or (math.isfinite(seconds) and seconds >= 0), "times are finite, from 0")
    if not problems:
        find_missing_values(found)
        for video in found.videos:
            if not url_problem(video.url, into) and video.url and "://" not in video.url:
                promise(
                    (into / video.url).resolve().is_relative_to(into.resolve()), f"{video.url!r} lies in the folder"
                )
        for item in read_manifest_items(into):
            promise(item.seconds is None or math.isfinite(item.seconds), "lengths are finite")


def annotations(into: Path, out: Path) -> None:
    for name in MANIFEST:
        (out / name).write_bytes((into / name).read_bytes())
    before = {name: _rows(out / name) for name in MANIFEST}
    sheet = next(path for path in into.iterdir() if path.stem == "sheet")
    import_annotations(out, sheet)
    found, problems = scan_manifest(out)
    promise(not problems, f"the manifest is valid afterwards: {problems[:1]}")
    promise(len(found.clips) == len(before["clips.csv"]) - 1, "no clip is lost")
    for name, old in before.items():
        new = {tuple(row[:1]): dict(zip(_rows(out / name)[0], row, strict=False)) for row in _rows(out / name)[1:]}
        for row in old[1:]:
            for column, value in zip(old[0], row, strict=False):
                promise(
                    not value or new[tuple(row[:1])].get(column) == value, f"{name}: {column} of {row[0]} was {value!r}"
                )


def pairs(into: Path, _out: Path) -> None:
    for pair in read_records(into / "pairs.csv", Pair):
        path = inside(into, pair.generated, into / "pairs.csv")
        promise(path.resolve().is_relative_to(into.resolve()) and path.is_file(), "files lie in the folder")


def weights(into: Path, _out: Path) -> None:
    for row in read_records(into / "weights.csv", Weights, extra=False):
        promise(
            bool(NAME.fullmatch(row.name)) and "/" not in row.filename and row.filename not in (".", ".."),
            f"a file's name: {row.filename!r}",
        )


def rows(into: Path, out: Path) -> None:
    found = read_records(into / "rows.csv", ClipRow)
    for row in found:
        promise(bool(NAME.fullmatch(row.id)), f"an id becomes a file's name: {row.id!r}")
        promise(row.frames is None or type(row.frames) is int, f"frames are a whole number: {row.frames!r}")
    write_records(out / "rows.csv", found, ClipRow)
    promise(
        read_records(out / "rows.csv", ClipRow) == sorted(found, key=lambda row: row.id),
        "what is written reads as it was",
    )


READERS = {"manifest": manifest, "annotations": annotations, "pairs": pairs, "weights": weights, "rows": rows}


def _rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8-sig") as handle:
        return [row for row in csv.reader(handle) if row]


def _csv(table: list[list], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(table)
    return out.getvalue()


@st.composite
def _altered(draw, table: list[list], values=cells) -> list[list]:
    """A table with a few odd cells, and columns or rows left out, doubled or moved."""
    table = [list(row) for row in table]
    for _ in range(draw(st.integers(0, 4))):
        row = draw(st.integers(0, len(table) - 1))
        column = draw(st.integers(0, max(0, len(table[row]) - 1)))
        act = draw(
            st.sampled_from(
                (
                    "cell",
                    "cell",
                    "cell",
                    "cell",
                    "row twice",
                    "no row",
                    "column twice",
                    "no column",
                    "longer",
                    "shorter",
                )
            )
        )
        if act == "cell" and table[row]:
            table[row][column] = draw(values)
        elif act == "row twice":
            table.insert(row, list(table[row]))
        elif act == "no row" and len(table) > 1:
            del table[row]
        elif act in ("column twice", "no column"):
            for cells_of in table:
                if column < len(cells_of):
                    cells_of[column : column + 1] = [cells_of[column]] * 2 if act == "column twice" else []
        elif act == "longer":
            table[row].append(draw(values))
        elif act == "shorter" and table[row]:
            table[row].pop()
    return table


@st.composite
def _encoded(draw, table: list[list]) -> bytes:
    text = _csv([[str(cell) for cell in row] for row in table], draw(st.sampled_from(",,,,;\t")))
    code = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")))
    content = text.encode(code, errors="replace")
    return draw(damaged(content)) if not draw(st.integers(0, 3)) else content


@st.composite
def _workbook(draw) -> bytes:
    table = draw(_altered(SHEET, cells | st.sampled_from(XLSX_VALUES)))
    book = openpyxl.Workbook()
    sheet = book.active
    for r, row in enumerate(table, start=1):
        for c, value in enumerate(row, start=1):
            try:
                cell = sheet.cell(r, c, value)
            except (ValueError, IllegalCharacterError):
                continue
            if not isinstance(value, str):
                cell.number_format = draw(st.sampled_from(FORMATS))
            elif value.startswith("http"):
                cell.hyperlink = value
    out = io.BytesIO()
    book.save(out)
    content = _without_dates(out.getvalue())
    harm = draw(st.sampled_from(("none", "none", "bytes", "inside")))
    return draw(damaged(content)) if harm == "bytes" else draw(rezipped(content)) if harm == "inside" else content


def _without_dates(workbook: bytes) -> bytes:
    """The same workbook whenever it is written: hypothesis wants equal bytes for equal draws."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = (
                re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2000-01-01T00:00:00Z", old.read(name))
                if name == "docProps/core.xml"
                else old.read(name)
            )
            new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), part, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@cache
def _manifest_files() -> dict[str, bytes]:
    return {name: _csv(table).encode() for name, table in MANIFEST.items()}


@st.composite
def cases(draw) -> Case:
    reader = draw(st.sampled_from(("manifest", "manifest", "annotations", "annotations", "pairs", "weights", "rows")))
    if reader == "manifest":
        return Case(reader, {name: draw(_encoded(draw(_altered(table)))) for name, table in MANIFEST.items()})
    if reader == "annotations":
        files = dict(_manifest_files())
        if not draw(st.integers(0, 3)):
            files["clips.csv"] = _csv(draw(_altered(MANIFEST["clips.csv"]))).encode(errors="replace")
        if draw(st.integers(0, 2)):
            return Case(reader, files | {"sheet.csv": draw(_encoded(draw(_altered(SHEET))))})
        return Case(reader, files | {"sheet.xlsx": draw(_workbook())})
    table = {"pairs": PAIRS, "weights": WEIGHTS, "rows": ROWS}[reader]
    files = {f"{reader}.csv": draw(_encoded(draw(_altered(table))))}
    return Case(reader, files | ({"a.wav": b"", "b.wav": b""} if reader == "pairs" else {}))
