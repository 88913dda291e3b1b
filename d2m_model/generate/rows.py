"""Rows of the tables that `generate` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class AudioScores(Row):
    """One row of rows.csv: a test clip's music."""

    seconds: float
    peak: float
    """Highest absolute sample."""
