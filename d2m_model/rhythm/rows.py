"""Rows of rows.csv: what the network read from each clip's motion, and how it compares with the clip's music."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class RhythmRow(Row):
    """One clip."""

    split: str
    beats: int
    """How many were read from the motion."""
    downbeats: int
    tempo: float | None
    """Beats a minute."""
    music_tempo: float | None
    """Of the clip's own music."""
    f_beats: float | None
    """F-measure, ±70 ms, against the beats of its own music; None where that has none."""
    f_downbeats: float | None
    style: str
    """The likeliest genre; empty where the corpus has none."""
