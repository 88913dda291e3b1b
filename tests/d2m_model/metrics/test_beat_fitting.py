"""A song stretched to a dance's beats, on clicks and tones whose place and pitch are known."""

import numpy as np
import pytest

from d2m_model.metrics.beat_fitting import SongWithBeats, fit_to_beats, nearest_tempo
from d2m_model.metrics.controls import fit_songs, rhythm_clicks
from d2m_model.metrics.inputs import ReferenceBeats
from d2m_model.metrics.p4_onsets import f_measure, onset_times
from dataset_tools.split.fingerprint import find_same_recordings, fingerprint
from tests.helpers.builders import click_train

RATE = 22050


def song(gap, seconds=6.0, first=0.7, loud=0.0):
    """Clicks every `gap` seconds, those that begin a bar of four beats lower; under them a tone of 440 Hz.

    The low tones die away to nothing: cut off, their ends would be attacks of the song that are no beats.
    """
    time = np.arange(2000) / RATE
    low = 0.9 * np.sin(2 * np.pi * 200 * time) * np.exp(-time / 0.032) * np.linspace(1, 0, 2000)
    beats = np.arange(first, seconds - 0.1, gap)
    audio = click_train(beats, round(seconds * RATE))
    audio += (loud * np.sin(2 * np.pi * 440 * np.arange(len(audio)) / RATE)).astype(np.float32)
    for at in beats[1::4]:
        audio[round(at * RATE) : round(at * RATE) + 2000] += low
    return SongWithBeats(audio, ReferenceBeats(beats, beats[1::4]))


def attack(audio, near):
    """Seconds where the loudest onset within 0.1 s of `near` sets in."""
    first = round((near - 0.1) * RATE)
    level = np.convolve(audio[first : first + RATE // 5] ** 2, np.ones(44))  # over 2 ms
    return (first + np.argmax(level > 0.1 * level.max())) / RATE


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_beats_fall_on_the_dances(spread):
    """A song of 6 s under a dance of 10 s, quicker and uneven: the song goes round, and bars meet bars."""
    gaps = 0.48 * np.exp(np.random.default_rng(0).normal(0, spread, 30))
    beats = 0.31 + np.cumsum(gaps)
    dance = ReferenceBeats(beats[beats < 10], beats[2::4][beats[2::4] < 10])
    made = fit_to_beats(song(0.55), dance, 10 * RATE)
    assert len(made) == 10 * RATE and made.dtype == np.float32
    assert f_measure(dance.beats, onset_times(made), 0.04) > 0.97
    assert max(abs(attack(made, at) - at) for at in dance.beats) < 0.005
    low = lambda at: np.abs(np.fft.rfft(made[int(at * RATE) : int(at * RATE) + 1600] * np.hanning(1600), 8192))[
        55:95
    ].max()  # about 150 to 250 Hz
    power = np.array([low(at) for at in dance.beats[:-1]])
    assert power[2::4].min() > 2 * np.delete(power, np.s_[2::4]).max()


def test_the_pitch_is_kept():
    made = fit_to_beats(song(0.5, loud=0.5), ReferenceBeats(np.arange(0.2, 6, 0.45), np.zeros(0)), 6 * RATE)
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    assert np.argmax(spectrum) / 6 == pytest.approx(440, abs=2)


def test_the_song_of_the_nearest_tempo_is_taken():
    songs = {
        "slow": song(0.7),
        "near": song(0.52),
        "none": SongWithBeats(np.zeros(RATE, np.float32), ReferenceBeats(np.array([0.1]), np.zeros(0))),
    }
    assert nearest_tempo(songs, 0.5) == "near" and nearest_tempo(songs, 0.66) == "slow"
    assert nearest_tempo(songs, 0.2) is None and nearest_tempo({}, 0.5) is None
    dances = {
        "a": ReferenceBeats(np.arange(0.1, 4, 0.5), np.zeros(0)),
        "b": ReferenceBeats(np.array([1.0]), np.zeros(0)),
        "c": ReferenceBeats(np.arange(0, 4, 0.1), np.zeros(0)),
    }
    made = fit_songs(songs, dances, dict.fromkeys(dances, 4 * RATE))
    assert set(made) == {"a"}, "one beat has no tempo, and no song is stretched to ten beats a second"
    assert f_measure(dances["a"].beats, onset_times(made["a"]), 0.05) > 0.85
    with pytest.raises(ValueError, match="two beats each"):
        fit_to_beats(songs["none"], dances["a"], RATE)


def test_a_fingerprint_tells_a_fitted_song_from_a_new_one():
    """What novelty does not: a copy that is stretched and begins elsewhere."""
    rng, time = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    tune = lambda: (
        np.concatenate(
            [np.sin(2 * np.pi * np.outer(rng.uniform(200, 3000, 6), time)).sum(axis=0) for _ in range(32)]
        ).astype(np.float32)
        / 6
    )
    songs = {name: tune() for name in ("song", "new")}
    beats = np.arange(0, 8, 0.5)
    fit = fit_to_beats(
        SongWithBeats(songs["song"], ReferenceBeats(beats, beats[::4])),
        ReferenceBeats(np.arange(0.2, 8, 0.52), np.zeros(0)),
        8 * RATE,
    )
    prints = {name: fingerprint(audio) for name, audio in (songs | {"fit": fit}).items()}
    found = find_same_recordings(prints, {"song": "training", "fit": "made", "new": "made"})
    assert [{match.first, match.second} for match in found] == [{"song", "fit"}]


def test_rhythm_clicks_are_where_the_rhythm_is():
    beats = np.array([0.5, 1.25, 2.0, 9.0])
    made = rhythm_clicks({"a": ReferenceBeats(beats, beats[:1])}, {"a": 3 * RATE})["a"]
    assert len(made) == 3 * RATE and onset_times(made) == pytest.approx(beats[:3], abs=0.04)
