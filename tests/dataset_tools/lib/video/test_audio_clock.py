"""Audio goes where its time stamps say, and is left alone where they only jitter."""

import numpy as np
import pytest

from dataset_tools.lib.video.audio_clock import align_to_timestamps, missing_seconds

RATE, BLOCK = 44100, 1024


def sine(times):
    """1 kHz as int16 (1, N) at these instants in seconds."""
    return np.rint(20000 * np.sin(2 * np.pi * 1000 * np.asarray(times)))[None].astype(np.int16)


def recording(clock, seconds=3.0, jitter=0.0, grain=0.0):
    """Pieces of a sine heard by a recorder whose second t is `clock(t)`; stamps jitter and are rounded to `grain` s."""
    heard = clock(np.arange(round(seconds * RATE)) / RATE)
    noise = np.random.default_rng(0).uniform(-jitter, jitter, len(heard))
    for at in range(0, len(heard), BLOCK):
        stamp = heard[at] + noise[at]
        stamp = round(stamp / grain) * grain if grain else stamp
        yield stamp * RATE, sine(heard[at : at + BLOCK])


@pytest.mark.parametrize("grain", [0.0, 0.001])
def test_steady_audio_is_left_bit_for_bit(grain):
    pieces = list(recording(lambda t: t + 0.25, grain=grain))
    audio = align_to_timestamps(pieces, RATE)
    at = round(0.25 * RATE)
    offset = int(np.flatnonzero(audio[0])[0]) - 1
    assert abs(offset - at) <= (RATE * 0.001 if grain else 1)
    np.testing.assert_array_equal(audio[:, offset : offset + 3 * RATE], np.concatenate([p for _, p in pieces], axis=1))


@pytest.mark.parametrize("clock", [lambda t: 1.01 * t, lambda t: 0.99 * t + 0.1])
def test_drift_is_taken_out(clock):
    audio = align_to_timestamps(list(recording(clock)), RATE, 5 * RATE // 2)
    inside = np.arange(RATE // 2, 2 * RATE)
    error = audio[0, inside] - sine(inside / RATE)[0].astype(float)
    assert np.sqrt(np.mean(np.square(error))) < 0.01 * 20000 / np.sqrt(2)


def test_jitter_of_the_stamps_is_not_in_the_audio():
    audio = align_to_timestamps(list(recording(lambda t: 1.005 * t, jitter=0.006)), RATE, 3 * RATE)[
        0, RATE // 2 : 5 * RATE // 2
    ]
    phase = np.unwrap(
        np.angle(np.convolve(audio, np.hanning(441) * np.exp(2j * np.pi * 1000 * np.arange(441) / RATE), "valid"))
    )
    late = (phase - 2 * np.pi * 1000 * np.arange(len(phase)) / RATE) / (2 * np.pi * 1000)
    assert np.ptp(late) < 0.004


def test_gaps_are_silent_and_what_overlaps_is_the_later():
    first, second = sine(np.arange(RATE) / RATE), sine(np.arange(RATE) / RATE) // 2
    audio = align_to_timestamps([(0.0, first), (1.5 * RATE, second)], RATE)
    assert audio.shape == (1, 5 * RATE // 2) and not audio[0, RATE : 3 * RATE // 2].any()
    np.testing.assert_array_equal(audio[:, 3 * RATE // 2 :], second)
    audio = align_to_timestamps([(-0.25 * RATE, first), (0.5 * RATE, second)], RATE, RATE)
    np.testing.assert_array_equal(audio[:, : RATE // 2], first[:, RATE // 4 : 3 * RATE // 4])
    np.testing.assert_array_equal(audio[:, RATE // 2 :], second[:, : RATE // 2])


def test_audio_that_never_came_is_counted():
    """Between pieces alone, within what was asked for; jitter and overlaps are no gaps."""
    second = sine(np.arange(RATE) / RATE)
    pieces = [(0.0, second), (1.5 * RATE, second), (2.51 * RATE, second), (3.4 * RATE, second)]
    assert missing_seconds(pieces, RATE, 5 * RATE) == pytest.approx(0.5)
    assert missing_seconds(pieces, RATE, 5 * RATE // 4) == pytest.approx(0.25)
    assert missing_seconds([(-1.2 * RATE, second), (0.3 * RATE, second)], RATE, RATE) == pytest.approx(0.3)
    assert missing_seconds(pieces[:1], RATE, 5 * RATE) == 0 and missing_seconds(
        pieces[:1], RATE, 5 * RATE, 9.0 * RATE
    ) == pytest.approx(4)
    stray = [(0.0, second), (0.7 * RATE, second[:, : RATE // 50]), (1.02 * RATE, second)]
    assert missing_seconds(stray, RATE, 2 * RATE) == 0, "what overlaps ends nothing"
