"""Rows of the table that `clips` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class ClipRow(Row):
    """One row of clips/rows.csv. The numbers are empty where status is not ok."""

    video_id: str
    song_id: str
    genre: str = ""
    official_split: str = ""
    frames: int | None = None
    """At 30 frames a second."""
    width: int | None = None
    height: int | None = None
    crop_x: int | None = None
    """Left edge of the kept part, in px of the upright source video."""
    crop_y: int | None = None
    crop_w: int | None = None
    crop_h: int | None = None
    source_width: int | None = None
    """Px of the upright source video."""
    source_height: int | None = None
    source_fps: float | None = None
    audio_peak: float | None = None
    """Largest absolute sample; 1 is full scale."""
    sound_drift: float | None = None
    """Length of the whole source's sound over that of its picture, minus 1; empty where the file does not say."""
    cuts: int | None = None
    """Scene cuts inside the clip."""
    sound_lost: float | None = None
    """Seconds of the clip's sound that are silent, for they could not be decoded or never came."""
    damaged: int | None = None
    """Pictures that were decoded with errors, or after such ones before the next key picture."""
