"""Rows of the tables that `baselines` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class MusicRow(Row):
    """One row of rows.csv: a clip's music."""

    seconds: float
    notes: int | None
    """Of the score; empty where the system writes none."""
    peak: float
    """Highest absolute sample."""
