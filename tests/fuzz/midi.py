"""Scores: Standard MIDI Files, whole and damaged, and with any messages."""

import io
from functools import cache
from pathlib import Path

import mido
import numpy as np
from hypothesis import strategies as st

from dataset_tools.lib.midi import read_score
from tests.fuzz.case import Case, promise
from tests.fuzz.mutation import damaged

TYPES = (
    "note_on",
    "note_off",
    "program_change",
    "control_change",
    "pitchwheel",
    "set_tempo",
    "time_signature",
    "text",
    "end_of_track",
)


def score(into: Path, _out: Path) -> None:
    found = read_score(into / "score.mid")
    numbers = np.array([(n.start, n.end, n.pitch, n.velocity, n.program) for n in found.notes], float).reshape(-1, 5)
    start, end, pitch, velocity, program = numbers.T
    promise(
        bool(np.isfinite(numbers).all() and (start >= 0).all() and (end > start).all()),
        "notes have times that go forward",
    )
    promise(bool((end <= 3600 + 1e-6).all()), "notes lie within an hour")
    promise(
        bool(
            ((pitch >= 0) & (pitch < 128) & (velocity > 0) & (velocity < 128) & (program >= 0) & (program < 128)).all()
        ),
        "MIDI's ranges",
    )
    promise(sorted(found.notes) == found.notes, "notes are sorted")
    bars = np.array(found.bars)
    promise(bool(np.isfinite(bars).all() and (np.diff(bars) > 0).all() and (bars >= 0).all()), "bars ascend from 0")
    promise(bool(len(bars)) == bool(len(numbers)), "there are bars where there are notes")


READERS = {"score": score}


def _bytes(midi: mido.MidiFile) -> bytes:
    out = io.BytesIO()
    midi.save(file=out)
    return out.getvalue()


@cache
def _valid() -> bytes:
    midi = mido.MidiFile(ticks_per_beat=96)
    for channel in (0, 9):
        track = mido.MidiTrack()
        midi.tracks.append(track)
        track.append(mido.MetaMessage("set_tempo", tempo=480000))
        track.append(mido.MetaMessage("time_signature", numerator=3, denominator=4))
        track.append(mido.Message("program_change", channel=channel, program=33))
        for pitch in (36, 48, 60):
            track += [
                mido.Message("note_on", channel=channel, note=pitch, velocity=90, time=24),
                mido.Message("note_off", channel=channel, note=pitch, time=72),
            ]
    return _bytes(midi)


@st.composite
def _message(draw):
    kind, time = draw(st.sampled_from(TYPES)), draw(st.sampled_from((0, 1, 24, 96, 5000, 1 << 20, (1 << 28) - 1)))
    byte = st.integers(0, 127)
    if kind == "set_tempo":
        return mido.MetaMessage(kind, tempo=draw(st.sampled_from((0, 1, 500000, (1 << 24) - 1))), time=time)
    if kind == "time_signature":
        return mido.MetaMessage(
            kind, numerator=draw(st.integers(0, 255)), denominator=1 << draw(st.integers(0, 10)), time=time
        )
    if kind in ("text", "end_of_track"):
        return mido.MetaMessage(kind, time=time)
    message = mido.Message(kind, channel=draw(st.integers(0, 15)), time=time)
    fields = {
        "note_on": ("note", "velocity"),
        "note_off": ("note",),
        "program_change": ("program",),
        "control_change": ("control", "value"),
    }
    return message.copy(**{name: draw(byte) for name in fields.get(kind, ())})


@st.composite
def _composed(draw) -> bytes:
    midi = mido.MidiFile(
        type=draw(st.sampled_from((0, 1, 1, 2))), ticks_per_beat=draw(st.sampled_from((1, 96, 480, 32767)))
    )
    for _ in range(1 if midi.type == 0 else draw(st.integers(0, 3))):
        midi.tracks.append(mido.MidiTrack(draw(st.lists(_message(), max_size=20))))
    return _bytes(midi)


@st.composite
def cases(draw) -> Case:
    content = draw(st.one_of(st.just(_valid()), _composed()))
    if draw(st.integers(0, 2)):
        content = draw(damaged(content))
    return Case("score", {"score.mid": content})
