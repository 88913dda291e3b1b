"""Convert the demo's scores to General MIDI: percussion for the drums, and a similar instrument for each timbre."""

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import Score
from dataset_tools.lib.midi import Note

PERCUSSION = {"kick": 36, "snare": 38, "clap": 39, "hat": 42, "crash": 49}
"""Drum -> number in General MIDI's percussion map."""
TOMS = (41, 43, 45, 47, 48, 50)
"""Floor to high tom."""
STROKE_SECONDS = 0.1  # seconds; percussion decays by itself
PROGRAMS = {
    "sub": 38, "round": 33, "slap": 36, "square": 39, "reese": 39, "epiano": 4, "pad": 89, "strings": 48, "guitar": 27,
    "stab": 62, "flute": 73, "bell": 11, "brass": 61, "saw": 81,
}  # fmt: skip
"""Timbre (`synth.TIMBRES`) -> General MIDI program, counted from 0."""


def to_notes(score: Score) -> list[Note]:
    """The score's events as notes, sorted. Velocities 0..1 become 1..127."""
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
        notes.append(Note(start, start + STROKE_SECONDS, drum, velocity, drum=True))
    return sorted(notes)
