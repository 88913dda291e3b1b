"""Changes the tempo of a dance's beats."""

import dataclasses

import numpy as np

from d2m_model.generate.params import check_tempo
from d2m_model.generate.song_fit import NEAR, counted
from d2m_model.rhythm.beats_file import MOST_BEATS, Beats
from dataset_tools.lib.core.errors import UserError

COUNTS = (0.5, 1.0, 2.0)
"""Beats of the result per beat of the dance."""


def with_tempo(beats: Beats, bpm: float) -> Beats:
    """The beats at a mean tempo of `bpm`; the first beat stays.

    If half or twice the dance's tempo is nearer, every second beat is first removed, or one is inserted between every two; so the
    music stays on the dance as far as possible. Down-beats are not removed, and a bar keeps its number of beats. Then all times
    are scaled. After the last one, beats continue at `bpm` to the end of the dance; beats beyond the end are dropped.

    Raises UserError as `check_tempo`, for fewer than two beats, and for more beats than `Beats` allows.
    """
    check_tempo(bpm)
    if len(beats.beats) < 2:
        raise UserError(
            f"--tempo needs at least two beats of the dance, found {len(beats.beats)}; give them with --beats"
        )
    numbers = counted(beats.beats)
    tempo = 60 * numbers[-1] / (beats.beats[-1] - beats.beats[0])
    count = min(COUNTS, key=lambda c: abs(np.log2(bpm / (tempo * c))))
    accents = _accents(beats, numbers)
    bar = int(np.median(np.diff(accents))) if len(accents) > 1 else 0

    first = (
        float(accents[0] % 2) if count == 0.5 and len(accents) else 0.0
    )  # number of the first beat of the dance that is used
    grid = np.arange(first, numbers[-1] + 1e-9, 1 / count)
    start = float(np.interp(first, numbers, beats.beats))
    times = start + (np.interp(grid, numbers, beats.beats) - start) * tempo * count / bpm
    if len(times) + (beats.seconds - times[-1]) * bpm / 60 > MOST_BEATS:
        raise UserError(f"--tempo {bpm:g} in {beats.seconds:.0f} s is more than {MOST_BEATS} beats; cut the dance")
    more = np.arange(times[-1] + 60 / bpm, beats.seconds, 60 / bpm)
    strength = np.interp(grid, numbers, beats.strength) if len(beats.strength) else np.zeros(0)
    if len(strength):
        strength = np.concatenate([strength, np.full(len(more), np.median(strength))])
    times = np.concatenate([times, more])
    kept = times <= beats.seconds
    phase = round((accents[0] - first) * count) % bar if bar else 0
    downbeats = times[phase::bar] if bar else times[np.isin(np.arange(len(times)), np.rint((accents - first) * count))]
    return dataclasses.replace(
        beats,
        beats=times[kept],
        downbeats=downbeats[downbeats <= beats.seconds],
        strength=strength[kept] if len(strength) else strength,
        tempo=float(bpm),
    )


def _accents(beats: Beats, numbers: np.ndarray) -> np.ndarray:
    """Ascending numbers of the beats that are down-beats."""
    if not len(beats.downbeats):
        return np.zeros(0)
    away = np.abs(beats.downbeats[:, None] - beats.beats[None, :])
    return np.unique(numbers[away.argmin(axis=1)[away.min(axis=1) <= NEAR]])
