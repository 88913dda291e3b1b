"""Fill in the manifest of a corpus from an annotation sheet: addresses, times, dancers. Existing values are never lost."""

import csv
import io
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.csv_file import detect_separator, iterate_rows
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import CSV_BYTES, printable, read_bytes
from dataset_tools.lib.core.manifest import TIME_COLUMNS, Manifest, load_manifest, scan_manifest
from dataset_tools.lib.core.schema import SEGMENT_SECONDS, ListedClip, Song, Video
from dataset_tools.sources import annotation_values as values
from dataset_tools.sources.clip_finder import Row, find_clips
from dataset_tools.sources.columns import assign_roles, parse_mapping
from dataset_tools.sources.spreadsheet import read_sheet

Key = tuple[str, str, str]
"""(file, id, field) of a value of the manifest."""
Filled = dict[Key, str]
TARGETS = {
    "url": ("videos", "url"), "video_title": ("videos", "title"), "start": ("clips", "start"), "end": ("clips", "end"),
    "dancers": ("clips", "dancers"), "song_title": ("songs", "title"), "artist": ("songs", "artist"),
    "genre": ("songs", "genre"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """Result of reading an annotation sheet."""

    used: dict[str, str]
    """Our role -> the column of the sheet that it was read from."""
    filled: Filled
    """The new values, where the manifest had none, or another one and `replace` is set."""
    same: int
    """Number of values that the manifest had already."""
    rows: int
    """Number of rows below the header of the sheet."""
    notes: list[str]
    """One line for every row and column that was not used, and for every value that a person should check."""
    conflicts: list[str]
    """One line for every value that conflicts with the manifest or within the sheet; none of these is filled in."""

    def counts(self) -> str:
        """Summary of the values that are filled in, such as '445 clips.csv end, 15 videos.csv url'."""
        number = Counter(f"{file}.csv {name}" for file, _, name in self.filled)
        return ", ".join(f"{count} {name}" for name, count in sorted(number.items())) or "nothing new"


def import_annotations(
    folder: Path, path: Path, *, sheet: str = "", mapping: Sequence[str] = (), by_order: bool = False,
    fill_down: bool = False, replace: bool = False, dry_run: bool = False,
) -> ImportResult:  # fmt: skip
    """Read the sheet at `path` into the manifest in `folder`. The first row has the names of the columns.

    A row belongs to the clip in its clip column: the clip's id, or the number at its end.

    by_order: if there is no clip column, assign rows to clips in order; each clip has a row.
    fill_down: an empty video, song or url repeats the value above it.
    replace: the sheet's value replaces another value in the manifest.
    dry_run: write nothing.

    Raises UserError for an unreadable sheet, a sheet without a column for the clip, columns or times in doubt, a sheet that does
    not fit the corpus, and a result that is not a valid manifest. Nothing is written then.
    """
    manifest = load_manifest(folder, clip=ListedClip)
    (top, header), *body = read_sheet(path, sheet)
    roles, unused = assign_roles(path, header, parse_mapping(mapping))
    if not set(roles) & {*TARGETS, "times", "duration"} - {"genre"}:
        raise UserError(
            f"{path}: row {top} names no url, start, end or dancers; say which they are in {printable(', '.join(filter(None, header)))} with --map "
            "'THEIRS=OURS', or delete the rows above the names"
        )
    rows: list[Row] = []
    above: dict[str, str] = {}
    for number, cells in body:
        row = {role: cells[at] for role, at in roles.items() if at < len(cells) and cells[at]}
        if fill_down:
            row = above | row
            above = {role: row[role] for role in ("video", "song", "url") if role in row}
        rows.append((number, row))
    if doubt := values.find_doubtful_time(rows):
        raise UserError(f"{path} {doubt}")
    stated: defaultdict[Key, dict[str, int]] = defaultdict(dict)  # -> {value: first row with it}
    refused = defaultdict(list)  # problem -> rows that have it
    for (number, row), clip in zip(rows, find_clips(manifest.clips, rows, by_order, path), strict=True):
        if isinstance(clip, str):
            refused[f"not used: {clip}"].append(number)
            continue
        pairs, problems = _parse_values(row)
        for problem in problems:
            refused[problem].append(number)
        owners = {"videos": clip.video_id, "clips": clip.clip_id, "songs": clip.song_id}
        for role, value in pairs:
            file, name = TARGETS[role]
            stated[file, owners[file], name].setdefault(value, number)
    lines = [f"row {printable(', '.join(map(str, those)))}: {what}" for what, those in refused.items()]
    if not stated:
        raise UserError("; ".join([f"{path}: none of its {len(body)} rows says anything about {folder}", *lines[:1]]))
    filled, same, conflicts = _merge(manifest, stated, replace)
    texts = _edit_manifest(folder, filled)
    for table, text in () if dry_run else texts.items():
        write_text(table, text)
    notes = [f"column '{name}' is not used; give its role with --map '{name}=…'" for name in unused]
    return ImportResult(
        used={role: printable(header[at]) for role, at in roles.items()}, filled=filled, same=same, rows=len(body),
        notes=[*notes, *lines, *_find_implausible_lengths(manifest, filled)], conflicts=conflicts,
    )  # fmt: skip


def _parse_values(row: dict[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """([(role, value in the manifest's format)] of a row's cells, one line for each cell that does not fit its column)."""
    pairs, problems = [], []
    for role, read in (("url", values.parse_url), ("dancers", values.parse_dancers)):
        try:
            if role in row:
                pairs.append((role, str(read(row[role]))))
        except ValueError as err:
            problems.append(f"{role} is not used: {printable(str(err))}")
    try:
        pairs += zip(TIME_COLUMNS, map(str, values.parse_times(row) or ()), strict=False)
    except ValueError as err:
        problems.append(f"its times are not used: {printable(str(err))}")
    pairs += [(role, row[role]) for role in ("video_title", "song_title", "artist", "genre") if role in row]
    return pairs, problems


def _merge(manifest: Manifest, stated: dict[Key, dict], replace: bool) -> tuple[Filled, int, list[str]]:
    """(the new values, number of known values, one line for each conflict)."""
    records: dict[str, dict] = {
        "videos": {v.video_id: v for v in manifest.videos},
        "clips": {c.clip_id: c for c in manifest.clips},
        "songs": {s.song_id: s for s in manifest.songs},
    }
    filled: Filled = {}
    same, conflicts, doubtful = 0, [], set()
    for (file, owner, name), options in sorted(stated.items()):
        have = getattr(records[file][owner], name)
        value, row = next(iter(options.items()))
        if len(options) > 1:
            shown = " and ".join(f"'{printable(v)}' (row {n})" for v, n in options.items())
            problem = f"the sheet has {shown}; none is taken"
        elif str(have) == value or (isinstance(have, float) and abs(have - float(value)) < 0.0005):
            same += 1
            continue
        elif have in (None, "") or replace:
            filled[file, owner, name] = value
            continue
        else:
            problem = f"'{printable(str(have))}' in the manifest is kept, row {row} says '{printable(value)}'"
        conflicts.append(f"{file}.csv {owner} {name}: {problem}")
        doubtful |= {(file, owner, other) for other in TIME_COLUMNS if name in TIME_COLUMNS}
    return {key: value for key, value in filled.items() if key not in doubtful}, same, conflicts


def _find_implausible_lengths(manifest: Manifest, filled: Filled) -> Iterator[str]:
    """A line for each clip whose new length disagrees with the number of 2 s segments that the authors cut from it (segments_2s)."""
    for clip in manifest.clips:
        times = [filled.get(("clips", clip.clip_id, name)) for name in TIME_COLUMNS]
        count = getattr(clip, "segments_2s", None)
        if count is not None and all(times):
            seconds = float(times[1]) - float(times[0])
            if not -1 <= seconds - SEGMENT_SECONDS * count <= 3:
                yield f"look at clip {clip.clip_id}: {seconds:g} s in the sheet, but {count} segments of 2 s were cut from it"


def _edit_manifest(folder: Path, filled: Filled) -> dict[Path, str]:
    """{file: its new text} with the values filled in. Raises UserError unless the manifest with these files is valid."""
    texts = {}
    with tempfile.TemporaryDirectory() as place:
        for file in ("videos", "clips", "songs"):
            path = folder / f"{file}.csv"
            text = read_bytes(path, CSV_BYTES).decode("utf-8-sig")
            if new := {(owner, name): value for (f, owner, name), value in filled.items() if f == file}:
                text = texts[path] = _edit_table(text, f"{file[:-1]}_id", new)
            write_text(Path(place) / path.name, text)
        for problem in scan_manifest(Path(place))[1]:
            rule = problem.replace(place, str(folder))
            raise UserError(f"{folder}: not changed, because the result would not be a valid manifest: {rule}")
    return texts


def _edit_table(text: str, key: str, new: dict[tuple[str, str], str]) -> str:
    """The text of a valid table with new values, {(cell in the column `key`, column): value}. Every other value stays the same."""
    separator = detect_separator(text, {f.name for kind in (Video, ListedClip, Song) for f in fields(kind)})
    (_, names), *rows = iterate_rows(text, separator)
    header = [name.strip() for name in names]
    header += sorted({name for _, name in new} - set(header))
    table = [(cells + [""] * len(header))[: len(header)] for _, cells in rows]
    at = {cells[header.index(key)]: cells for cells in table}
    for (owner, name), value in new.items():
        at[owner][header.index(name)] = value
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows([header, *table])
    return out.getvalue()
