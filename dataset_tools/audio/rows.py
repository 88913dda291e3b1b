"""Rows of the table that `audio` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class AudioRow(Row):
    """One row of audio/rows.csv."""

    samples: int = 0
    """Number of samples at 22 050 Hz."""
    peak: float = 0.0
    """Largest absolute sample after mixing to mono; may exceed 1."""
    rms: float = 0.0
    channel: str = ""
    """'left' or 'right' if only this channel was taken, because the channels cancel in their mean; else empty."""
