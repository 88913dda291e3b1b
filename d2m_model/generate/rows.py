"""Rows of the rows.csv that `generate` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class GeneratedRow(Row):
    """The music of one clip."""

    seconds: float
    peak: float
    """Highest absolute sample."""
