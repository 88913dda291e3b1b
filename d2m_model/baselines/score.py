"""Scores: lists of notes, MIDI files, and excerpts of scores."""

from collections.abc import Iterable

from dataset_tools.lib.midi import MidiScore, Note, assign_channels, read_midi, read_score, split_overlaps, write_midi

__all__ = ["Note", "MidiScore", "assign_channels", "cut", "read_midi", "read_score", "split_overlaps", "write_midi"]


def cut(notes: Iterable[Note], start: float, seconds: float) -> list[Note]:
    """The notes that begin within `seconds` after `start`, sorted, with times relative to `start`, and cut at the end.

    Notes that began earlier are left out even if they still sound, so that no note seems to begin at the cut.
    """
    stop = start + seconds
    inside = (note for note in notes if start <= note.start < stop)
    return sorted(n._replace(start=n.start - start, end=min(n.end, stop) - start) for n in inside)
