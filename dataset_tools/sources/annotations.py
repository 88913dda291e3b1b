"""Fill in the manifest of a corpus from an annotation sheet: addresses, times, dancers. Existing values are never lost."""

import csv
import io
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.csv_file import detect_separator, iterate_rows
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import CSV_BYTES, read_bytes
from dataset_tools.lib.core.manifest import Manifest, load_manifest, scan_manifest
from dataset_tools.lib.core.schema import SEGMENT_SECONDS, ListedClip, Song, Video, scan_records
from dataset_tools.sources import annotation_values as values
from dataset_tools.sources.clip_finder import ClipFinder
from dataset_tools.sources.columns import assign_roles, find_header, parse_mapping
from dataset_tools.sources.spreadsheet import Sheet, clean_text, read_sheet

TARGETS = {
    "url": ("videos", "url"), "video_title": ("videos", "title"), "start": ("clips", "start"), "end": ("clips", "end"),
    "dancers": ("clips", "dancers"), "song_title": ("songs", "title"), "artist": ("songs", "artist"),
    "genre": ("songs", "genre"),
}  # fmt: skip
FILL_DOWN = ("video", "song", "url")
RANGE = re.compile(r"\d\s*(?:[-\u2013\u2014~]|to)\s*\d")
MAX_DISAGREEMENT = 1.5  # seconds between an end and start + duration, because people round
MIN_SECONDS = 1.0  # a shorter time between start and end means that they are not in seconds
MIN_WHOLE_MINUTES = 5  # if at least so many times all end in :00, they were typed as minutes and seconds


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """Result of reading an annotation sheet."""

    used: dict[str, str]
    """Our role -> the column of the sheet that it was read from."""
    filled: dict[tuple[str, str, str], str]
    """(file, id, field) -> the new value, if the manifest had none, or another one and `replace` is set."""
    same: int = 0
    """Number of values that the manifest had already."""
    rows: int = 0
    """Number of rows below the header of the sheet."""
    notes: list[str] = field(default_factory=list)
    """One line for every row and column that was not used, and for every value that a person should check."""
    conflicts: list[str] = field(default_factory=list)
    """One line for every value that conflicts with the manifest or within the sheet; none of these is filled in."""

    def counts(self) -> str:
        """Summary of the values that are filled in, such as '445 clips.csv end, 15 videos.csv url'."""
        number = defaultdict(int)
        for file, _, name in self.filled:
            number[f"{file}.csv {name}"] += 1
        return ", ".join(f"{count} {name}" for name, count in sorted(number.items())) or "nothing new"


def import_annotations(
    folder: Path, path: Path, *, sheet: str = "", mapping: Sequence[str] = (), by_order: bool = False,
    fill_down: bool = False, replace: bool = False, dry_run: bool = False,
) -> ImportResult:  # fmt: skip
    """Read the sheet at `path` into the manifest in `folder`.

    A row belongs to the clip in its clip column: the clip's id, or the number at its end, alone or with its video and song.

    by_order: if there is no clip column, assign rows to clips in order, within each video and song that the sheet names and for
    which it has as many rows as there are clips.
    fill_down: an empty video, song or url repeats the value above it.
    replace: the sheet's value replaces another value in the manifest.
    dry_run: write nothing.

    Raises UserError for an unreadable sheet, a sheet without a column for the clip, a sheet that does not fit the corpus, and a
    result that is not a valid manifest. Nothing is written then.
    """
    manifest = load_manifest(folder)
    table = read_sheet(path, sheet)
    options = parse_mapping(mapping)
    found = read_annotations(
        manifest, table, options, by_order=by_order, fill_down=fill_down, replace=replace, label=str(path)
    )
    found.notes.extend(find_implausible_lengths(folder, manifest, found.filled))
    if found.filled:
        texts = edit_tables(folder, found.filled)
        _check_result(folder, texts)
        if not dry_run:
            for name, text in texts.items():
                write_text(folder / name, text)
    return found


def read_annotations(
    manifest: Manifest,
    table: Sheet,
    mapping: dict[str, str],
    *,
    by_order: bool,
    fill_down: bool,
    replace: bool,
    label: str,
) -> ImportResult:
    """The values of `table` for the clips of `manifest`."""
    top = find_header(table.rows, list(mapping))
    number, header = table.rows[top]
    body = table.rows[top + 1 :]

    def column(index: int) -> list[str]:
        return [cells[index] if index < len(cells) else "" for _, cells in body]

    clips = ClipFinder(manifest)
    roles, unused = assign_roles(header, column, mapping, set(clips.names), len(manifest.videos))
    notes = [
        f"row {n} is above the header and not used: {clean_text(' | '.join(c for c in cells if c))}"
        for n, cells in table.rows[:top]
    ]
    notes += [f"sheet '{other}' of the file is not read; use --sheet to read it" for other in table.others]
    notes += [
        f"column '{clean_text(header[i])}' is not used; give its role with --map '{clean_text(header[i])}=…'"
        for i in unused
        if header[i]
    ]
    texts = {role: column(index) for role, index in roles.items()}
    places = [
        roles[role] for role in ("url", "video", "video_title", "clip") if role in roles
    ]  # not the columns of songs: their links lead to the music
    linked = {index: links for index in places if any(links := [table.links.get((n, index), "") for n, _ in body])}
    if "url" in roles and roles["url"] in linked:
        cells = zip(texts["url"], linked[roles["url"]], strict=True)
        texts["url"] = [link if link and not values.looks_like_url(text) else text for text, link in cells]
    elif "url" not in roles and len(linked) == 1:
        roles["hyperlinks"], texts["url"] = next(iter(linked.items()))
    if not set(texts) & set(TARGETS) - {"genre"} and not set(roles) & {"times", "duration"}:
        others = f", or read another sheet with --sheet: {', '.join(table.others)}" if table.others else ""
        raise UserError(
            f"{label}: row {number} names no url, start, end or dancers (it has {', '.join(clean_text(c) for c in header if c)}); say "
            f"which they are with --map 'THEIRS=OURS'{others}"
        )
    if starts := _read_link_starts(texts):
        texts["start"] = starts
        notes.append("no column has the start, so it is taken from the row's link (t=…)")
    for role in FILL_DOWN if fill_down else ():
        texts[role] = _fill_down(texts.get(role, []))
    if _are_typed_as_minutes([t for role in ("start", "end") for t in texts.get(role, [])]):
        for role in ("start", "end"):
            texts[role] = [re.sub(r":00(?:\.0+)?$", "", t) if t.count(":") == 2 else t for t in texts.get(role, [])]
        notes.append("all times end in :00, so they are read as minutes:seconds, not hours:minutes:00")
    texts |= values.mark_day_fractions({role: texts[role] for role in ("start", "end", "duration") if role in texts})
    rows = [{role: cells[k] for role, cells in texts.items() if cells and cells[k]} for k in range(len(body))]
    matches, unmatched = clips.find_clips(rows, by_order, label)
    stated = defaultdict(dict)  # (file, id, field) -> {value: first row with it}
    refused = defaultdict(list)  # problem -> rows that have it
    for k, clip in enumerate(matches):
        if clip is None:
            refused[f"not used: {unmatched[k]}"].append(body[k][0])
            continue
        pairs, problems = _parse_values(rows[k])
        for problem in problems:
            refused[problem].append(body[k][0])
        for role, value in pairs:
            file, name = TARGETS[role]
            owner = {"videos": clip.video_id, "clips": clip.clip_id, "songs": clip.song_id}[file]
            stated[file, owner, name].setdefault(value, body[k][0])
    lines = [f"{_describe_rows(numbers)}: {what}" for what, numbers in refused.items()]
    if not stated:
        first = f"; {lines[0]}" if lines else ""
        raise UserError(f"{label}: none of its {len(body)} rows says anything about {manifest.folder}{first}")
    if 2 * sum(reason.startswith("it says ") for reason in unmatched.values()) > len(body):
        lines.append(
            "most rows disagree with the manifest; if a column was assigned the wrong role, leave it out with --map 'NAME=ignore'"
        )
    used = {role: clean_text(header[index]) for role, index in roles.items()}
    return _merge(manifest, stated, replace, ImportResult(used=used, filled={}, rows=len(body), notes=notes + lines))


def _read_link_starts(texts: dict[str, list[str]]) -> list[str]:
    """Start times from the links of a sheet without a column for the start; [] if other columns give the times or no link has one."""
    ranges = any(RANGE.search(cell) for role in ("times", "duration") for cell in texts.get(role, []))
    links = texts.get("url")
    if ranges or links is None or "start" in texts or not {"end", "duration"} & set(texts):
        return []
    ends: dict[str, set] = {}
    for link, *told in zip(links, *(texts[role] for role in ("end", "duration") if role in texts), strict=True):
        ends.setdefault(link, set()).add(tuple(told))
    # a start that clips with different ends share was just the player's position when the address was copied
    starts = [values.parse_link_start(link) if len(ends[link]) == 1 else "" for link in links]
    return starts if any(starts) else []


def _describe_rows(numbers: Sequence[int]) -> str:
    """'rows 2, 4 to 7, 9' for ascending numbers, 'row 2' for one."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"{'row' if len(numbers) == 1 else 'rows'} {', '.join(parts)}"


def _parse_values(row: dict[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """([(role, value in the manifest's format)] of a row's cells, one line for each cell that does not fit its column)."""
    pairs, problems = [], []
    for role, read in (("url", values.parse_url), ("dancers", values.parse_dancers)):
        if role in row:
            try:
                pairs.append((role, str(read(row[role]))))
            except ValueError as err:
                problems.append(f"{role} is not used: {clean_text(str(err), 160)}")
    try:
        start, end = _parse_times(row)
        pairs += [("start", str(start)), ("end", str(end))] if start is not None else []
    except ValueError as err:
        problems.append(f"its times are not used: {clean_text(str(err), 160)}")
    pairs += [(role, row[role]) for role in ("video_title", "song_title", "artist", "genre") if role in row]
    return pairs, problems


def _parse_times(row: dict[str, str]) -> tuple[float, float] | tuple[None, None]:
    """Start and end in seconds, from start and end, start and duration, or a range in one cell; (None, None) without times. Raises
    ValueError."""
    start, end = (values.parse_seconds(row[role]) if role in row else None for role in ("start", "end"))
    ranges = [row[role] for role in ("times", "duration") if role in row and RANGE.search(row[role])]
    if ranges and start is None and end is None:
        start, end = values.parse_range(ranges[0])
    elif "duration" in row and not ranges and start is not None:
        stop = round(start + values.parse_seconds(row["duration"]), 3)
        if end is not None and abs(stop - end) > MAX_DISAGREEMENT:
            raise ValueError(f"start {start} s and duration {row['duration']} do not end at {end} s")
        end = stop if end is None else end
    if (start is None) != (end is None):
        raise ValueError("it has a start without an end, or the reverse")
    if start is None and "duration" in row:
        raise ValueError("it has a duration, but no start")
    if start is not None and end <= start:
        raise ValueError(f"its end {end} s is not after its start {start} s")
    if start is not None and end - start < MIN_SECONDS:
        raise ValueError(
            f"{start} s to {end} s is too short; are these fractions of a day? Format the cells as h:mm:ss"
        )
    return start, end


def _merge(manifest: Manifest, stated: dict, replace: bool, found: ImportResult) -> ImportResult:
    """`found` with the new values, the number of known ones, and the conflicts."""
    records: dict[str, dict] = {
        "videos": {v.video_id: v for v in manifest.videos},
        "clips": {c.clip_id: c for c in manifest.clips},
        "songs": {s.song_id: s for s in manifest.songs},
    }
    same, doubtful = 0, set()
    for (file, owner, name), options in sorted(stated.items()):
        where = f"{file}.csv {owner} {name}"
        if len(options) > 1:
            shown_options = " and ".join(f"'{clean_text(v)}' (row {row})" for v, row in options.items())
            found.conflicts.append(f"{where}: the sheet has {shown_options}; none is taken")
            doubtful |= {(file, owner, "start"), (file, owner, "end")} if name in ("start", "end") else set()
            continue
        value, row = next(iter(options.items()))
        have = getattr(records[file][owner], name)
        if have not in (None, "") and _is_equal(have, value):
            same += 1
        elif have in (None, "") or replace:
            found.filled[file, owner, name] = value
        else:
            found.conflicts.append(
                f"{where}: '{clean_text(str(have))}' in the manifest is kept, row {row} says '{clean_text(value)}'"
            )
            doubtful |= {(file, owner, "start"), (file, owner, "end")} if name in ("start", "end") else set()
    filled = {key: value for key, value in found.filled.items() if key not in doubtful}
    return ImportResult(
        used=found.used, filled=filled, same=same, rows=found.rows, notes=found.notes, conflicts=found.conflicts
    )


def _is_equal(have, value: str) -> bool:
    if isinstance(have, float):
        return abs(have - float(value)) < 0.0005
    try:
        return str(have) == value or values.parse_url(str(have)) == value
    except ValueError:
        return False


def _fill_down(cells: list[str]) -> list[str]:
    filled, above = [], ""
    for cell in cells:
        above = cell or above
        filled.append(above)
    return filled


def _are_typed_as_minutes(cells: list[str]) -> bool:
    """Whether texts of the form h:mm:ss are minutes and seconds that a spreadsheet took for hours and minutes."""
    long = [cell for cell in cells if cell.count(":") == 2]
    return len(long) >= MIN_WHOLE_MINUTES and all(re.search(r":00(?:\.0+)?$", cell) for cell in long)


def find_implausible_lengths(folder: Path, manifest: Manifest, filled: dict[tuple[str, str, str], str]) -> list[str]:
    """One line for each clip whose new length disagrees with the number of 2 s segments that the authors cut from it (segments_2s)."""
    lines = []
    counts = {clip.clip_id: clip.segments_2s for clip in scan_records(folder / "clips.csv", ListedClip).records}
    for clip in manifest.clips:
        times = [filled.get(("clips", clip.clip_id, name)) for name in ("start", "end")]
        count = counts.get(clip.clip_id)
        if count is not None and all(times):
            seconds = float(times[1]) - float(times[0])
            if not -1 <= seconds - SEGMENT_SECONDS * count <= 3:
                lines.append(
                    f"look at clip {clip.clip_id}: {seconds:g} s in the sheet, but {count} segments of 2 s were cut from it"
                )
    return lines


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """The cells of a CSV file of the manifest, for writing it again."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    """(row number as in a spreadsheet, cells)"""
    separator: str


def _read_raw(path: Path) -> RawTable:
    """Read a CSV file that is known to be valid, because it has been read as records before."""
    text = read_bytes(path, CSV_BYTES).decode("utf-8-sig")
    separator = detect_separator(text, [f.name for kind in (Video, ListedClip, Song) for f in fields(kind)])
    (_, header), *rows = iterate_rows(text, separator)
    return RawTable(header=[name.strip() for name in header], rows=rows, separator=separator)


def edit_tables(folder: Path, filled: dict[tuple[str, str, str], str]) -> dict[str, str]:
    """{file name: its new text} with the values filled in. Every other row, column and value stays the same."""
    texts = {}
    for file in sorted({file for file, _, _ in filled}):
        raw = _read_raw(folder / f"{file}.csv")
        header = raw.header + sorted({name for f, _, name in filled if f == file} - set(raw.header))
        if ragged := next((n for n, row in raw.rows if len(row) > len(raw.header)), 0):
            raise UserError(f"{folder / file}.csv row {ragged}: more cells than the header has names; name them all")
        rows = [row + [""] * (len(header) - len(row)) for _, row in raw.rows]
        at = {row[header.index(f"{file[:-1]}_id")]: row for row in rows}
        for (f, owner, name), value in filled.items():
            if f == file:
                at[owner][header.index(name)] = value
        out = io.StringIO()
        csv.writer(out, delimiter=raw.separator, lineterminator="\n").writerows([header, *rows])
        texts[f"{file}.csv"] = out.getvalue()
    return texts


def _check_result(folder: Path, texts: dict[str, str]) -> None:
    """Raise UserError unless the manifest with these files is valid."""
    with tempfile.TemporaryDirectory() as place:
        for name in ("videos.csv", "clips.csv", "songs.csv"):
            (Path(place) / name).write_text(
                texts.get(name) or (folder / name).read_text(encoding="utf-8"), encoding="utf-8"
            )
        problems = scan_manifest(Path(place))[1]
    if problems:
        raise UserError(
            f"{folder}: not changed, because the result would not be a valid manifest: {problems[0].replace(place, str(folder))}"
        )
