"""Writes beats as a Standard MIDI File whose grid is the beats': a music program that opens it has its bars and beats on the dance's."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from d2m_model.rhythm.beats_file import Beats
from d2m_model.rhythm.editing import accents_of, bar_of
from dataset_tools.lib.midi import DRUM_CHANNEL, TICKS_PER_BEAT, write_tracks

ACCENTED, PLAIN = 76, 77
"""Notes of the clicks on down-beats and on other beats: the high and the low wood block of General MIDI's percussion."""
LOUD, SOFT = 112, 80
"""Their velocities."""
CLICK = TICKS_PER_BEAT // 4
"""Ticks that a click lasts."""
BAR = 4
"""Beats of a bar where down-beats are unknown."""
LONGEST_BAR = 32
"""Beats between two down-beats that are still written as one bar; more are divided."""
LONGEST = 16_000_000
"""Microseconds of a quarter note; MIDI holds 16 777 215."""
SHORTEST = 60_000
"""Microseconds of a quarter note at 1000 a minute: music programs take no faster tempo."""
USUAL = 500_000
"""Microseconds of a quarter note where there are too few beats to know one."""


def write_beats_midi(path: Path, beats: Beats) -> None:
    """Write a format 1 file in which each beat is a quarter note, and has a click on the drum channel; complete or absent.

    The tempo changes at each beat, so that the clicks' times in seconds are the beats' to a microsecond, without drift. The time before
    the first beat is filled with quarter notes, and a gap of over 16 s is divided, because MIDI has no slower ones. A bar begins at each
    down-beat, with as many quarter notes as there are beats to the next one; what is before the first down-beat fills whole bars, after
    a shorter one. If the first beat comes within 60 ms, the grid begins at 0, and only its click is where the beat is. Without down-beats, bars of four are counted from the first beat, and all clicks are equal. The file ends with the
    dance.
    """
    import mido

    places, lengths, usual = _grid(beats)
    accents = accents_of(beats)
    bar = bar_of(accents) or BAR
    metre = _metre(places[accents] if len(accents) else places[:1], bar if bar <= LONGEST_BAR else BAR)
    time_track = [
        (place * TICKS_PER_BEAT, mido.MetaMessage("time_signature", numerator=count, denominator=4))
        for place, count in _changes(metre)
    ]
    time_track += [
        (place * TICKS_PER_BEAT, mido.MetaMessage("set_tempo", tempo=length))
        for place, length in _changes(enumerate([*lengths, usual]))
    ]
    time_track.sort(key=lambda event: event[0])
    rest = max(0.0, beats.seconds * 1e6 - sum(lengths)) / usual
    end = round((len(lengths) + rest) * TICKS_PER_BEAT)
    time_track.append((end, mido.MetaMessage("end_of_track")))
    late = round(beats.beats[0] * 1e6 / [*lengths, usual][0] * TICKS_PER_BEAT) if len(places) else 0
    clicks = []
    for place, accented in zip(places.tolist(), np.isin(np.arange(len(places)), accents).tolist(), strict=True):
        note, velocity = (ACCENTED, LOUD) if accented else (PLAIN, SOFT)
        on = place * TICKS_PER_BEAT + (late if place == 0 else 0)
        off = min(on + CLICK, max(end, on + 1))
        clicks.append((on, mido.Message("note_on", channel=DRUM_CHANNEL, note=note, velocity=velocity)))
        clicks.append((off, mido.Message("note_off", channel=DRUM_CHANNEL, note=note, velocity=0)))
    write_tracks(path, [time_track, clicks])


def _grid(beats: Beats) -> tuple[np.ndarray, list[int], int]:
    """(number of the quarter note of each beat (n,); microseconds of all quarter notes up to the last beat; usual length of one)."""
    marks = np.concatenate([[0], np.rint(beats.beats * 1e6)]).astype(np.int64)
    if len(marks) > 1 and marks[1] < SHORTEST:
        marks[1] = 0
    spans = np.diff(marks)  # before the first beat, and between the beats
    usual = int(np.clip(np.median(spans[1:]), 1, LONGEST)) if len(spans) > 1 else USUAL
    counts = np.maximum(1, -(-spans // LONGEST))
    if len(spans):
        counts[0] = max(counts[0], round(spans[0] / usual)) if spans[0] else 0
    places = np.cumsum(counts)
    known = np.concatenate([[True], counts > 0])
    nodes = np.concatenate([[0], places])
    times = np.rint(np.interp(np.arange(nodes[-1] + 1), nodes[known], marks[known])).astype(np.int64)
    return places, np.maximum(1, np.diff(times)).tolist(), usual


def _metre(strong: np.ndarray, bar: int) -> list[tuple[int, int]]:
    """(number of the quarter note, quarter notes of a bar from there on), for down-beats at the quarter notes `strong` (m,)."""
    if not len(strong):
        return [(0, bar)]
    starts = strong.tolist()
    first = starts[0]
    found = [(0, first % bar)] if first % bar else []
    found += [(first % bar, bar)] if first >= bar else []
    for start, after in pairwise(starts):
        count, over = after - start, (after - start) % bar
        found.append((start, count if count <= LONGEST_BAR else bar))
        found += [(after - over, over)] if count > LONGEST_BAR and over else []
    return [*found, (starts[-1], bar)]


def _changes(values: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those of the pairs (place, value) whose value is not that of the pair before."""
    before = None
    for place, value in values:
        if value != before:
            yield place, value
        before = value
