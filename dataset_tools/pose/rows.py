"""Rows of the tables that `pose` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class ClipFile(Row):
    """What this stage needs of a row of clips/rows.csv."""

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
    """Dancers found, at most P."""
    coverage: float = 0.0
    """Share of the frames in which the primary dancer was seen."""
    layout: str = ""
    weights: str = ""
    """Name and the first 8 digits of the file's sha256."""
