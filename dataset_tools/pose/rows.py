"""Rows of the table that `pose` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class PoseRow(Row):
    """One row of pose/rows.csv."""

    people: int = 0
    """Number of dancers found, at most P."""
    coverage: float = 0.0
    """Fraction of the frames in which the primary dancer was found."""
    layout: str = ""
    weights: str = ""
    """Name of the weights and the first 8 digits of their sha256."""
