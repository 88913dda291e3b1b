"""The demo's scores in General MIDI: percussion for the drums, for each timbre an instrument of its kind."""

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import Score
from dataset_tools.lib.midi import Note

PERCUSSION = {"kick": 36, "snare": 38, "clap": 39, "hat": 42, "crash": 49}
"""Drum -> number in General MIDI's percussion map."""
TOMS = (41, 43, 45, 47, 48, 50)
"""Floor to high tom."""
STROKE = 0.1  # seconds; what is struck rings by itself
PROGRAMS = {
    "sub": 38, "round": 33, "slap": 36, "square": 39, "reese": 39, "epiano": 4, "pad": 89, "strings": 48, "guitar": 27,
    "stab": 62, "flute": 73, "bell": 11, "brass": 61, "saw": 81,
}  # fmt: skip
"""Timbre (`synth.TIMBRES`) -> General MIDI program, counted from 0."""


def notes_of(score: Score) -> list[Note]:
    """The score's events, sorted, at their own times; velocities 0..1 become 1..127."""
    style = GENRES[score.genre]
    notes = []
    for event in score.events:
        velocity = max(1, round(127 * event.velocity))
        start = float(event.time)
        if event.voice in style.timbres:
            end = start + max(event.length, 0.01)
            notes.append(Note(start, end, event.pitch, velocity, PROGRAMS[style.timbres[event.voice]]))
            continue
        if event.voice == "tom":
            drum = min(TOMS, key=lambda number: abs(number - event.pitch))
        else:
            drum = PERCUSSION[style.backbeat if event.voice == "backbeat" else event.voice]
        notes.append(Note(start, start + STROKE, drum, velocity, drum=True))
    return sorted(notes)
