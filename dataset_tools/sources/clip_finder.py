"""Match the rows of an annotation sheet to the clips of a corpus."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.schema import Clip
from dataset_tools.sources.annotation_values import normalize_name

Row = tuple[int, dict[str, str]]
"""(row number as in a spreadsheet, {role: cell}) of a row; no cell is empty."""


def find_clips(clips: Sequence[Clip], rows: Sequence[Row], by_order: bool, path: Path) -> list[Clip | str]:
    """The clip of each row of the sheet at `path`, or why it has none."""
    if any("clip" in row for _, row in rows):
        names = _names_of(clips)
        return [_find_clip(row, names) for _, row in rows]
    if not by_order:
        raise UserError(
            f"{path}: no column tells which clip a row is about; name it with --map 'THEIRS=clip', or add --by-order"
        )
    return [*_in_order(clips, rows, path)]


def _names_of(clips: Sequence[Clip]) -> dict[str, Clip]:
    """Id of a clip or the number at its end, after `normalize_name` -> the only clip that it can mean."""
    named = defaultdict(list)
    for clip in clips:
        named[normalize_name(clip.clip_id)].append(clip)
        if number := re.search(r"\d+$", clip.clip_id):
            named[str(int(number[0]))].append(clip)
    return {name: found[0] for name, found in named.items() if len(found) == 1}


def _find_clip(row: dict[str, str], names: dict[str, Clip]) -> Clip | str:
    if "clip" not in row:
        return "it names no clip"
    clip = names.get(normalize_name(row["clip"]))
    if clip is None:
        return f"clip '{printable(row['clip'])}' is not in clips.csv, or several clips there end in this number"
    return _disagreement(row, clip, [role for role in ("video", "song") if role in row]) or clip


def _disagreement(row: dict[str, str], clip: Clip, roles: Sequence[str]) -> str:
    """How the row's cells for the roles 'video' and 'song' disagree with the clip; '' if they agree."""
    for role in roles:
        said, own = row.get(role, ""), clip.video_id if role == "video" else clip.song_id
        if normalize_name(said) != normalize_name(own):
            return f"it says {role} '{printable(said)}', but clip {clip.clip_id} belongs to {role} {own}"
    return ""


def _in_order(clips: Sequence[Clip], rows: Sequence[Row], path: Path) -> list[Clip]:
    """The clips in order. Every row must agree, because a row too many or too few shifts all that follow."""
    if len(rows) != len(clips):
        raise UserError(f"{path}: --by-order with {len(rows)} rows for {len(clips)} clips; each clip needs one row")
    pieces = {clip: re.split(r"(\d+)", clip.clip_id) for clip in clips}  # so that clip 2 is before clip 10
    ordered = sorted(clips, key=lambda clip: [int(p) if p.isdigit() else p for p in pieces[clip]])
    roles = [role for role in ("video", "song") if any(role in row for _, row in rows)]
    for (number, row), clip in zip(rows, ordered, strict=True):
        if problem := _disagreement(row, clip, roles):
            raise UserError(f"{path} row {number}: --by-order: {problem}; put the rows in the order of the clips' ids")
    return ordered
