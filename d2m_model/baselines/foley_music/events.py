"""Music as events of one piano (Foley Music, Gan et al., ECCV 2020, section 3.2; events of Oore et al., 2018).

The vocabulary has 243 tokens: 88 keys pressed, 88 keys released, 32 velocities, 32 time shifts, SOS, EOS and PAD. A shift moves
the clock by 1.15^k / 65 s, which is 15 ms to 1.2 s. Where possible, one shift leads to the next event. Each shift is chosen
relative to the clock so far, so that rounding errors (up to 7 % of a shift) do not add up. A velocity holds until the next one.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from d2m_model.baselines.score import Note

LOWEST, KEYS, LEVELS = 21, 88, 32
"""MIDI pitch of the lowest key, number of keys, and number of velocity levels, 4 apart."""
SHIFTS = 1.15 ** np.arange(32) / 65
"""(32,): time shifts in seconds."""
PRESS, RELEASE, VELOCITY, SHIFT, SOS, EOS, PAD = 0, 88, 176, 208, 240, 241, 242
"""First token of each kind."""
VOCABULARY = 243
LIMIT = 512
"""Most events of a window, including SOS."""


def encode(notes: Iterable[Note], limit: int = LIMIT) -> list[int]:
    """Tokens of the pitched notes: SOS, the events by time, EOS; cut to `limit` tokens, without an EOS if it does not fit.

    Pitches outside the piano's range are moved by octaves; drums are left out. A key that is pressed again while it sounds is
    released first. At one time, releases come before presses, from low to high. Encoding the result of `decode` gives the same
    tokens.
    """
    shifts, played = _on_grid(_on_piano(notes))
    releases, presses = [[] for _ in shifts], [[] for _ in shifts]
    for start, end, key, level in sorted(played, key=lambda note: note[2]):
        presses[start].append((key, level))
        releases[end].append(key)
    tokens, sounding = [SOS], -1
    for moment, between in enumerate(shifts):
        tokens += [SHIFT + k for k in between] + [RELEASE + key for key in releases[moment]]
        for key, level in presses[moment]:
            tokens += [VELOCITY + level] * (level != sounding) + [PRESS + key]
            sounding = level
    return (tokens + [EOS])[:limit]


def decode(tokens: Sequence[int]) -> list[Note]:
    """Piano notes, sorted by start, of the tokens up to the first EOS; times are seconds from the start of the window.

    Any sequence is valid: a release of a silent key is ignored, a key pressed twice is released in between, and a key that is
    never released sounds until the end, at least for the shortest shift. Before the first velocity token the velocity is 66.
    """
    clock, level, sounding, notes = 0.0, 16, {}, []

    def release(key: int, at: float) -> None:
        start, velocity = sounding.pop(key)
        if at > start:
            notes.append(Note(start, at, LOWEST + key, velocity))

    for token in tokens:
        if token == EOS:
            break
        if token >= SOS:
            continue
        if token >= SHIFT:
            clock += float(SHIFTS[token - SHIFT])
        elif token >= VELOCITY:
            level = token - VELOCITY
        elif token % KEYS in sounding:
            release(token % KEYS, clock)
        if token < RELEASE:
            sounding[token] = (clock, 4 * level + 2)
    for key in sorted(sounding):
        release(key, max(clock, sounding[key][0] + float(SHIFTS[0])))
    return sorted(notes)


def _on_piano(notes: Iterable[Note]) -> list[tuple[float, float, int, int]]:
    """(start, end, key, level) of the pitched notes that begin at 0 s or later; they last at least the shortest shift."""
    found = []
    for note in notes:
        if not note.drum and note.start >= 0:
            key = note.pitch - LOWEST
            key += 12 * max(0, -(key // 12)) - 12 * max(0, -((KEYS - 1 - key) // 12))
            found.append((note.start, max(note.end, note.start + SHIFTS[0]), key, note.velocity // 4))
    return found


def _on_grid(notes: list[tuple[float, float, int, int]]) -> tuple[list[list[int]], list[tuple[int, int, int, int]]]:
    """(the shifts before each moment with an event, the notes as (start moment, end moment, key, level))."""
    notes = _one_at_a_time(notes)
    shifts, clocks, moments = [], [], {}
    clock = 0.0
    for time in sorted({t for note in notes for t in note[:2]}):
        between = _shifts_of(time - clock)
        clock += sum(SHIFTS[k] for k in between)
        if between or not shifts:
            shifts.append(between)
            clocks.append(clock)
        moments[time] = len(shifts) - 1
    shifts.append([0])  # for notes that would begin and end in the last moment
    clocks.append(clock + SHIFTS[0])
    found = [(moments[s], max(moments[e], moments[s] + 1), key, level) for s, e, key, level in notes]
    on_grid = _one_at_a_time(found)
    used = sorted({m for note in on_grid for m in note[:2]})
    if used != list(
        range(len(used))
    ):  # a moment is unused because its note was merged into another: join the shifts around it
        return _on_grid([(clocks[s], clocks[e], key, level) for s, e, key, level in on_grid])
    return shifts[: len(used)], on_grid


def _one_at_a_time(notes: list[tuple]) -> list[tuple]:
    """Let each key sound once at a time: notes that begin together are merged (longest, loudest), else the next one cuts the last."""
    keys: dict[int, list[tuple]] = {}
    for start, end, key, level in sorted(notes):
        before = keys.setdefault(key, [])
        if before and before[-1][0] == start:
            end, level = max(end, before[-1][1]), max(level, before.pop()[3])
        elif before and before[-1][1] > start:
            before.append((before[-1][0], start, *before.pop()[2:]))
        before.append((start, end, key, level))
    return [note for found in keys.values() for note in found]


def _shifts_of(seconds: float) -> list[int]:
    """The shifts nearest to a gap: the longest as often as it fits, then one more; none for less than half of the shortest."""
    found = []
    while seconds > SHIFTS[-1]:
        found.append(len(SHIFTS) - 1)
        seconds -= SHIFTS[-1]
    return found + ([int(np.abs(SHIFTS - seconds).argmin())] if seconds >= SHIFTS[0] / 2 else [])
