"""Rows of the table that `audio` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class AudioRow(Row):
    """One row of audio/rows.csv."""

    samples: int = 0
    """At 22 050 Hz."""
    peak: float = 0.0
    """Largest absolute sample after mixing down; can pass 1."""
    rms: float = 0.0
    channel: str = ""
    """'left' or 'right' where that channel was taken alone, for the mean of both loses what is heard; else empty."""
