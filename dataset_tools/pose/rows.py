"""Rows of the tables that `pose` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class ClipFile(Row):
    """The columns of clips/rows.csv that this stage uses."""

    frames: int | None = None
    width: int | None = None
    height: int | None = None
    crop_x: int | None = None
    crop_y: int | None = None
    crop_w: int | None = None
    crop_h: int | None = None
    source_width: int | None = None
    source_height: int | None = None


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
