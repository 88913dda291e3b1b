"""Windows join without a seam; audio is finished, and has equal bytes."""

import numpy as np
import pytest
import soundfile

from d2m_model.generate import regions
from d2m_model.generate.finish import denoise, normalise, write_wav
from d2m_model.generate.windows import cover, join, render
from dataset_tools.lib.audio.crossfade import crossfade

RATE = 22050


class Echo:
    """A model whose audio is the pose itself: sample n is the first joint's x in n's frame, plus the visual's first."""

    frames, stream = 60, "pose"

    def for_genre(self, genre):
        return self

    def audio(self, pose, size, visual):
        return np.repeat(pose[:, 0, 0, 0], 735).astype(np.float32) + visual[0]


def ramp_pose(frames):
    pose = np.zeros((frames, 1, 17, 3), np.float32)
    pose[:, 0, 0, 0] = np.arange(frames)
    return pose


@pytest.mark.parametrize(
    ("frames", "starts"),
    [(20, [0]), (60, [0]), (61, [0, 1]), (90, [0, 30]), (100, [0, 30, 40]), (150, [0, 30, 60, 90])],
)
def test_windows_cover_every_frame(frames, starts):
    assert cover(frames, 60, 30) == starts
    assert max(starts[-1] + 60, 60) >= frames


@pytest.mark.parametrize("frames", [1, 17, 60, 61, 75, 100, 301])
def test_a_dance_of_any_length_gets_exactly_its_length(frames):
    audio = render(Echo(), ramp_pose(frames), (9, 9), np.zeros((1, 2048), np.float32), fade=5512)
    assert len(audio) == frames * 735
    # Every window agrees about every frame here, so joining them must give back what one long window would.
    np.testing.assert_allclose(audio, np.repeat(np.arange(frames), 735), rtol=1e-5, atol=1e-3)


def test_each_second_hears_its_own_visual_row():
    visual = np.zeros((3, 2048), np.float32)
    visual[:, 0] = (1, 2, 3)
    pose = np.zeros((150, 1, 17, 3), np.float32)  # windows 0, 1, 2, 3 s: rows 0, 1, 2 and the last again
    audio = render(Echo(), pose, (9, 9), visual, fade=0)
    seconds = audio.reshape(10, -1).mean(axis=1)  # half-seconds; the middle of each window is its own
    assert seconds.tolist() == [1, 1, 1, 2, 2, 3, 3, 3, 3, 3]


def test_crossfade_keeps_alike_audio_and_the_power_of_unlike_audio():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 200_000)).astype(np.float32)
    np.testing.assert_allclose(crossfade(one, one), one, rtol=1e-4, atol=1e-5)
    constant = np.full(1000, 0.3, np.float32)
    np.testing.assert_allclose(crossfade(constant, constant), constant, rtol=1e-5)
    parts = crossfade(one, other).reshape(20, -1)
    assert np.abs(np.sqrt((parts**2).mean(axis=1)) - 1).max() < 0.05
    half_alike = 0.5 * one + np.sqrt(0.75).astype(np.float32) * other
    assert np.abs(np.sqrt((crossfade(one, half_alike).reshape(20, -1) ** 2).mean(axis=1)) - 1).max() < 0.05
    silent = np.zeros(1000, np.float32)
    assert np.array_equal(crossfade(silent, silent), silent)
    assert np.isfinite(crossfade(constant, -constant)).all() and np.abs(crossfade(constant, -constant)).max() < 1


def test_join_keeps_constants_and_noise_even_across_seams():
    rng = np.random.default_rng(1)
    starts = [0, RATE, 2 * RATE, 2 * RATE + 7350]
    flat = join([np.full(2 * RATE, 0.2)] * 4, starts, 5000)
    assert len(flat) == starts[-1] + 2 * RATE
    np.testing.assert_allclose(flat, 0.2, rtol=1e-5)
    noise = join([rng.standard_normal(2 * RATE) for _ in starts], starts, 5000)
    levels = [noise[i : i + 1000].std() for i in range(0, len(noise) - 1000, 1000)]
    assert 0.85 < min(levels) and max(levels) < 1.15


def spectral_jumps(audio, at=None):
    """`regions.spectral_jumps`, at the samples `at` or all."""
    jumps = regions.spectral_jumps(audio)
    return jumps if at is None else [jumps[max(0, a // 128 - 6) : a // 128 + 3].max() for a in at]


class Musicians:
    """Every window is another player's: the same tune and hiss, but tones that begin anywhere in their cycle."""

    frames = 60

    def __init__(self):
        self.calls = 0

    def audio(self, pose, size, visual):
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        time = np.arange(60 * 735) / RATE
        tones = [0.2 * np.sin(2 * np.pi * (f * time + rng.random())) for f in (220, 330.7, 441.3)]
        beats = (np.exp(-(((time + 0.25) % 0.5) / 0.05)) * rng.standard_normal(len(time))) * 0.1
        return (sum(tones) + beats + 0.003 * rng.standard_normal(len(time))).astype(np.float32)


def test_no_seam_is_heard_where_windows_join():
    """The spectrum jumps less at the joins than the music jumps by itself; cut hard, it jumps more."""
    pose, visual = ramp_pose(300), np.zeros((9, 2048), np.float32)
    joins = [frame * 735 for frame in range(45, 285, 30)]  # half-way through each overlap of 1 s
    faded = render(Musicians(), pose, (9, 9), visual, fade=RATE // 4)
    own = np.quantile(spectral_jumps(faded), 0.95)
    edges = [at + side * RATE // 8 for at in joins for side in (-1, 0, 1)]
    assert np.mean(spectral_jumps(faded, edges)) < own
    cut = render(Musicians(), pose, (9, 9), visual, fade=0)
    assert np.mean(spectral_jumps(cut, joins)) > 1.5 * np.mean(spectral_jumps(faded, joins))


def test_denoise_takes_hiss_and_leaves_the_tone():
    rng = np.random.default_rng(2)
    time = np.arange(4 * RATE) / RATE
    tone = np.where((time % 1) < 0.5, 0.5 * np.sin(2 * np.pi * 440 * time), 0).astype(np.float32)
    hiss = 0.01 * rng.standard_normal(len(time)).astype(np.float32)
    clean = denoise(tone + hiss, 1.0)
    quiet = (time % 1) > 0.6
    assert clean[quiet].std() < 0.3 * hiss[quiet].std()
    loud = ((time % 1) > 0.1) & ((time % 1) < 0.4)
    assert abs(clean[loud].std() / tone[loud].std() - 1) < 0.05
    assert np.array_equal(denoise(tone, 0.0), tone)
    for silent in (np.zeros(RATE, np.float32), np.zeros(5, np.float32)):
        assert np.array_equal(denoise(silent, 1.0), silent)


def test_normalise_reaches_loudness_or_the_peak():
    import pyloudnorm

    rng = np.random.default_rng(3)
    noise = (0.01 * rng.standard_normal(3 * RATE)).astype(np.float32)
    made = normalise(noise, -23, 0.95)
    assert abs(pyloudnorm.Meter(RATE).integrated_loudness(made.astype(float)) + 23) < 0.1
    assert abs(np.abs(normalise(noise, 0, 0.95)).max() - 0.95) < 1e-4
    assert abs(np.abs(normalise(noise[:100], -23, 0.5)).max() - 0.5) < 1e-4
    assert not normalise(np.zeros(RATE, np.float32), -23, 0.95).any()


def test_wav_is_int16_mono_and_equal_bytes(tmp_path):
    audio = np.array([0, 0.5, -0.5, 2, -2], np.float32)
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, audio)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (RATE, 1, "PCM_16", 5)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert samples.tolist() == [0, 16384, -16384, 32767, -32767]
