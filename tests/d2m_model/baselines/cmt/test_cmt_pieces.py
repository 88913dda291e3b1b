"""The music CMT learns from: folders of MIDI files, as users have them."""

import pytest

from d2m_model.baselines.cmt.pieces import midi_pieces
from d2m_model.baselines.score import write_midi
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.baselines.cmt.test_cmt_tokens import TUNE


def test_midi_of_a_folder_that_the_user_names(tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    write_midi(tmp_path / "deep" / "b.MID", TUNE)
    write_midi(tmp_path / "a.mid", TUNE[:3])
    (tmp_path / "broken.mid").write_bytes(b"MThd\x00\x00\x00\x06\x00\x01")
    (tmp_path / "notes.txt").write_text("not music")
    pieces, files = midi_pieces(tmp_path)
    assert [f.name for f in files] == ["a.mid", "b.MID"] and [len(p.tokens) for p in pieces] == [6, 10]
    assert pieces[1].instruments == (True,) * 5
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and "1 of 3 MIDI files left out" in said[0] and "broken.mid" in said[0]


def test_time_that_stands_still_in_a_midi_file(tmp_path):
    """Eight bars at no tempo, a note, and again bars that last no time."""
    import mido

    track = mido.MidiTrack(
        [mido.MetaMessage("set_tempo", tempo=0), mido.MetaMessage("set_tempo", tempo=500_000, time=8 * 1920)]
    )
    track += [mido.Message("note_on", note=60, velocity=90), mido.Message("note_off", note=60, time=480)]
    track += [
        mido.MetaMessage("set_tempo", tempo=0),
        mido.Message("note_on", note=62, velocity=90, time=9000),
        mido.Message("note_off", note=62, time=1),
    ]
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "still.mid")
    (piece,), _ = midi_pieces(tmp_path)
    assert piece.tokens.tolist() == [
        [17, 1, 2, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 1],
        [0, 2, 0, 61, 16, 2, 0],
    ]  # its bar stops when it does


@pytest.mark.parametrize("content", [None, {}, {"a.mid": b"MThd"}, {"a.mid": b"", "b.midi": bytes(range(256)) * 20}])
def test_a_folder_of_no_use_is_one_clear_line(tmp_path, content):
    folder = tmp_path / "music"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        midi_pieces(folder)
    text = str(caught.value)
    assert str(folder) in text and "\n" not in text and len(text) < 400
