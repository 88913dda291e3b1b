"""The sound of a clip becomes exactly 735 samples a frame, at the right pitch and the right instant."""

import numpy as np
import pytest
from footage import coded
from scipy.io import wavfile

from dataset_tools import audio
from dataset_tools.base import schema
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.vision.video_io import rgb_frames, write_clip


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_length_instant_and_pitch(rate):
    time = np.arange(2 * rate) / rate
    sound = np.where(time >= 0.5, 12000 * np.sin(2 * np.pi * 1000 * (time - 0.5)), 0).astype(np.int16)[None]
    mono = audio.to_mono(sound, rate, 44100)
    assert mono.shape == (44100,) and mono.dtype == np.float32
    begins = np.argmax(np.abs(mono) > 0.1) / 22050
    assert begins == pytest.approx(0.5, abs=0.0015)
    spectrum = np.abs(np.fft.rfft(mono[22050:]))
    assert np.argmax(spectrum) == pytest.approx(1000, abs=1)
    assert np.abs(mono[22050:]).max() == pytest.approx(12000 / 32768, rel=0.02)


def test_channels_are_averaged_and_the_end_is_filled():
    sound = np.array([[16384] * 100, [0] * 100], np.int16)
    mono = audio.to_mono(sound, 22050, 150)
    np.testing.assert_array_equal(mono, np.r_[np.full(100, 0.25), np.zeros(50)].astype(np.float32))


@pytest.fixture
def layout(tmp_path):
    """Two clips of 1.2 s, one of them without sound, and one that was not cut."""
    layout = Layout(root=tmp_path, corpus="c")
    (tmp_path / "manifests" / "c").mkdir(parents=True)
    folder = layout.stage("clips")
    folder.mkdir(parents=True)
    wave = (9000 * np.sin(np.arange(36 * 1470) / 20)).astype(np.int16)[None]
    write_clip(folder / "a.mp4", rgb_frames(coded(j) for j in range(36)), wave, 44100)
    write_clip(folder / "mute.mp4", rgb_frames(coded(j) for j in range(36)), None)
    rows = [audio.CutRow(id="a", status="ok", frames=36), audio.CutRow(id="mute", status="ok", frames=36),
            audio.CutRow(id="gone", status="failed", reason="past the end")]  # fmt: skip
    schema.write_records(folder / "rows.csv", rows)
    return layout


def test_every_clip_has_a_row(layout):
    rows = {row.id: row for row in audio.audio(layout, audio.Params(workers=1))}
    assert {name: row.status for name, row in rows.items()} == {"a": "ok", "mute": "failed", "gone": "dropped"}
    assert rows["a"].samples == 36 * 735
    assert "no sound" in rows["mute"].reason and "past the end" in rows["gone"].reason
    rate, wave = wavfile.read(layout.stage("audio") / "a.wav")
    assert rate == 22050 and wave.dtype == np.float32 and wave.shape == (36 * 735,)
    assert np.abs(wave).max() == pytest.approx(9000 / 32768, rel=0.02)
    first = (layout.stage("audio") / "a.wav").read_bytes()
    audio.audio(layout, audio.Params(workers=1))
    assert (layout.stage("audio") / "a.wav").read_bytes() == first


def test_too_many_failures_end_the_stage(layout):
    (layout.root / "params.yaml").write_text("audio: {min_ok: 0.6, workers: 1}\n")
    with pytest.raises(UserError, match="audio: 1 of 2 ok, 1 failed, but audio.min_ok asks for 60%; mute: "):
        audio.main(["--corpus", "c", "--root", str(layout.root)])
    (layout.root / "params.yaml").write_text("audio: {min_ok: 0.5, workers: 1}\n")
    assert audio.main(["--corpus", "c", "--root", str(layout.root)]) == 0
