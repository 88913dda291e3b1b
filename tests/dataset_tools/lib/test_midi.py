"""Scores survive a MIDI file to half a millisecond, files from anywhere are one clear line at worst."""

import mido
import numpy as np
import pretty_midi
import pytest

from d2m_model.baselines.score import cut
from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.midi import Note, assign_channels, read_midi, read_score, split_overlaps, write_midi

NOTES = [Note(0.5 * i, 0.5 * i + 0.4, 60 + i, 50 + i, 40 * (i % 2)) for i in range(6)] + [
    Note(0.123, 0.2, 36, 127, 0, True)
]


@pytest.mark.parametrize("tempo, first_bar", [(120.0, 0.0), (97.3, 0.31), (214.0, 1.7)])
def test_what_is_written_is_read(tmp_path, tempo, first_bar):
    write_midi(tmp_path / "a.mid", NOTES, tempo, first_bar)
    score = read_score(tmp_path / "a.mid")
    assert [n[2:] for n in score.notes] == [n[2:] for n in sorted(NOTES)]
    np.testing.assert_allclose([n[:2] for n in score.notes], [n[:2] for n in sorted(NOTES)], atol=5e-4)
    bars = first_bar + 240 / tempo * np.arange(len(score.bars) - (first_bar > 0))
    np.testing.assert_allclose(score.bars[first_bar > 0 :], bars, atol=1e-4)
    assert score.bars[-2] < max(n.end for n in NOTES) <= score.bars[-1]


def test_other_programs_read_the_same(tmp_path):
    write_midi(tmp_path / "a.mid", NOTES, 97.3, 0.31)
    write_midi(tmp_path / "b.mid", reversed(NOTES), 97.3, 0.31)
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    theirs = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    found = sorted(
        (n.start, n.end, n.pitch, n.velocity, i.program, i.is_drum) for i in theirs.instruments for n in i.notes
    )
    np.testing.assert_allclose(found, [list(n) for n in read_midi(tmp_path / "a.mid")], atol=1e-6)
    np.testing.assert_allclose(theirs.get_downbeats()[:2], [0, 0.31], atol=1e-4)
    theirs.write(str(tmp_path / "c.mid"))
    np.testing.assert_allclose(read_midi(tmp_path / "c.mid"), read_midi(tmp_path / "a.mid"), atol=1e-3)


def test_a_note_struck_again_ends_before(tmp_path):
    twice = [Note(0.0, 2.0, 60, 90), Note(1.0, 3.0, 60, 80), Note(1.0, 1.5, 60, 20), Note(0.0, 2.0, 60, 70, 5)]
    kept = [Note(0.0, 1.0, 60, 90), Note(0.0, 2.0, 60, 70, 5), Note(1.0, 3.0, 60, 80)]
    assert split_overlaps(twice) == kept
    write_midi(tmp_path / "a.mid", twice)
    np.testing.assert_allclose(read_midi(tmp_path / "a.mid"), kept, atol=5e-4)


def test_tempo_and_metre_changes_are_followed(tmp_path):
    file = mido.MidiFile(ticks_per_beat=100)
    tempi, notes = file.add_track(), file.add_track()
    tempi += [mido.MetaMessage("set_tempo", tempo=500000), mido.MetaMessage("set_tempo", tempo=1000000, time=400)]
    tempi += [mido.MetaMessage("time_signature", numerator=3, denominator=4)]
    notes += [
        mido.Message("note_on", note=60, velocity=1, time=400),
        mido.Message("note_on", note=60, velocity=0, time=700),
    ]
    file.save(tmp_path / "a.mid")
    score = read_score(tmp_path / "a.mid")
    assert score.notes == [Note(2.0, 9.0, 60, 1)] and score.bars == [0.0, 2.0, 5.0, 8.0, 11.0]


def test_an_empty_score(tmp_path):
    write_midi(tmp_path / "a.mid", [])
    assert read_score(tmp_path / "a.mid") == ([], [])


def test_channels():
    many = [Note(0, 1, 60, 1, program) for program in range(15)] + [Note(0, 1, 36, 1, 0, True)]
    assert sorted(assign_channels(many).values()) == list(range(16)) and assign_channels(many)[True, 0] == 9
    with pytest.raises(ValueError, match="16 instruments and 1 drum kits"):
        assign_channels([*many, Note(0, 1, 60, 1, 99)])


def test_a_cut_counts_from_its_start():
    notes = [Note(0.0, 2.0, 60, 1), Note(1.0, 2.5, 62, 1), Note(1.5, 1.7, 64, 1), Note(2.0, 3.0, 65, 1)]
    assert cut(notes, 1.0, 1.0) == [Note(0.0, 1.0, 62, 1), Note(0.5, 0.7, 64, 1)]


def hostile(tmp_path):
    """{name: (bytes, what is said)}"""
    write_midi(tmp_path / "good.mid", NOTES)
    good = (tmp_path / "good.mid").read_bytes()
    smpte = good[:12] + bytes([0xE7, 0x28]) + good[14:]
    asynchronous = good[:8] + bytes([0, 2]) + good[10:]
    long = mido.MidiFile()
    long.add_track().append(mido.Message("note_on", note=60, velocity=1, time=2**27))
    long.save(tmp_path / "long.mid")
    return {
        "text": (b"hello", "not a readable MIDI file"),
        "empty": (b"", "not a readable MIDI file"),
        "cut": (good[:60], "not a readable MIDI file"),
        "smpte": (smpte, "time in SMPTE frames"),
        "asynchronous": (asynchronous, "format 2"),
        "long": ((tmp_path / "long.mid").read_bytes(), "lasts over 1 h"),
        "huge": (good + bytes(limits.MIDI_BYTES), "such a file may have at most"),
    }


@pytest.mark.parametrize("name", ["text", "empty", "cut", "smpte", "asynchronous", "long", "huge"])
def test_a_file_from_anywhere_is_one_line(tmp_path, name):
    content, rule = hostile(tmp_path)[name]
    (tmp_path / "bad.mid").write_bytes(content)
    with pytest.raises(UserError, match=rule) as caught:
        read_midi(tmp_path / "bad.mid")
    assert str(tmp_path / "bad.mid") in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        read_midi(tmp_path / "none.mid")


def test_many_strokes_of_one_key_at_one_instant(tmp_path):
    """Strokes and as many ends without time between them: nothing that lasts, whichever belong together."""
    count = 10_000
    strokes = bytes([0x00, 0x90]) + bytes([60, 64, 0]) * count + bytes([0x90]) + bytes([60, 0, 0]) * count
    track = strokes + bytes([0xFF, 0x2F, 0x00])
    header = b"MThd" + (6).to_bytes(4) + bytes([0, 0, 0, 1, 0, 96])
    (tmp_path / "many.mid").write_bytes(header + b"MTrk" + len(track).to_bytes(4) + track)
    assert read_score(tmp_path / "many.mid") == ([], [])
