"""Rows of the table that `clips` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class ClipRow(Row):
    """One row of clips/rows.csv. The numbers are empty unless status is ok."""

    video_id: str
    song_id: str
    genre: str = ""
    official_split: str = ""
    frames: int | None = None
    """Number of frames at 30 fps."""
    width: int | None = None
    height: int | None = None
    crop_x: int | None = None
    """Left edge of the cropped part, in px of the upright source frame."""
    crop_y: int | None = None
    crop_w: int | None = None
    crop_h: int | None = None
    source_width: int | None = None
    """Size of the upright source frame, in px."""
    source_height: int | None = None
    source_fps: float | None = None
    audio_peak: float | None = None
    """Largest absolute sample; 1 is full scale."""
    sound_drift: float | None = None
    """Duration of the whole source's audio divided by that of its video, minus 1; empty if the file does not give both."""
    cuts: int | None = None
    """Number of scene cuts inside the clip."""
    sound_lost: float | None = None
    """Seconds of the clip's audio that are silent because packets are missing or can't be decoded."""
    damaged: int | None = None
    """Pictures that were decoded with errors, or after such ones before the next key picture."""
