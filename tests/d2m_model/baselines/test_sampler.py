"""A score is heard when and as high as it is written."""

import importlib.util

import numpy as np
import pytest

from d2m_model.baselines import sampler
from d2m_model.baselines.sampler import play
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.midi import Note

RATE = 22050


def test_a_note_sounds_at_its_time_and_pitch():
    audio = play([Note(1.0, 1.5, 69, 100)], 2.5)
    assert audio.shape == (55125,) and audio.dtype == np.float32
    begins = np.argmax(np.abs(audio) > 1e-3) / RATE
    assert 1.0 <= begins < 1.02 and not audio[: RATE - 100].any()
    assert np.argmax(np.abs(np.fft.rfft(audio[RATE : RATE + RATE // 2]))) * 2 == pytest.approx(440, abs=2)
    assert np.abs(audio[int(2.2 * RATE) :]).max() < 0.1 * np.abs(audio).max(), "a released piano note dies away"


def test_drums_and_instruments_sound_together():
    piano, drum, flute = Note(0.0, 0.5, 69, 100), Note(0.0, 0.1, 36, 100, drum=True), Note(0.0, 0.5, 81, 100, 73)
    alone = [play([note], 1.0) for note in (piano, drum, flute)]
    np.testing.assert_allclose(play([piano, drum, flute], 1.0), sum(alone), atol=1e-3)
    assert len({a.tobytes() for a in alone}) == 3
    kick = np.abs(np.fft.rfft(alone[1]))
    assert np.argmax(kick) < 150, "Hz: a bass drum"


def test_equal_scores_equal_samples_whatever_the_order():
    notes = [Note(0.1 * i, 0.1 * i + 0.3, 60 + i % 3, 60 + i, 10 * (i % 4)) for i in range(12)]
    assert play(notes, 2.0).tobytes() == play(notes[::-1], 2.0).tobytes()


def test_what_is_beyond_the_end_is_not_played():
    assert play([], 0.5).tobytes() == np.zeros(11025, np.float32).tobytes()
    short = play([Note(0.0, 9.0, 60, 100), Note(0.5, 1.0, 72, 100)], 0.5)
    np.testing.assert_array_equal(short, play([Note(0.0, 0.5, 60, 100)], 0.5))


@pytest.mark.parametrize("package", ["pretty_midi", "no_such_package"])
def test_a_missing_sound_font_is_one_line(monkeypatch, package):
    monkeypatch.setattr(sampler, "SOUND_FONT", "missing.sf2")
    monkeypatch.setattr(sampler, "find_spec", lambda _: importlib.util.find_spec(package))
    sampler._sound_font.cache_clear()
    with pytest.raises(UserError, match=r"missing\.sf2: the sound font .* pip install") as caught:
        sampler.play([Note(0, 1, 60, 90)], 1.0)
    assert "\n" not in str(caught.value)
    sampler._sound_font.cache_clear()
