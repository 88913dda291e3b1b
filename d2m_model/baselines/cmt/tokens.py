"""CMT's compound tokens (Di et al. 2021, section 3.2): notes <-> rows of seven attributes.

A bar is one rhythm token with its density, the number of ticks with notes. Each of these ticks is one rhythm token with its
strength, the number of notes, followed by one token per note. Attributes that a token does not have are 0. A bar has 16 ticks,
whatever its length in seconds.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from d2m_model.baselines.score import Note

BEAT, TYPE, DENSITY, PITCH, DURATION, INSTRUMENT, STRENGTH = range(7)
"""Columns of a token. BEAT: 1 + tick, or `BAR` for a bar. DENSITY: 1 + number of ticks with notes. PITCH: 1 + MIDI note. DURATION:
ticks. INSTRUMENT: 1 + index in INSTRUMENTS. STRENGTH: number of notes."""
SIZES = (18, 3, 18, 129, 18, 6, 20)
"""Number of values of each attribute, including 0: the published vocabulary."""
END, RHYTHM, NOTE = range(3)
"""Values of TYPE."""
TICKS = 16
BAR = 17
"""BEAT of a bar's token."""
LONGEST, STRONGEST = SIZES[DURATION] - 1, SIZES[STRENGTH] - 1
"""Most ticks of a note, and most notes of a tick; longer notes and further notes are cut."""
INSTRUMENTS = ("drums", "piano", "guitar", "bass", "strings")
"""The five tracks of LPD-5."""
PROGRAMS = (0, 0, 27, 33, 48)
"""General MIDI programs of INSTRUMENTS; the first is a drum kit."""
VELOCITY = 96
"""Velocity of all notes, because tokens have none."""
KEYS = 24
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""Key profiles of Krumhansl and Kessler (1982), from the tonic."""


class Piece(NamedTuple):
    """A training piece."""

    tokens: np.ndarray
    """(N, 7) uint8, see `tokens_of`."""
    genre: str
    """'' if unknown."""
    key: int
    """1..12 for major, 13..24 for minor, from C; 0 without pitched notes."""
    instruments: tuple[bool, ...]
    """(5,): which of INSTRUMENTS play."""


def piece_of(notes: Sequence[Note], bars: Sequence[float] | np.ndarray, genre: str = "") -> Piece:
    """The piece of `notes`; arguments as for `tokens_of`."""
    tokens = tokens_of(notes, bars)
    return Piece(
        tokens,
        genre,
        key_of(notes),
        tuple(bool((tokens[:, INSTRUMENT] == k + 1).any()) for k in range(len(INSTRUMENTS))),
    )


def tokens_of(notes: Iterable[Note], bars: Sequence[float] | np.ndarray) -> np.ndarray:
    """Tokens (N, 7) uint8, from the bar of the first note to that of the last.

    bars: starts of bars in seconds, ascending, at least two; before and after them, bars continue with the lengths of the first
    and the last. Notes are rounded to the nearest tick, last at least one tick, and are sorted by instrument and pitch; equal
    notes of an instrument on a tick are one.
    """
    struck: dict[int, dict[tuple[int, int], int]] = {}
    for note in notes:
        first, last = ticks((note.start, note.end), bars)
        tick, long = round(float(first)), max(1, min(LONGEST, round(float(last - first))))
        here = struck.setdefault(tick, {})
        key = (instrument_of(note), note.pitch)
        here[key] = max(long, here.get(key, 0))
    if not struck:
        return np.zeros((0, len(SIZES)), np.uint8)
    tokens = []
    for bar in range(min(struck) // TICKS, max(struck) // TICKS + 1):
        hit = [tick for tick in range(bar * TICKS, (bar + 1) * TICKS) if tick in struck]
        tokens.append(bar_token(len(hit)))
        for tick in hit:
            chord = sorted(struck[tick].items())[:STRONGEST]
            tokens.append(tick_token(tick % TICKS, len(chord)))
            tokens += [note_token(pitch, long, instrument) for (instrument, pitch), long in chord]
    return np.array(tokens, np.uint8)


def bar_token(density: int) -> tuple[int, ...]:
    """The token of a bar with 0..16 ticks with notes."""
    return (BAR, RHYTHM, 1 + density, 0, 0, 0, 0)


def tick_token(tick: int, strength: int) -> tuple[int, ...]:
    """The token of tick 0..15 with 1..19 notes."""
    return (1 + tick, RHYTHM, 0, 0, 0, 0, strength)


def note_token(pitch: int, duration: int, instrument: int) -> tuple[int, ...]:
    """The token of a note: pitch 0..127, duration 1..17 ticks, instrument 0..4."""
    return (0, NOTE, 0, 1 + pitch, duration, 1 + instrument, 0)


def notes_of(tokens: np.ndarray, bars: Sequence[float] | np.ndarray) -> list[Note]:
    """The notes of tokens (N, 7), sorted. The first bar begins at bars[0]; `bars` as for `tokens_of`. Notes before the first tick
    token are left out."""
    notes, bar, tick = [], -1, None
    for token in np.asarray(tokens).tolist():
        if token[TYPE] == RHYTHM and token[BEAT] == BAR:
            bar, tick = bar + 1, None
        elif token[TYPE] == RHYTHM:
            tick = bar * TICKS + token[BEAT] - 1
        elif token[TYPE] == NOTE and tick is not None:
            start, end = seconds((tick, tick + token[DURATION]), bars).tolist()
            instrument = token[INSTRUMENT] - 1
            notes.append(
                Note(start, end, token[PITCH] - 1, VELOCITY, PROGRAMS[instrument], INSTRUMENTS[instrument] == "drums")
            )
    return sorted(notes)


def ticks(times: Sequence[float] | np.ndarray, bars: Sequence[float] | np.ndarray) -> np.ndarray:
    """Times (n,) in seconds to ticks (n,) float64, counted from the first bar and negative before it."""
    return _stretched(np.asarray(times, float), np.asarray(bars, float), np.arange(len(bars)) * float(TICKS))


def seconds(at: Sequence[float] | np.ndarray, bars: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ticks (n,) from the first bar to times (n,) float64 in seconds: the inverse of `ticks`."""
    return _stretched(np.asarray(at, float), np.arange(len(bars)) * float(TICKS), np.asarray(bars, float))


def _stretched(x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Piecewise linear interpolation, extrapolated beyond both ends."""
    piece = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
    return ys[piece] + (x - xs[piece]) * (ys[piece + 1] - ys[piece]) / (xs[piece + 1] - xs[piece])


def instrument_of(note: Note) -> int:
    """Index in INSTRUMENTS, as in LPD-5: keyboards, chromatic percussion and organs are piano; all other families are strings."""
    if note.drum:
        return 0
    return 1 if note.program < 24 else 2 if note.program < 32 else 3 if note.program < 40 else 4


def key_of(notes: Iterable[Note]) -> int:
    """The key (1..12 major, 13..24 minor, from C) whose profile correlates best with the durations of the pitch classes (Krumhansl
    1990); 0 without pitched notes."""
    sounding = np.zeros(12)
    for note in notes:
        if not note.drum:
            sounding[note.pitch % 12] += note.end - note.start
    if not sounding.any():
        return 0
    profiles = [np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)]
    centred = sounding - sounding.mean()
    return 1 + int(np.argmax([(p - np.mean(p)) @ centred / np.linalg.norm(p - np.mean(p)) for p in profiles]))


def bar_and_tick(tokens: np.ndarray) -> np.ndarray:
    """The ticks (N,) int64 of tokens (N, 7), counted from the first bar; a bar's token is at the bar's first tick."""
    tokens = np.asarray(tokens)
    bars = tokens[:, BEAT] == BAR
    at = np.where(bars, (np.cumsum(bars) - 1) * TICKS, -1)
    struck = (tokens[:, TYPE] == RHYTHM) & ~bars
    at[struck] = (np.cumsum(bars)[struck] - 1) * TICKS + tokens[struck, BEAT] - 1
    return np.maximum.accumulate(np.maximum(at, 0))
