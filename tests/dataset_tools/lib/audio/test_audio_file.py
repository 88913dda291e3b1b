"""Audio of every format that libsndfile knows, from anyone: read as it is, or one line."""

import errno
import os
import struct

import numpy as np
import pytest
import soundfile

from d2m_model.metrics.inputs import audio_files, read_audio, training_files
from d2m_model.metrics.paired_folders import read_systems
from dataset_tools.lib.audio.audio_file import open_audio, read_samples
from dataset_tools.lib.audio.mono import find_lone_channel
from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import UserError

RATE = 22050


def tone(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """(S,) float32: a tone that swells from nothing, so that its codings can follow."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 300 * time) * np.minimum(1, 2 * time)).astype(np.float32)


KINDS = [
    (kind, coding)
    for kind in soundfile.available_formats()
    if kind != "RAW"
    for coding in soundfile.available_subtypes(kind)
]


@pytest.mark.parametrize(("kind", "coding"), KINDS)
def test_every_format_that_can_be_written_is_read_rightly(tmp_path, kind, coding):
    """GSM 6.10, G.72x, NMS ADPCM, DWVW and XI can't be sought in; they are audio files like others."""
    path, rate = tmp_path / "a.snd", 24000 if coding == "OPUS" else RATE
    try:
        soundfile.write(path, tone(rate=rate), rate, format=kind, subtype=coding)
    except (soundfile.LibsndfileError, ValueError):
        pytest.skip("can't be written in mono at this rate")
    found = read_samples(path)
    assert found.channels == 1 and found.kind.endswith(coding) and found.rate == soundfile.info(path).samplerate
    assert rate <= len(found.audio) <= rate + 1024, "some codings fill their last block"
    second_half = found.audio[rate // 2 : rate, 0]
    spectrum = np.abs(np.fft.rfft(second_half)) ** 2  # bins of 2 Hz
    assert spectrum[147:154].sum() > 0.9 * spectrum.sum() and second_half.std() == pytest.approx(0.5 / 2**0.5, rel=0.2)
    assert len(read_audio(path)) > 0 and np.isfinite(read_audio(path)).all()


def flac_of_unknown_length(path, audio):
    """As encoders write it that stream: 0 samples in its header, and no sum."""
    soundfile.write(path, audio, RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:42] = bytes(20)
    path.write_bytes(data)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 4.0])
def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path, channels, seconds):
    audio = np.repeat(tone(seconds)[:, None], channels, axis=1)
    flac_of_unknown_length(tmp_path / "a.flac", audio)
    found = read_samples(tmp_path / "a.flac")
    assert found.audio.shape == audio.shape and np.abs(found.audio - audio).max() < 1 / 32767
    assert np.abs(read_audio(tmp_path / "a.flac") - tone(seconds)).max() < 1 / 32767


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path, claimed):
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", claimed)
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_samples(tmp_path / "a.wav").audio) == RATE


def test_a_length_of_256_gib_is_not_believed(tmp_path):
    soundfile.write(tmp_path / "a.w64", tone(), RATE)
    data = bytearray((tmp_path / "a.w64").read_bytes())
    at = data.index(b"data") + 16
    data[at : at + 8] = struct.pack("<Q", 1 << 38)
    (tmp_path / "a.w64").write_bytes(data)
    assert len(read_samples(tmp_path / "a.w64").audio) == RATE


def test_what_was_read_before_is_read_as_before(tmp_path):
    """Sample for sample what soundfile gives, and the mean of its channels."""
    audio = np.random.default_rng(0).uniform(-1, 1, (100_000, 3)).astype(np.float32)
    for name, more in (
        ("a.wav", {"subtype": "FLOAT"}),
        ("b.flac", {}),
        ("c.ogg", {}),
        ("d.wav", {"subtype": "PCM_16"}),
    ):
        soundfile.write(tmp_path / name, audio, 44100, **more)
        known = soundfile.read(tmp_path / name, dtype="float32")[0]
        assert np.array_equal(read_samples(tmp_path / name).audio, known)
        assert np.array_equal(read_samples(tmp_path / name, mono=True).audio, known.mean(axis=1))
        assert np.array_equal(read_samples(tmp_path / name, most=70_000).audio, known[:70_000])
    soundfile.write(tmp_path / "e.mp3", audio[:, :2], 44100)
    assert np.array_equal(
        read_samples(tmp_path / "e.mp3").audio, soundfile.read(tmp_path / "e.mp3", dtype="float32")[0]
    )
    assert np.array_equal(
        read_samples(tmp_path / "d.wav", dtype="int16").audio, soundfile.read(tmp_path / "d.wav", dtype="int16")[0]
    )


@pytest.mark.parametrize("begin", [0, RATE, 7 * RATE])
def test_channels_that_cancel_each_other_are_heard(tmp_path, begin):
    """From second `begin` to the end, over more than a block: in one channel it is the louder one, from the first sample on."""
    left = 0.5 * np.sin(np.arange(8 * RATE + 99) / 9)
    right = np.where(np.arange(len(left)) < begin, 0.9, -0.9) * left
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    found = read_samples(tmp_path / "a.wav", mono=True)
    assert (found.channels, found.lone_channel) == (2, 0) and np.array_equal(found.audio, left.astype(np.float32))
    assert np.array_equal(read_audio(tmp_path / "a.wav"), left.astype(np.float32))
    assert np.array_equal(
        read_samples(tmp_path / "a.wav", mono=True, most=8 * RATE).audio, left[: 8 * RATE].astype(np.float32)
    )
    soundfile.write(tmp_path / "b.wav", np.stack([left, 0.9 * left], axis=1), RATE, subtype="FLOAT")
    assert read_samples(tmp_path / "b.wav", mono=True).lone_channel is None


def test_a_second_of_faint_hiss_decides_nothing():
    """Two instruments, one on each side, and a pause of 1 s whose noise cancels in the mean."""
    rate, rng = 8000, np.random.default_rng(0)
    times = np.arange(20 * rate) / rate
    audio = 0.5 * np.stack([np.sin(2 * np.pi * 220 * times), np.sin(2 * np.pi * 330 * times)]).astype(np.float32)
    hiss = 0.0014 * rng.standard_normal(rate).astype(np.float32)
    audio[:, 9 * rate : 10 * rate] = np.stack([hiss, -hiss])
    assert find_lone_channel(audio, rate) is None
    audio[:, 9 * rate : 10 * rate] *= 200  # loud, it is a part of the music
    assert find_lone_channel(audio, rate) is not None


def test_a_score_says_which_channel_was_scored(tmp_path):
    for folder, channels in (("made", [tone(), -tone()]), ("known", [tone(), tone()])):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", np.stack(channels, axis=1), RATE, subtype="FLOAT")
    found = read_systems({"made": tmp_path / "made"}, tmp_path / "known")
    assert np.array_equal(found.systems["made"]["a"], tone()) and np.array_equal(found.reference["a"], tone())
    assert found.remarks == ["1 generated files have channels that cancel each other: scored as the loudest of them: a",
                             "1 reference files have several channels: scored as the mean of them: a"]  # fmt: skip


def wav(path, values, rate=RATE, **more):
    soundfile.write(path, np.asarray(values, np.float32), rate, subtype=more.pop("subtype", "FLOAT"), **more)


@pytest.mark.parametrize(
    ("values", "rate", "rule"),
    [
        ([0, np.nan], RATE, "holds samples that are NaN, infinite or over"),
        ([0, np.inf], RATE, "holds samples that are NaN, infinite or over"),
        ([0, 1e30], RATE, "holds samples that are NaN, infinite or over"),
        ([[1e30, -1e30]] * 9, RATE, "holds samples that are NaN, infinite or over"),
        ([], RATE, r"holds no audio \(0 samples\)"),
        ([0.5], 768_000, r"holds no audio \(1 samples at 768000 Hz\)"),
        ([0.5] * 20_000, 1, "audio must have 1000 to 768000 Hz and 1 to 256 channels, found 1 Hz, 1 channels"),
        ([0.5] * 20_000, 999, "found 999 Hz"),
        ([0.5] * 20_000, 2_000_000, "found 2000000 Hz"),
        ([[0.5] * 300] * 5, RATE, "found 22050 Hz, 300 channels"),
    ],
)
def test_audio_against_the_promise_is_one_line(tmp_path, values, rate, rule):
    wav(tmp_path / "a.wav", values, rate)
    with pytest.raises(UserError, match=rf"a\.wav: .*{rule}") as caught:
        read_audio(tmp_path / "a.wav")
    assert "\n" not in str(caught.value)


def test_scaled_like_whole_numbers_is_still_read(tmp_path):
    wav(tmp_path / "a.wav", tone() * 32768)
    assert np.abs(read_audio(tmp_path / "a.wav")).max() == pytest.approx(16384, rel=0.01)


def test_hours_of_nothing_in_a_small_file_are_refused(tmp_path):
    """Silence packs well: an hour and more in 100 KB."""
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 8000, 1, format="FLAC") as file:
        for _ in range(limits.AUDIO_SECONDS // 60 + 1):
            file.write(np.zeros(8000 * 60, np.int16))
    assert (tmp_path / "a.flac").stat().st_size < 300_000
    with pytest.raises(
        UserError, match=rf"a\.flac: lasts over {limits.AUDIO_SECONDS} s at 8000 Hz, longer than allowed; cut it"
    ):
        read_samples(tmp_path / "a.flac", mono=True)


def chained(path, *parts):
    """Audio, one piece after the other in one file: (S,) or (S, 2) at a rate each."""
    data = b""
    for audio, rate in parts:
        soundfile.write(path, audio, rate)
        data += path.read_bytes()
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_a_format_that_changes_midway_is_told_and_not_cut_off(tmp_path, name):
    stereo = np.repeat(tone(3, 44100)[:, None], 2, axis=1)
    for parts in ([(tone(3), RATE), (stereo, 44100)], [(stereo, 44100), (tone(3), RATE)]):
        chained(tmp_path / name, *parts)
        with pytest.raises(UserError, match=rf"{name}: changes its format after 3\.\d+ ") as caught:
            read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(60))
def test_changed_bytes_are_one_line_or_are_read(tmp_path, seed):
    rng = np.random.default_rng(seed)
    name = ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au")[seed % 6]
    soundfile.write(tmp_path / name, tone(0.3), RATE)
    data = bytearray((tmp_path / name).read_bytes())
    for _ in range(int(rng.integers(1, 6))):
        data[int(rng.integers(min(len(data), 120)))] = int(rng.integers(256))
    (tmp_path / name).write_bytes(data[: int(rng.integers(40, len(data)))] if seed % 2 else data)
    try:
        audio = read_audio(tmp_path / name)
        assert audio.ndim == 1 and len(audio) and np.isfinite(audio).all()
    except UserError as err:
        assert "\n" not in str(err) and name in str(err)


def test_what_is_no_audio_and_what_is_no_fault_of_the_file(tmp_path):
    (tmp_path / "a.RAW").write_bytes(bytes(1000))
    (tmp_path / "a.mp3").write_bytes(b"no audio")
    (tmp_path / "b.wav").write_bytes(b"no audio")
    for name, words in (
        ("a.RAW", "no audio in a known format"),
        ("a.mp3", "no audio in a known format"),
        ("b.wav", "Error opening it: Format not recognised"),
    ):
        with pytest.raises(UserError, match=rf"{name}: not a readable audio file: {words}"):
            read_samples(tmp_path / name)
    wav(tmp_path / "c.wav", tone())
    for error in (TypeError("a slip in a caller's code"), OSError(28, "No space left on device")):
        with pytest.raises(type(error)) as caught, open_audio(tmp_path / "c.wav"):
            raise error
        assert caught.value is error


def test_a_name_that_is_no_text_is_read(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.wav")
    wav(tmp_path / "c.wav", tone())
    try:
        (tmp_path / "c.wav").rename(path)
    except OSError as err:
        if err.errno != errno.EILSEQ:
            raise
        pytest.skip("this file system takes no such name")
    assert len(read_samples(path).audio) == RATE


def test_a_folder_to_score_has_files_not_pipes(tmp_path):
    """A pipe would be waited for, for ever."""
    folder = tmp_path / "audio"
    folder.mkdir()
    wav(folder / "a.wav", tone())
    assert list(audio_files(folder)) == ["a"]
    for make, rule in (
        (os.mkfifo, "a pipe, socket or device, not a file"), (lambda p: p.mkdir(), "a folder, not a file"),
        (lambda p: p.symlink_to(p), "Too many levels of symbolic links"), (lambda p: p.symlink_to("/dev/zero"), "a pipe, socket or device"),
        (lambda p: p.symlink_to("gone.wav"), "file not found"),
    ):  # fmt: skip
        make(folder / "b.wav")
        with pytest.raises(UserError, match=rf"b\.wav: {rule}"):
            audio_files(folder)
        with pytest.raises(UserError, match=rf"b\.wav: {rule}"):
            read_audio(folder / "b.wav")
        assert [path.name for path, _ in training_files(folder)] == ["a.wav"]
        (folder / "b.wav").rmdir() if (folder / "b.wav").is_dir() else (folder / "b.wav").unlink()
