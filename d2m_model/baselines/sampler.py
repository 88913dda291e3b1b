"""Renders scores as audio with the synthesiser TinySoundFont and the sound font TimGM6mb (GPL), which comes with the package
pretty_midi."""

from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from d2m_model.baselines.score import Note, assign_channels, cut, split_overlaps
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE

SOUND_FONT = "TimGM6mb.sf2"


@lru_cache(maxsize=1)
def _sound_font() -> bytes:
    found = find_spec("pretty_midi")
    path = Path(found.origin).with_name(SOUND_FONT) if found and found.origin else Path(SOUND_FONT)
    if not found or not path.is_file():
        raise UserError(
            f"{path}: the sound font that plays the scores is not there; pip install --force-reinstall pretty_midi brings it"
        )
    return path.read_bytes()


def play(notes: Iterable[Note], seconds: float) -> np.ndarray:
    """Audio (round(seconds * 22050),) float32, mono: the first `seconds` of a score. Equal scores give equal samples.

    It is not normalised: many loud notes may exceed -1..1. Raises ValueError for more instruments than MIDI has channels, and
    UserError where the sound font is not installed.
    """
    import tinysoundfont

    total = round(seconds * SAMPLE_RATE)
    notes = split_overlaps(cut(notes, 0.0, seconds))
    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    font = synth.sfload(_sound_font())
    of = assign_channels(notes)
    for (drum, program), channel in of.items():
        synth.program_select(channel, font, 128 if drum else 0, program, drum)
    events = []
    for note in notes:
        channel = of[note.drum, note.program]
        on, off = round(note.start * SAMPLE_RATE), round(note.end * SAMPLE_RATE)
        events += [(on, 1, channel, note.pitch, note.velocity), (max(off, on + 1), 0, channel, note.pitch, 0)]
    audio, at = [], 0
    for sample, kind, channel, pitch, velocity in [*sorted(events), (total, 2, 0, 0, 0)]:
        sample = min(sample, total)
        if sample > at:
            audio.append(np.frombuffer(synth.generate(sample - at), np.float32).reshape(-1, 2).mean(axis=1))
            at = sample
        if kind == 1:
            synth.noteon(channel, pitch, velocity)
        elif kind == 0:
            synth.noteoff(channel, pitch)
    return np.concatenate(audio) if audio else np.zeros(0, np.float32)
