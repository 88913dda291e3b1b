"""The audio of a clip becomes exactly 735 samples a frame, at the right pitch and the right instant."""

import numpy as np
import pytest
from scipy.io import wavfile

from dataset_tools.audio import __main__ as audio_command
from dataset_tools.audio import stage as audio
from dataset_tools.audio.params import Params
from dataset_tools.lib.audio.mono import find_lone_channel, to_mono
from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from tests.helpers.builders import cut_row
from tests.helpers.footage import coded


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_length_instant_and_pitch(rate):
    time = np.arange(2 * rate) / rate
    wave = np.where(time >= 0.5, 12000 * np.sin(2 * np.pi * 1000 * (time - 0.5)), 0).astype(np.int16)[None]
    mono = audio.to_corpus_audio(wave, rate, 44100)
    assert mono.shape == (44100,) and mono.dtype == np.float32
    begins = np.argmax(np.abs(mono) > 0.1) / 22050
    assert begins == pytest.approx(0.5, abs=0.0015)
    spectrum = np.abs(np.fft.rfft(mono[22050:]))
    assert np.argmax(spectrum) == pytest.approx(1000, abs=1)
    assert np.abs(mono[22050:]).max() == pytest.approx(12000 / 32768, rel=0.02)


def test_channels_are_averaged_and_the_end_is_filled():
    wave = np.array([[16384] * 100, [0] * 100], np.int16)
    mono = audio.to_corpus_audio(wave, 22050, 150)
    np.testing.assert_array_equal(mono, np.r_[np.full(100, 0.25), np.zeros(50)].astype(np.float32))


@pytest.fixture
def layout(tmp_path):
    """Two clips of 1.2 s, one of them without audio, and one that was not cut."""
    layout = Layout(root=tmp_path, corpus="c")
    (tmp_path / "manifests" / "c").mkdir(parents=True)
    folder = layout.stage("clips")
    folder.mkdir(parents=True)
    wave = (9000 * np.sin(np.arange(36 * 1470) / 20)).astype(np.int16)[None]
    write_clip(folder / "a.mp4", rgb_frames(coded(j) for j in range(36)), wave, 44100)
    write_clip(folder / "mute.mp4", rgb_frames(coded(j) for j in range(36)), None)
    rows = [cut_row("a", frames=36), cut_row("mute", frames=36), cut_row("gone", "failed", reason="past the end")]
    schema.write_records(folder / "rows.csv", rows)
    return layout


def test_every_clip_has_a_row(layout):
    rows = {row.id: row for row in audio.audio(layout, Params(workers=1))}
    assert {name: row.status for name, row in rows.items()} == {"a": "ok", "mute": "failed", "gone": "dropped"}
    assert rows["a"].samples == 36 * 735
    assert "no audio" in rows["mute"].reason and "past the end" in rows["gone"].reason
    rate, wave = wavfile.read(layout.stage("audio") / "a.wav")
    assert rate == 22050 and wave.dtype == np.float32 and wave.shape == (36 * 735,)
    assert np.abs(wave).max() == pytest.approx(9000 / 32768, rel=0.02)
    first = (layout.stage("audio") / "a.wav").read_bytes()
    audio.audio(layout, Params(workers=1))
    assert (layout.stage("audio") / "a.wav").read_bytes() == first


def test_too_many_failures_end_the_stage(layout):
    (layout.root / "params.yaml").write_text("audio: {min_ok: 0.6, workers: 1}\n")
    with pytest.raises(UserError, match="audio: 1 of 2 ok, 1 failed, but audio.min_ok asks for 60%; mute: "):
        audio_command.main(["--corpus", "c", "--root", str(layout.root)])
    (layout.root / "params.yaml").write_text("audio: {min_ok: 0.5, workers: 1}\n")
    assert audio_command.main(["--corpus", "c", "--root", str(layout.root)]) == 0


def sine(pitch, seconds=2.0, rate=44100):
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate).astype(np.float32)


QUIET = 0.001 * np.random.default_rng(0).standard_normal((2, 88200)).astype(np.float32)
CANCELLING = {  # name: (left, right), the channel that is taken alone
    "one wire swapped": ((sine(440), -sine(440)), 0),
    "right louder": ((sine(440), -1.2 * sine(440)), 1),
    "for one of two seconds": ((sine(440), np.r_[-sine(440, 1), sine(440, 1)]), 0),
    "with a little noise": ((sine(440) + QUIET[0], QUIET[1] - sine(440)), 0),
}
KEPT = {
    "alike": (sine(440), sine(440)), "of their own": (sine(440), sine(550)), "one silent": (sine(440), 0 * sine(440)),
    "both silent": (0 * sine(440), 0 * sine(440)), "a rustle that cancels": (QUIET[0] / 10, -QUIET[0] / 10),
    "alike up to a last sample": (np.r_[sine(440), 0.5].astype(np.float32), np.r_[sine(440), -0.5].astype(np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("kind", CANCELLING)
def test_channels_that_cancel_each_other_are_not_averaged(kind):
    channels, alone = CANCELLING[kind]
    wave = np.stack(channels)
    assert find_lone_channel(wave, 44100) == alone
    np.testing.assert_array_equal(to_mono(wave, 44100), wave[alone])
    mono = audio.to_corpus_audio(np.round(32767 * wave).astype(np.int16), 44100, 44100)
    assert np.abs(mono[2000:-2000]).reshape(-1, 100).max(axis=1).min() > 0.25


@pytest.mark.parametrize("kind", KEPT)
def test_other_channels_are_averaged(kind):
    wave = np.stack(KEPT[kind])
    assert find_lone_channel(wave, 44100) is None
    np.testing.assert_array_equal(to_mono(wave, 44100), wave.mean(axis=0))
    assert find_lone_channel(wave[:1], 44100) is None and find_lone_channel(wave[:, :0], 44100) is None


def test_what_a_clip_loses_in_one_channel_is_said(layout):
    folder = layout.stage("clips")
    tracks = {"anti": (sine(440, 1.2), -sine(440, 1.2)), "bats": [sine(15000, 1.2) * np.hanning(36 * 1470)] * 2}
    for name, channels in tracks.items():
        wave = np.round(32767 * np.stack(channels)).astype(np.int16)
        write_clip(folder / f"{name}.mp4", rgb_frames(coded(j) for j in range(36)), wave, 44100)
    rows = [cut_row(name, frames=36) for name in ("a", *tracks)]
    schema.write_records(folder / "rows.csv", rows)
    found = {row.id: row for row in audio.audio(layout, Params(workers=1))}
    assert (found["a"].channel, found["anti"].channel) == ("", "left")
    assert found["anti"].status == "ok" and found["anti"].peak == pytest.approx(0.3, abs=0.01)
    assert (
        found["bats"].status == "failed"
        and "its audio is silent after conversion to mono at 22050 Hz" in found["bats"].reason
    )


@pytest.mark.parametrize("frames", [None, 1, 37 * 3])
def test_a_number_of_frames_that_can_not_be_is_that_clips_failure(layout, frames):
    rows = [cut_row("a", frames=36), cut_row("mute", frames=frames)]
    folder = layout.stage("clips")
    (folder / "mute.mp4").write_bytes((folder / "a.mp4").read_bytes())
    schema.write_records(folder / "rows.csv", rows)
    found = {row.id: row for row in audio.audio(layout, Params(workers=1))}
    assert found["a"].status == "ok" and found["mute"].status == "failed"
    assert "clips/rows.csv" in found["mute"].reason and "Error" not in found["mute"].reason
