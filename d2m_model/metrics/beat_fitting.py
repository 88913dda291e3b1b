"""Stretches a song in time, without changing its pitch, so that its beats fall on a dance's beats. Shows what retrieval can do."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from d2m_model.metrics.inputs import ReferenceBeats
from dataset_tools.lib.audio.stretching import stretch
from dataset_tools.lib.core.timebase import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class SongWithBeats:
    """A song with known beats."""

    audio: np.ndarray
    """Mono float32 (S,) at 22 050 Hz."""
    rhythm: ReferenceBeats

    @property
    def gap(self) -> float:
        """Median gap between beats in seconds; nan for fewer than two beats."""
        return float(np.median(np.diff(self.rhythm.beats))) if len(self.rhythm.beats) > 1 else float("nan")


def nearest_tempo(songs: Mapping[str, SongWithBeats], gap: float, most: float = 1.5) -> str | None:
    """Name of the song that needs the least stretching for a beat every `gap` seconds; of equal ones the first by name. None where
    every song would have to be more than `most` times faster or slower."""
    far = {name: abs(np.log(song.gap / gap)) for name, song in songs.items() if np.isfinite(song.gap)}
    best = min(sorted(far), key=far.__getitem__, default=None)
    return best if best is not None and np.isfinite(gap) and far[best] <= np.log(most) else None


def fit_to_beats(song: SongWithBeats, dance: ReferenceBeats, samples: int) -> np.ndarray:
    """`samples` of a song, float32, stretched so that its beats fall on the dance's beats and its bars on the dance's down-beats.

    A song that is too short is repeated from its first bar. Before the first and after the last beat of the dance the tempo
    continues. Between beats the speed is constant (`stretch`). ValueError where song or dance has fewer than two beats.
    """
    if min(len(song.rhythm.beats), len(dance.beats)) < 2:
        raise ValueError("a song and a dance with two beats each are needed")
    wanted, first = _extend_beats(dance, samples / SAMPLE_RATE)
    audio, found = _repeat_bars(song, len(wanted), first)
    return stretch(audio[None], SAMPLE_RATE, list(zip(found, wanted, strict=True)), samples / SAMPLE_RATE)[0]


def _extend_beats(dance: ReferenceBeats, seconds: float) -> tuple[np.ndarray, int]:
    """(the dance's beats, extended at both ends with the gaps there, from at most 0 s to beyond `seconds`; index of the first
    down-beat)."""
    beats, downbeats = dance.beats, dance.downbeats
    before, after = beats[1] - beats[0], beats[-1] - beats[-2]
    early = beats[0] - before * np.arange(1 + int(max(0, beats[0]) / before), 0, -1)
    late = beats[-1] + after * np.arange(1, 3 + int(max(0, seconds - beats[-1]) / after))
    bar = int(np.abs(beats - downbeats[0]).argmin()) if len(downbeats) else 0
    return np.concatenate([early, beats, late]), len(early) + bar


def _repeat_bars(song: SongWithBeats, count: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """(audio, its beats (count,) in seconds): whole bars of the song, repeated as often as needed, with a down-beat at index
    `first`."""
    beats = song.rhythm.beats
    bars = [int(np.abs(beats - at).argmin()) for at in song.rhythm.downbeats]
    begin, end = (bars[0], bars[-1]) if len(bars) > 1 else (0, len(beats) - 1)
    a, b = (round(beats[i] * SAMPLE_RATE) for i in (begin, end))
    inside = beats[begin:end] - beats[begin]
    laps = 2 + -(-(count + end - begin) // len(inside))
    audio = np.tile(song.audio[a:b], laps)
    found = np.concatenate([inside + lap * (b - a) / SAMPLE_RATE for lap in range(laps)])
    skipped = -first % len(inside)
    return audio, found[skipped : skipped + count]
