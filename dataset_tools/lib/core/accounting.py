"""Checks on the rows of a stage: enough of them must be ok, else the stage ends with a one-line error."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import CLIP_SECONDS, printable
from dataset_tools.lib.core.schema import Row, read_records
from dataset_tools.lib.core.timebase import FPS

R = TypeVar("R", bound=Row)


def read_ok(layout: Layout, word: str, record: type[R]) -> list[R]:
    """All rows of a finished data stage, whatever their status; at least one is ok.

    Raises UserError if the stage has not run or none of its rows is ok, and as `read_records`.
    """
    table = layout.table(word)
    rows = read_records(table, record)
    if not any(row.status == "ok" for row in rows):
        bad = next((f"; {row.id}: {row.reason}" for row in rows), "")
        raise UserError(f"{table}: none of its {len(rows)} rows is ok, so there is nothing to go on with{bad}")
    return rows


def check_frames(frames: int | None) -> None:
    """Raise UserError if `frames`, the length of a clip in clips/rows.csv, is missing or out of range."""
    if frames is None or not 1 <= frames <= CLIP_SECONDS * FPS:
        found = "no number of" if frames is None else printable(frames)
        raise UserError(
            f"clips/rows.csv gives it {found} frames, but a clip has 1 to {CLIP_SECONDS * FPS}; run the stage clips again"
        )


def check_success_rate(rows: Iterable[Row], *, stage: str, min_ok: float, table: Path) -> str:
    """Summary, such as "46 of 48 ok, 2 failed", of the rows that were written to `table`.

    Raises UserError, with the reason of the first failure, if the fraction of rows that are ok is below `min_ok` (0 to 1).
    """
    rows = sorted(rows, key=lambda row: row.id)
    counts = Counter(row.status for row in rows)
    others = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if status != "ok")
    summary = f"{counts['ok']} of {len(rows)} ok" + (f", {others}" if others else "")
    if not rows or counts["ok"] < min_ok * len(rows):
        bad = next((f"; {row.id}: {row.reason}" for row in rows if row.status != "ok"), "")
        raise UserError(
            f"{stage}: {summary}, but {stage}.min_ok asks for {min_ok:.0%}{bad} (every reason is in {table})"
        )
    return summary
