"""Protocols on audio whose scores are known."""

import math

import numpy as np
import pytest

from d2m_model.metrics.audio_features import AudioFeatures
from d2m_model.metrics.beat_bins import BinCounts, coverage_and_hit, precision_and_recall
from d2m_model.metrics.bootstrap import bootstrap_interval, resamples, weighted_deviation, weighted_mean, with_intervals
from d2m_model.metrics.controls import click_track, control_audio, draw_other_song, fit_length
from d2m_model.metrics.motion_beats import joint_speed, motion_beats
from d2m_model.metrics.p4_onsets import alignment, envelope_correlation, f_measure, onset_times, own_minus_other
from d2m_model.metrics.scoring import Reference, score_system
from tests.helpers.builders import STANDING, beats_of, click_train

RATE = 22050


@pytest.fixture(scope="module")
def dances():
    """Five songs of clicks at different tempi and phases, 5 s each."""
    beats = {f"c{n}": beats_of(n, 5.0) + 0.05 * n for n in range(5)}
    return beats, {c: click_train(b, 5 * RATE) for c, b in beats.items()}


def test_longer_audio_is_cut_and_what_shorter_audio_lacks_counts():
    """Of 6 s against 4 s what is over is nothing; of 4 s against 6 s a third is missing; of 3.9 s against 4 s nothing."""
    clicks = {
        seconds: click_train(np.arange(0.3, seconds - 0.05, 0.5), round(seconds * RATE)) for seconds in (3.9, 4, 6)
    }
    for generated, reference, hit, seconds in ((6, 4, 100, 4), (4, 6, 100 * 4 / 6, 6), (3.9, 4, 100, 3.9)):
        summary, rows = score_system({"a": clicks[generated]}, Reference(audio={"a": clicks[reference]}), draws=100)
        assert (
            summary["P1"]["hit_micro"] == summary["P1"]["coverage_micro"] == pytest.approx(hit)
            and rows[0]["seconds"] == seconds
        )
        assert (summary["P4"]["onsets_70ms"]["own"] == 1.0) == (hit == 100)


def test_onsets_are_found_where_the_clicks_are(dances):
    beats, audio = dances
    for clip in beats:
        assert f_measure(beats[clip], onset_times(audio[clip]), 0.05) > 0.95


def test_bins_hold_the_times_that_have_clicks():
    audio = AudioFeatures(click_train(np.array([0.5, 2.5]), 4 * RATE))
    assert audio.bins["P1"].tolist() == [True, False, True, False]
    assert np.flatnonzero(audio.fine_bins).tolist() == [2, 12]
    assert len(AudioFeatures(audio.audio[: 3 * RATE + 1]).bins["P1"]) == 4


def test_p3_is_over_whole_pieces_of_five_seconds():
    sizes = [
        [len(p.audio) for p in AudioFeatures(np.zeros(n, np.float32)).pieces] for n in (3 * RATE, 5 * RATE, 12 * RATE)
    ]
    assert sizes == [[3 * RATE], [5 * RATE], [5 * RATE, 5 * RATE]]
    audio = {"a": click_train(np.arange(0.3, 12, 0.5), 12 * RATE), "b": click_train(np.arange(0.2, 5, 0.6), 5 * RATE)}
    summary, rows = score_system(audio, Reference(audio=audio), protocols=("P3",), draws=100)
    assert summary["P3"]["pieces"] == 3 and summary["P3"]["clips"] == 2 and summary["P3"]["F1"] == 100
    assert summary["P3"]["tempo_difference_bpm"] == 0
    assert rows[0]["P3_reference"] == 20, "ten clicks in each of two pieces"


ONES = lambda counts: np.ones((1, len(counts)))


def test_coverage_and_hit_by_hand():
    counts = [
        BinCounts(generated=3, reference=2, both=1),
        BinCounts(generated=1, reference=4, both=1),
        BinCounts(generated=2, reference=0, both=0),
    ]
    scores = {k: v[0] for k, v in coverage_and_hit(counts)(ONES(counts)).items()}
    assert scores["coverage_macro"] == pytest.approx(100 * (3 / 2 + 1 / 4) / 2)
    assert scores["hit_macro"] == pytest.approx(100 * (1 / 2 + 1 / 4) / 2)
    assert scores["coverage_micro"] == pytest.approx(100 * 6 / 6)
    assert scores["hit_micro"] == pytest.approx(100 * 2 / 6)


def test_precision_and_recall_by_hand():
    counts = [BinCounts(generated=4, reference=2, both=2), BinCounts(generated=0, reference=2, both=0)]
    scores = {k: v[0] for k, v in precision_and_recall(counts)(ONES(counts)).items()}
    assert scores["BCS"] == pytest.approx(25) and scores["BHS"] == pytest.approx(50)
    assert scores["CSD"] == pytest.approx(100 * np.std([0.5, 0], ddof=1))
    assert scores["F1"] == pytest.approx(100 * 2 * 0.25 * 0.5 / 0.75)
    assert scores["BCS_micro"] == pytest.approx(50) and scores["F1_micro"] == pytest.approx(50)


def test_own_music_beats_other_dances_and_clicks_do_not(dances):
    beats, audio = dances
    reference = Reference(audio=audio, songs={c: c for c in audio}, beats=beats, motion_beats=beats)
    own, rows = score_system(audio, reference, draws=200)
    assert own["P1"]["hit_micro"] == pytest.approx(100) and own["P2"]["F1"] == pytest.approx(100)
    p4 = own["P4"]
    assert p4["onsets_70ms"]["own"] == pytest.approx(1) and p4["onsets_70ms"]["difference_low"] > 0.3
    assert p4["beats_70ms"]["difference_low"] > 0.3 and p4["beats_70ms"]["difference_song_low"] > 0.3
    assert p4["music_to_motion"]["own"] > 0.9 and p4["motion_to_music"]["difference_low"] > 0.2
    assert p4["envelope_peak"] == pytest.approx(1) and p4["envelope_lag_s"] == 0 and p4["tempo_error_bpm"] == 0
    assert "tracked_70ms" not in p4, "5 s are too short to track beats in"
    assert len(rows) == 5 and rows[0]["P4_beats_own"] > 0.9
    clicks, _ = score_system({c: click_track(5 * RATE) for c in audio}, reference, draws=200)
    assert clicks["P1"]["hit_micro"] == pytest.approx(100), "the click track saturates P1: that is why P4 exists"
    assert abs(clicks["P4"]["beats_70ms"]["difference"]) < 0.15
    quiet, _ = score_system({c: np.zeros(5 * RATE, np.float32) for c in audio}, reference, draws=200)
    assert quiet["P1"]["coverage_micro"] == 0 and quiet["P4"]["beats_70ms"]["own"] == 0
    assert np.isnan(quiet["P4"]["tempo_error_bpm"]) and quiet["P4"]["tempo_error_bpm_clips"] == 0


def test_beats_are_tracked_in_clips_of_six_seconds():
    audio = {"a": click_train(np.arange(0.2, 8, 0.5), 8 * RATE), "b": click_train(np.arange(0.3, 8, 60 / 97), 8 * RATE)}
    summary, rows = score_system(audio, Reference(audio=audio), protocols=("P4",), draws=100)
    assert summary["P4"]["tracked_70ms"]["own"] == 1.0 and summary["P4"]["tracked_70ms"]["difference"] > 0.3
    assert rows[0]["reference_tempo"] == pytest.approx(120, rel=0.03)


def test_own_minus_other_leaves_out_the_same_song():
    times = {"a": np.array([1.0]), "b": np.array([1.0]), "c": np.array([2.0])}
    seconds, songs = dict.fromkeys(times, 5.0), {"a": "s", "b": "s", "c": "t"}
    assert own_minus_other(times, times, seconds, songs)["a"] == (1.0, 0.0)


def test_alignment_by_hand():
    assert alignment(np.array([1.0, 2.0]), np.array([1.0, 2.1])) == pytest.approx((1 + math.exp(-0.5)) / 2)
    assert alignment(np.array([1.0]), np.array([])) == 0 and np.isnan(alignment(np.array([]), np.array([1.0])))


def test_envelope_correlation_finds_the_lag():
    envelope = np.random.default_rng(0).random(400) ** 8
    peak, lag = envelope_correlation(np.roll(envelope, 5), envelope)
    assert peak > 0.95 and lag == pytest.approx(5 * 512 / RATE), "positive: the generated audio comes later"
    assert np.isnan(envelope_correlation(np.zeros(400), envelope)[0])


def test_motion_beats_are_where_the_dancer_stops():
    pose = np.ones((90, 17, 3), np.float32)
    time = np.arange(90) / 30
    pose[..., :2] = 100 * STANDING + 20 * np.sin(2 * np.pi * time)[:, None, None]
    stops = np.array([0.25, 0.75, 1.25, 1.75, 2.25, 2.75])
    assert np.abs(motion_beats(pose) - stops).max() < 1.5 / 30
    assert joint_speed(pose)[31] == pytest.approx(np.sqrt(2) * 20 * (np.sin(2 * np.pi / 30)), rel=1e-3)
    pose[:, 3:, 2] = 0
    pose[40:44, :, 2] = 0
    assert len(motion_beats(pose)) == 6, "missing joints and frames are bridged"
    assert not motion_beats(np.zeros((30, 17, 3), np.float32)).size


def test_bootstrap_covers_the_mean_and_drops_nan():
    values = np.concatenate([np.random.default_rng(0).normal(1.0, 1.0, 200), [np.nan]])
    found = with_intervals(lambda w: {"mean": weighted_mean(w, values)}, 201, resamples(201))
    assert found["mean_low"] < 1.0 < found["mean_high"] and found["mean_low"] < found["mean"] < found["mean_high"]
    assert found["mean_high"] - found["mean_low"] == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
    one = with_intervals(lambda w: {"mean": weighted_mean(w, np.array([3.0]))}, 1, resamples(1))
    assert one == {"mean": 3.0}, "one clip has no interval"


def test_songs_widen_the_interval_where_their_clips_agree():
    songs = [f"s{n // 10}" for n in range(100)]
    values = np.repeat(np.random.default_rng(1).normal(size=10), 10)
    found = with_intervals(lambda w: {"x": weighted_mean(w, values)}, 100, resamples(100, songs))
    width = lambda kind: found[f"x{kind}_high"] - found[f"x{kind}_low"]
    assert width("_song") == pytest.approx(width("") * np.sqrt(10), rel=0.2)
    assert "_song" not in resamples(4, ["a"] * 4)


def test_weighted_deviation_is_the_sample_deviation_of_repeated_values():
    values, weights = np.array([0.1, 0.4, 0.9]), np.array([[1, 1, 1], [0, 3, 2], [1, 0, 0]], float)
    assert weighted_deviation(weights, values)[:2] == pytest.approx(
        [np.std(values, ddof=1), np.std([0.4] * 3 + [0.9] * 2, ddof=1)], abs=1e-12
    )
    assert np.isnan(weighted_deviation(weights, values)[2])


def test_controls():
    assert np.flatnonzero(np.diff(onset_times(click_track(5 * RATE))) > 0.6).size == 0
    assert len(fit_length(np.arange(3.0), 7)) == 7 and fit_length(np.arange(3.0), 4, offset=1).tolist() == [1, 2, 0, 1]
    songs = ["a", "a", "b", "c"]
    assert all(songs[i] != songs[j] for i, j in enumerate(draw_other_song(songs, 0)))
    assert draw_other_song(["a", "a"], 0) == [-1, -1]
    own = {c: np.full(100 + i, i, np.float32) for i, c in enumerate("abcd")}
    made = control_audio(own, dict(zip("abcd", songs, strict=True)), 0)
    assert set(made) == {"ground truth", "shuffled ground truth", "fixed click", "silence", "white noise"}
    assert all(len(made[name][c]) == len(own[c]) for name in made for c in own)
    assert made["shuffled ground truth"]["a"][0] in (2, 3)


def test_bootstrap_interval_of_one_column():
    mean, low, high = bootstrap_interval(np.array([1.0, 2.0, 3.0, np.nan]))
    assert mean == 2 and 1 <= low < 2 < high <= 3
    assert np.isnan(bootstrap_interval(np.array([]))).all() and np.isnan(bootstrap_interval(np.array([4.0]))[1])


def test_segments_are_scored_on_their_own_and_intervals_draw_their_clips():
    """Clips of 5 and 4 s hold 2 + 2 whole segments; a click at 4.5 s is in none, and clips weigh as many as they hold."""

    def clicks(seconds, at):
        audio = np.zeros(round(seconds * RATE), np.float32)
        for t in at:
            audio[round(t * RATE) : round(t * RATE) + 600] = 0.8 * np.sin(np.arange(600) / 3)
        return audio

    own = {"a": clicks(5, (0.5, 2.5, 4.5)), "b": clicks(4, (0.5, 2.5))}
    heard = {"a": clicks(5, (0.5,)), "b": own["b"]}
    summary, rows = score_system(heard, Reference(audio=own), protocols=("P1",), draws=100, segments=True)
    assert (summary["P1"]["clips"], summary["P1"]["segments"], summary["P1"]["undefined"]) == (2, 4, 0)
    assert summary["P1"]["hit_micro"] == summary["P1"]["hit_macro"] == 75
    assert [(r["P1_both"], r["P1_reference"]) for r in rows] == [(1, 2), (2, 2)]
    assert (summary["P1"]["hit_micro_low"], summary["P1"]["hit_micro_high"]) == (50, 100)
    whole, _ = score_system(heard, Reference(audio=own), protocols=("P1",), draws=100)
    assert "segments" not in whole["P1"] and whole["P1"]["hit_micro"] == 60


def test_tracked_beats_are_compared_with_clips_that_can_be_tracked_alone():
    """A short clip with the same beats is no other dance there: it never is an own one."""
    beats = {"long": np.arange(0.2, 8, 0.5), "other": np.arange(0.1, 8, 0.7), "short": np.arange(0.2, 4, 0.5)}
    audio = {c: click_train(b, (4 if c == "short" else 8) * RATE) for c, b in beats.items()}
    summary, rows = score_system(
        {"long": audio["long"]}, Reference(audio=audio, beats=beats), protocols=["P4"], draws=100
    )
    assert summary["P4"]["tracked_70ms"]["own"] > 0.9 and rows[0]["P4_tracked_other"] < 0.5 < rows[0]["P4_beats_other"]
