"""The video's own audio under the music, and the loudness that is reached."""

import numpy as np
import pytest

from d2m_model.generate.finish import loudness_note, loudness_of, normalise
from d2m_model.generate.original_audio import mixed
from d2m_model.generate.params import Params
from tests.d2m_model.generate.test_mux import write_video

RATE = 22050
SECONDS = 2
TIME = np.arange(SECONDS * RATE) / RATE
MUSIC = normalise(np.sin(2 * np.pi * 440 * TIME).astype(np.float32), -16, 0.95)


def level(audio, hertz):
    return np.abs(np.fft.rfft(audio * np.hanning(len(audio))))[round(hertz * len(audio) / RATE)]


def test_the_original_is_mixed_at_its_gain(tmp_path, monkeypatch):
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(SECONDS * 48000) / 48000)).astype(np.int16)
    monkeypatch.setattr(
        "d2m_model.generate.original_audio.read_audio", lambda *_, **__: (np.stack([tone, tone]), 48000)
    )
    audio, note = mixed(MUSIC, RATE, tmp_path / "in.mp4", 0.0, 0.2, Params())
    wanted = 0.2 * 8000 / 32768 / np.abs(MUSIC).max()
    assert (
        level(audio, 1000) / level(audio, 440) == pytest.approx(wanted, rel=0.03) and note == ", original audio at 0.2"
    )
    assert loudness_of(audio) == pytest.approx(-16, abs=0.1) and audio.shape == MUSIC.shape


@pytest.mark.parametrize("stereo", [False, True])
def test_a_video_without_audio_leaves_the_music(tmp_path, stereo):
    write_video(tmp_path / "in.mp4", frames=30, audio=False)
    music = np.stack([MUSIC, MUSIC]) if stereo else MUSIC
    audio, note = mixed(music, RATE, tmp_path / "in.mp4", 0.0, 0.2, Params())
    assert audio is music and note == ", no original audio: the video has none"


def test_real_audio_is_read_from_the_video(tmp_path):
    write_video(tmp_path / "in.mp4", frames=45)
    audio, note = mixed(MUSIC, RATE, tmp_path / "in.mp4", 0.0, 1.0, Params())
    assert note == ", original audio at 1" and not np.allclose(audio, MUSIC, atol=1e-3)


@pytest.mark.parametrize("begin", [0.02, -0.01])
def test_the_original_begins_with_the_music(tmp_path, monkeypatch, begin):
    """Also where the first picture is before 0: the audio from there on is read, not that from 0 on."""
    asked = []
    monkeypatch.setattr("d2m_model.generate.original_audio.read_audio", lambda _, start: asked.append(start))
    mixed(MUSIC, RATE, tmp_path / "in.mp4", begin, 0.2, Params())
    assert asked == [begin]


def test_silent_audio_is_said(tmp_path, monkeypatch):
    silent = np.zeros((1, 48000), np.int16)
    monkeypatch.setattr("d2m_model.generate.original_audio.read_audio", lambda *_, **__: (silent, 48000))
    assert (
        mixed(MUSIC, RATE, tmp_path / "in.mp4", 0.0, 0.2, Params())[1] == ", no original audio: the video's is silent"
    )


def test_the_loudness_reached_is_said_where_it_is_another():
    clicks = np.zeros(SECONDS * RATE, np.float32)
    clicks[:: RATE // 2] = 1
    quiet = normalise(clicks, -16, 0.95)
    assert np.abs(quiet).max() <= 0.95 and "LUFS instead of -16: its peaks allow no more" in loudness_note(quiet, -16)
    assert loudness_note(MUSIC, -16) == "" and "silent" in loudness_note(np.zeros(RATE, np.float32), -16)
