"""Rows of rows.csv: the beats predicted from each clip's motion, compared with the clip's music."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class RhythmRow(Row):
    """One clip."""

    split: str
    beats: int
    """Number of beats predicted from the motion."""
    downbeats: int
    tempo: float | None
    """Beats per minute."""
    music_tempo: float | None
    """Tempo of the clip's own music."""
    f_beats: float | None
    """F-measure (±70 ms) against the beats of the clip's own music; None where the music has none."""
    f_downbeats: float | None
    style: str
    """The likeliest genre; empty where the corpus has none."""
