"""Beats for other programs: the suffix names the format."""

import numpy as np
import pytest
import soundfile

from d2m_model.rhythm.beats_export import export_beats
from d2m_model.rhythm.beats_file import EXPORTED, Beats, read_beats
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.midi import read_midi

BEATS = Beats(fps=30, seconds=4, beats=np.arange(0.5, 4, 0.5), downbeats=[0.5, 2.5])


def test_each_suffix_is_a_format_that_is_read_back(tmp_path):
    for suffix in EXPORTED:
        export_beats(tmp_path / f"b{suffix.upper()}", BEATS)
    assert np.array_equal(read_beats(tmp_path / "b.JSON").beats, BEATS.beats)
    np.testing.assert_allclose([note.start for note in read_midi(tmp_path / "b.MID")], BEATS.beats, atol=1e-3)
    audio, rate = soundfile.read(tmp_path / "b.WAV")
    assert len(audio) == 4 * rate
    loud = [np.abs(audio[round(t * rate) :][: rate // 20]).max() for t in BEATS.beats]
    quiet = [np.abs(audio[round((t + 0.25) * rate) :][: rate // 20]).max() for t in BEATS.beats]
    assert min(loud) > 0.3 and max(quiet) < 0.01


def test_another_suffix_writes_nothing(tmp_path):
    with pytest.raises(UserError, match=r"b\.txt: beats are written as \.json, \.mid, \.wav; name such a file"):
        export_beats(tmp_path / "b.txt", BEATS)
    assert not list(tmp_path.iterdir())
