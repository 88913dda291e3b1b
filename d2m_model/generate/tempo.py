"""Changes the tempo of a dance's beats."""

import dataclasses

import numpy as np

from d2m_model.generate.params import HALF, check_tempo
from d2m_model.generate.song_fit import counted
from d2m_model.rhythm.beats_file import MOST_BEATS, Beats
from d2m_model.rhythm.editing import accents_of, bar_of, bar_starts, doubled, halved, parity_of
from dataset_tools.lib.core.errors import UserError

COUNTS = (0.5, 1.0, 2.0)
"""Beats of the result per beat of the dance."""


def with_tempo(beats: Beats, bpm: float | str) -> Beats:
    """The beats at a mean tempo of `bpm`, in beats a minute; the first beat stays. With 'half' or 'double', every second beat is removed,
    or one inserted between every two, and no other beat moves (`halved`, `doubled`).

    If half or twice the dance's tempo is nearer, every second beat is first removed, or one is inserted between every two; so the
    music stays on the dance as far as possible. Down-beats are not removed, and a bar keeps its number of beats. Then all times
    are scaled. After the last one, beats continue at `bpm` to the end of the dance; beats beyond the end are dropped.

    Raises UserError as `check_tempo`, for fewer than two beats, and for more beats than `Beats` allows.
    """
    check_tempo(bpm)
    if isinstance(bpm, str):
        if 2 * len(beats.beats) > MOST_BEATS and bpm != HALF:
            raise UserError(f"--tempo {bpm} makes more than {MOST_BEATS} beats; cut the dance")
        return halved(beats) if bpm == HALF else doubled(beats)
    if len(beats.beats) < 2:
        raise UserError(
            f"--tempo needs at least two beats of the dance, found {len(beats.beats)}; give them with --beats"
        )
    numbers = counted(beats.beats)
    tempo = 60 * numbers[-1] / (beats.beats[-1] - beats.beats[0])
    count = min(COUNTS, key=lambda c: abs(np.log2(bpm / (tempo * c))))
    accents = numbers[accents_of(beats)].astype(int)
    first = parity_of(accents) if count == 0.5 else 0  # number of the first beat of the dance that is used
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
    strong = (accents - first) * count
    downbeats = times[bar_starts(len(times), strong[strong % 1 == 0].astype(int), bar_of(accents))]
    return dataclasses.replace(
        beats,
        beats=times[kept],
        downbeats=downbeats[downbeats <= beats.seconds],
        strength=strength[kept] if len(strength) else strength,
        tempo=float(bpm),
    )
