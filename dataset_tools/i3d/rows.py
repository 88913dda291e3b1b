"""Rows of the table that `i3d` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class FeatureRow(Row):
    """One row of i3d/rows.csv."""

    windows: int = 0
    weights: str = ""
    """RGB and flow weights: name and the first 8 digits of their sha256."""
