"""Rows of the tables that `split` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class CutClip(Row):
    """The columns of clips/rows.csv that matter here."""

    video_id: str
    song_id: str
    official_split: str = ""
    frames: int | None = None
