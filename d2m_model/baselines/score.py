"""Scores: lists of notes, MIDI files, and pieces of them."""

from collections.abc import Iterable

from dataset_tools.lib.midi import MidiScore, Note, apart, channels, read_midi, read_score, write_midi

__all__ = ["Note", "MidiScore", "apart", "channels", "cut", "read_midi", "read_score", "write_midi"]


def cut(notes: Iterable[Note], start: float, seconds: float) -> list[Note]:
    """What is struck within `seconds` from `start`, sorted, counted from there; notes still sounding at the end stop.

    What was struck before and still sounds is left out: nothing is heard to begin at the cut.
    """
    stop = start + seconds
    inside = (note for note in notes if start <= note.start < stop)
    return sorted(n._replace(start=n.start - start, end=min(n.end, stop) - start) for n in inside)
