"""The beats of a dance and their JSON file, which `rhythm`, a person or another tool writes.

    {"fps": 30, "seconds": 8.2, "tempo": 119.8, "beats": [0.41, ...], "downbeats": [0.41, ...], "strength": [0.9, ...],
     "style": {"house": 0.7, ...}}

Only `beats` is required. An unknown key is refused, because it may be a misspelt one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.json_file import read_json
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE

MOST_BEATS = 100_000
LONGEST_GAP = 10.0
"""Median gap in seconds above which the times of a file without `seconds` are taken for another unit, such as milliseconds."""
MOST_SECONDS = 6 * 3600.0
MOST_STYLES = 1000
MOST_TEMPO = 2000.0
MOST_BYTES = 16 << 20
"""A file is refused beyond these limits."""
EXPORTED = (".json", ".mid", ".wav")
"""Suffixes of the files that `beats_export` writes."""
ACCENTED, PLAIN = 1760.0, 880.0
"""Frequency in Hz of the clicks at down-beats and at other beats."""
DIGITS = {"beats": 4, "downbeats": 4, "strength": 3}
"""Decimals in the file. 0.1 ms is far below the tolerance of 70 ms with which beats are scored."""
OF_AUDIO = ("sound", "song", "level", "seed", "onsets")
"""Keys that `generate --json` adds and that are ignored here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beats:
    """The beats of a dance. Raises ValueError, with the broken rule, for values other than described here."""

    fps: float
    """Frames per second of the video."""
    seconds: float
    """Length of the dance, above 0."""
    beats: np.ndarray
    """(n,) float64: seconds from the start of the dance, at least 0 and ascending."""
    downbeats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(m,) float64 seconds, like `beats`: the first beats of the bars. Empty if unknown."""
    strength: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(n,) float64 within 0..1: how strong each beat is. Empty if unknown."""
    tempo: float | None = None
    """Beats per minute; None where there are too few beats."""
    style: Mapping[str, float] = field(default_factory=dict)
    """Genre -> probability within 0..1; may be empty."""

    def __post_init__(self):
        for name in ("beats", "downbeats", "strength"):
            object.__setattr__(self, name, as_numbers(name, getattr(self, name)))
        require(_is_number(self.fps) and 1 <= self.fps <= 1000, f"fps must be 1 to 1000, found {printable(self.fps)}")
        require(
            _is_number(self.seconds) and 0 < self.seconds <= MOST_SECONDS,
            f"seconds must be above 0 and at most {MOST_SECONDS:g}, found {printable(self.seconds)}",
        )
        for name in ("beats", "downbeats"):
            times = getattr(self, name)
            require(not len(times) or times[0] >= 0, f"{name} must be at least 0 s, found {times[:1]}")
            gaps = np.diff(times)
            require(
                bool((gaps > 0).all()),
                f"{name} must be ascending seconds, found {times[int(gaps.argmin()) : int(gaps.argmin()) + 2] if len(gaps) else times}",
            )
            require(
                not len(times) or times[-1] <= self.seconds,
                f"{name} must be within the {self.seconds:g} s of the dance, found {times[-1:]}",
            )
        require(
            len(self.strength) in (0, len(self.beats)),
            f"strength must have a number for each of the {len(self.beats)} beats, found {len(self.strength)}",
        )
        require(bool(((self.strength >= 0) & (self.strength <= 1)).all()), "strength must be within 0..1")
        require(
            self.tempo is None or (_is_number(self.tempo) and 1 <= self.tempo <= MOST_TEMPO),
            f"tempo must be 1 to {MOST_TEMPO:g} beats a minute, found {printable(self.tempo)}",
        )
        require(
            isinstance(self.style, Mapping) and len(self.style) <= MOST_STYLES,
            f"style must map at most {MOST_STYLES} genres to probabilities",
        )
        for genre, share in self.style.items():
            require(
                isinstance(genre, str) and _is_number(share) and 0 <= share <= 1,
                f"style must map genres to 0..1, found {printable(genre)}: {printable(share)}",
            )


def _is_number(value: object) -> bool:
    """Whether a value is a finite number that float64 can hold."""
    try:
        return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # JSON's integers are unbounded
        return False


def as_numbers(name: str, values: Any) -> np.ndarray:
    """A list of numbers as float64 (n,). Raises ValueError, with `name`, for anything else and for more than `MOST_BEATS`."""
    rule = f"{name} must be a list of at most {MOST_BEATS} finite numbers"
    require(isinstance(values, (list, tuple, np.ndarray)) and len(values) <= MOST_BEATS, rule)
    if not isinstance(values, np.ndarray):
        wrong = next((v for v in values if not _is_number(v)), None)
        require(wrong is None, f"{rule}, found {printable(wrong)}")
        require(all(_is_number(v) for v in values), rule)
    array = np.asarray(values, np.float64)
    require(array.ndim == 1 and bool(np.isfinite(array).all()), rule)
    return array


def tempo_of(beats: np.ndarray) -> float | None:
    """Beats per minute of beat times (n,) in seconds; None for fewer than two, and for a tempo that `Beats` refuses.

    A line is fitted to the times over their counts. The counts follow from the median gap, so that a missing, further or uneven beat
    changes the tempo little.
    """
    if len(beats) < 2:
        return None
    gap = float(np.median(np.diff(beats)))
    # A beat is a further one if its neighbours are about one gap apart.
    further = np.flatnonzero(beats[2:] - beats[:-2] < 1.5 * gap) + 1
    beats = np.delete(beats, further)
    counts = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(np.diff(beats) / gap)))])
    tempo = 60 / float(np.polyfit(counts, beats, 1)[0])
    return tempo if 1 <= tempo <= MOST_TEMPO else None


def read_beats(path: Path) -> Beats:
    """The beats of a JSON file. Missing values are derived from the beats: the dance lasts until the next beat would come, and the
    tempo is theirs.

    Raises UserError for a missing file, another format, unknown keys, and values that `Beats` refuses.
    """
    path = Path(path)
    try:
        values = read_json(path, MOST_BYTES)
    except Unreadable as err:
        raise UserError(f'{err}; a file of beats looks like {{"beats": [0.5, 1.0, 1.5]}}') from None
    if not isinstance(values, dict) or "beats" not in values:
        raise UserError(
            f"{path}: 'beats' is missing; a file of beats looks like {{\"beats\": [0.5, 1.0, 1.5]}}, in seconds"
        )
    known = [field.name for field in fields(Beats)]
    strange = next((key for key in values if key not in (*known, *OF_AUDIO)), None)
    if strange is not None:
        raise UserError(
            f"{path}: unknown key '{printable(strange)}'; known: {', '.join(known)}; correct it or take it out"
        )
    try:
        beats = as_numbers("beats", values["beats"])
        given = {name: values[name] for name in ("downbeats", "strength", "style") if values.get(name) is not None}
        gap = float(np.median(np.diff(beats))) if len(beats) > 1 else 0.5
        tempo = values.get("tempo")
        seconds, fps = values.get("seconds"), values.get("fps")
        require(
            seconds is not None or gap <= LONGEST_GAP,
            f"beats must be in seconds, found a gap of {gap:g}; are they milliseconds?",
        )
        if seconds is None:
            times = [*beats, *as_numbers("downbeats", given.get("downbeats", []))]
            seconds = float(max(times, default=0.0)) + (
                float(np.median(np.abs(np.diff(beats)))) if len(beats) > 1 else 0.5
            )
        found = Beats(fps=FPS if fps is None else fps, seconds=seconds, beats=beats, tempo=tempo, **given)
    except ValueError as err:
        raise UserError(f"{path}: {err}; correct the file") from None
    return replace(found, tempo=tempo_of(found.beats)) if tempo is None else found


def write_beats(path: Path, beats: Beats) -> None:
    """Write beats as JSON, complete or absent."""
    beats = as_written(beats)
    lists = {name: getattr(beats, name).tolist() for name in DIGITS}
    content = {"fps": beats.fps, "seconds": beats.seconds, "tempo": beats.tempo, **lists, "style": dict(beats.style)}
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def as_written(beats: Beats) -> Beats:
    """The beats rounded as in their file, so that music generated from them and from the file is the same."""
    lists: dict[str, Any] = {
        name: np.array([round(float(v), digits) for v in getattr(beats, name)]) for name, digits in DIGITS.items()
    }
    style = {genre: round(float(share), 4) for genre, share in beats.style.items()}
    return replace(
        beats, seconds=round(beats.seconds, 4), tempo=beats.tempo and round(beats.tempo, 2), style=style, **lists
    )


def clicks(beats: Beats, seconds: float) -> np.ndarray:
    """A click track (S,) float32 at 22 050 Hz, `seconds` long: a click at each beat, a higher one at down-beats."""
    librosa = load_librosa()

    samples = round(seconds * SAMPLE_RATE)
    accented = beats.downbeats[beats.downbeats < seconds]
    near = np.abs(beats.beats[:, None] - accented[None, :]).min(axis=1, initial=np.inf) < 0.05
    plain = beats.beats[~near & (beats.beats < seconds)]
    audio = np.zeros(samples, np.float32)
    for times, pitch, gain in ((plain, PLAIN, 0.5), (accented, ACCENTED, 0.9)):
        if len(times):
            audio += gain * librosa.clicks(times=times, sr=SAMPLE_RATE, click_freq=pitch, length=samples).astype(
                np.float32
            )
    return np.clip(audio, -1, 1)
