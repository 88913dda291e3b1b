"""Songs of the demo corpus: the score keeps its promises and the audio follows the score."""

from itertools import pairwise

import librosa
import numpy as np
import pytest

from dataset_tools.demo.music.songs import GENRES, compose, synthesise
from dataset_tools.lib.core.errors import UserError

RATE = 22050


@pytest.fixture(scope="module", params=sorted(GENRES))
def played(request):
    """(score, samples) of one song per genre."""
    score = compose(11, request.param)
    return score, synthesise(score, RATE)


def voices_in(score, name):
    """Sets of voices, one per bar, in sections called `name`."""
    beat = 60 / score.tempo
    bars = []
    for section in score.sections:
        if section.name == name:
            for first in range(section.first, section.last - 3, 4):
                start = score.beats[first] - 0.03
                bars.append({e.voice for e in score.events if start <= e.time < start + 4 * beat})
    return bars


def loudness(score, samples, name):
    parts = [
        samples[int(score.beats[s.first] * RATE) : int(score.beats[s.last - 1] * RATE)]
        for s in score.sections
        if s.name == name
    ]
    return np.sqrt(np.mean(np.concatenate(parts) ** 2)) if parts else None


@pytest.mark.parametrize("genre", sorted(GENRES))
def test_beats_are_a_grid_of_the_tempo(genre):
    low, high = GENRES[genre].tempo
    for seed in range(5):
        score = compose(seed, genre, seconds=30)
        assert low <= score.tempo <= high
        np.testing.assert_allclose(np.diff(score.beats), 60 / score.tempo, atol=1e-9)
        assert 0 < score.beats[0] <= 60 / score.tempo and score.duration - 60 / score.tempo <= score.beats[-1] < 30
        np.testing.assert_array_equal(score.downbeats, score.beats[::4])
    assert compose(0, genre, tempo=99.5).tempo == 99.5


def test_tempo_ranges_of_genres_do_not_overlap():
    ranges = sorted(g.tempo for g in GENRES.values())
    assert all(a[1] < b[0] for a, b in pairwise(ranges)) and len(ranges) == 5


def test_sections_tile_the_song_and_carry_its_energy():
    for genre in GENRES:
        for seed in range(6):
            score = compose(seed, genre)
            assert score.sections[0].first == 0 and score.sections[-1].last == len(score.beats) == len(score.energy)
            assert all(a.last == b.first for a, b in pairwise(score.sections))
            assert all((s.last - s.first) % 8 == 0 for s in score.sections[:-1])
            assert {"intro", "verse", "chorus"} <= {s.name for s in score.sections}
            mean = {s.name: score.energy[s.first : s.last].mean() for s in score.sections}
            assert mean["chorus"] > mean["verse"] > mean["intro"]
            assert score.energy.min() >= 0 and score.energy.max() <= 1


def test_kick_drops_out_in_breaks_and_carries_choruses():
    breaks, choruses = [], []
    for genre in GENRES:
        for seed in range(4):
            score = compose(seed, genre)
            breaks += voices_in(score, "break")
            choruses += voices_in(score, "chorus")
    assert len(breaks) > 20 and not any("kick" in bar for bar in breaks)
    assert all("kick" in bar and "backbeat" in bar for bar in choruses)


def test_drummers_are_human_and_play_between_the_beats():
    for genre in GENRES:
        score = compose(3, genre)
        kicks = np.array([e.time for e in score.events if e.voice in ("kick", "backbeat")])
        phase = (kicks - score.beats[0]) * score.tempo / 60
        off = (phase - np.round(phase)) * 60 / score.tempo
        near = np.abs(off) < 0.03
        assert 0.001 < off[near].std() < 0.008  # seconds
        assert 0.05 < np.mean(~near) < 0.5  # syncopation and fills, yet mostly on the beat


def test_same_seed_same_bytes_other_seed_other_song():
    a, b, c = compose(5, "pop", seconds=8), compose(5, "pop", seconds=8), compose(6, "pop", seconds=8)
    assert a.events == b.events and a.events != c.events
    assert synthesise(a, RATE).tobytes() == synthesise(b, RATE).tobytes()


def test_audio_has_the_promised_shape_and_band(played):
    score, samples = played
    assert samples.dtype == np.float32 and samples.shape == (round(score.duration * RATE),)
    assert 0.8 < np.abs(samples).max() <= 1.0 and np.isfinite(samples).all()
    power = np.abs(np.fft.rfft(samples)) ** 2
    top = np.fft.rfftfreq(len(samples), 1 / RATE) > 9500
    assert power[top].sum() < 5e-6 * power.sum()
    assert synthesise(compose(1, score.genre, seconds=2.5)).shape == (round(2.5 * 44100),)


def test_choruses_are_louder_than_breaks(played):
    score, samples = played
    calm = loudness(score, samples, "break") or loudness(score, samples, "intro")
    assert loudness(score, samples, "chorus") > 1.2 * calm


def test_onset_detector_finds_the_beats_of_choruses(played):
    score, samples = played
    onsets = librosa.onset.onset_detect(y=samples, sr=RATE, units="time")
    beats = np.concatenate([score.beats[s.first : s.last] for s in score.sections if s.name == "chorus"])
    found = lambda times: np.mean([np.abs(onsets - t).min() < 0.07 for t in times])
    assert found(beats) > 0.9
    assert found(beats + 30 / score.tempo) < 0.75  # half a beat later there is less, but not nothing
    assert 1.05 < len(onsets) / len(score.beats) < 2.0


def test_onsets_on_beats_are_the_strongest(played):
    score, samples = played
    strength = librosa.onset.onset_strength(y=samples, sr=RATE)
    times = librosa.times_like(strength, sr=RATE)
    near = lambda t: strength[np.abs(times - t) < 0.05].max()
    inside = score.beats[4:-4]
    on = np.median([near(t) for t in inside])
    between = np.median([near(t) for t in inside + 30 / score.tempo])
    assert on > 2 * between


def test_genres_differ_in_timbre():

    def centroid(seed, genre):
        samples = synthesise(compose(seed, genre, seconds=20), RATE)
        return librosa.feature.spectral_centroid(y=samples, sr=RATE).mean()

    centroids = {genre: [centroid(seed, genre) for seed in range(3)] for genre in GENRES}
    means = np.array([np.mean(c) for c in centroids.values()])
    within = np.mean([np.std(c) for c in centroids.values()])
    assert means.std() > 1.5 * within
    assert np.mean(centroids["breaks"]) > 1.3 * np.mean(centroids["hiphop"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"genre": "polka"}, "unknown genre 'polka'; known: .*house"),
        ({"genre": "pop", "tempo": 0}, "tempo must be"),
        ({"genre": "pop", "seconds": 1.0}, "at least 2 seconds"),
    ],
)
def test_bad_requests_are_refused_in_one_line(arguments, words):
    with pytest.raises(UserError, match=words):
        compose(0, **arguments)
