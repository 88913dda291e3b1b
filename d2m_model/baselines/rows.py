"""Rows of the rows.csv that `baselines` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class MusicRow(Row):
    """The music of one clip."""

    seconds: float
    notes: int | None
    """Number of notes; empty if the system writes no score."""
    peak: float
    """Highest absolute sample."""
