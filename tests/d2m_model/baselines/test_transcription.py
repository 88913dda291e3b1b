"""What basic-pitch hears in a piano, and what a user without it reads."""

import builtins

import numpy as np
import pytest

from d2m_model.baselines import transcription
from d2m_model.baselines.sampler import play
from d2m_model.baselines.score import Note
from d2m_model.baselines.transcription import transcribe
from dataset_tools.lib.core.errors import UserError


def test_a_piano_is_heard_without_a_word(capfd, caplog):
    played = [Note(0.5 * i, 0.5 * i + 0.4, pitch, 100) for i, pitch in enumerate((60, 64, 67, 72, 55))]
    audio = 0.5 * play(played, 3.0) / np.abs(play(played, 3.0)).max()
    heard = transcribe(audio)
    for note in played:
        assert any(abs(h.start - note.start) < 0.07 and h.pitch == note.pitch for h in heard), note
    assert len(heard) <= 8 and heard == transcribe(audio)
    assert all(h.program == 0 and not h.drum and 1 <= h.velocity <= 127 for h in heard)
    assert transcribe(np.zeros(22050, np.float32)) == []
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_without_the_library_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.split(".")[0] == "basic_pitch":
            raise ModuleNotFoundError(name)
        return real(name, *args, **options)

    transcription._library.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'pip install "d2m\[baselines\]" && pip install --no-deps basic-pitch'):
        transcribe(np.zeros(22050, np.float32))
