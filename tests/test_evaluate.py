"""Scores on sounds whose answer is known: clicks at known times, silence, the reference itself."""

import json

import numpy as np
import pytest
import soundfile
from builders import beats_of, click_train

from d2m_model import evaluate
from d2m_model.metrics.beat_bins import BinCounts, count_bins, coverage_and_hit, onset_bins, precision_and_recall
from d2m_model.metrics.bootstrap import bootstrap_interval
from d2m_model.metrics.controls import click_track, derangement, fitted, white_noise
from d2m_model.metrics.onset_alignment import f_measure, onset_times, own_minus_other
from d2m_model.metrics.scoring import Reference, score_system
from dataset_tools.base.errors import UserError

RATE = 22050


@pytest.fixture(scope="module")
def dances():
    """Five songs of clicks at different tempi and phases, 5 s each."""
    beats = {f"c{n}": beats_of(n, 5.0) + 0.05 * n for n in range(5)}
    return beats, {c: click_train(b, 5 * RATE) for c, b in beats.items()}


def test_onsets_are_found_where_the_clicks_are(dances):
    beats, audio = dances
    for clip in beats:
        assert f_measure(beats[clip], onset_times(audio[clip]), 0.05) > 0.95


def test_bins_hold_the_seconds_that_have_clicks():
    audio = click_train(np.array([0.5, 2.5]), 4 * RATE)
    assert onset_bins(audio, "P1").tolist() == [True, False, True, False]
    assert onset_bins(audio, "P3").sum() == 2
    assert len(onset_bins(audio[: 3 * RATE + 1], "P1")) == 4


def test_coverage_and_hit_by_hand():
    counts = [BinCounts(generated=3, reference=2, both=1), BinCounts(generated=1, reference=4, both=1), BinCounts(generated=2, reference=0, both=0)]
    scores = coverage_and_hit(counts)
    assert scores["coverage_macro"] == pytest.approx(100 * (3 / 2 + 1 / 4) / 2)
    assert scores["hit_macro"] == pytest.approx(100 * (1 / 2 + 1 / 4) / 2)
    assert scores["coverage_micro"] == pytest.approx(100 * 6 / 6)
    assert scores["hit_micro"] == pytest.approx(100 * 2 / 6)
    assert scores["undefined"] == 1


def test_precision_and_recall_by_hand():
    scores = precision_and_recall([BinCounts(generated=4, reference=2, both=2), BinCounts(generated=0, reference=2, both=0)])
    assert scores["BCS"] == pytest.approx(25) and scores["BHS"] == pytest.approx(50)
    assert scores["CSD"] == pytest.approx(100 * np.std([0.5, 0], ddof=1))
    assert scores["F1"] == pytest.approx(100 * 2 * 0.25 * 0.5 / 0.75)


def test_count_bins_cuts_to_the_shorter():
    assert count_bins(np.array([True, True, True]), np.array([True, False])) == BinCounts(generated=2, reference=1, both=1)


def test_own_music_beats_other_dances_and_clicks_do_not(dances):
    beats, audio = dances
    songs = {c: c for c in audio}
    reference = Reference(audio=audio, songs=songs, beats=beats)
    own, rows = score_system(audio, reference, draws=200)
    assert own["P1"]["hit_micro"] == pytest.approx(100) and own["P2"]["F1"] == pytest.approx(100)
    assert own["P4"]["onsets_70ms"]["own"] == pytest.approx(1) and own["P4"]["onsets_70ms"]["difference_low"] > 0.3
    assert own["P4"]["beats_70ms"]["difference_low"] > 0.3
    assert len(rows) == 5 and rows[0]["P4_beats_own"] > 0.9
    clicks, _ = score_system({c: click_track(5 * RATE) for c in audio}, reference, draws=200)
    assert clicks["P1"]["hit_micro"] == pytest.approx(100), "the click track saturates P1: that is why P4 exists"
    assert abs(clicks["P4"]["beats_70ms"]["difference"]) < 0.15
    quiet, _ = score_system({c: np.zeros(5 * RATE, np.float32) for c in audio}, reference, draws=200)
    assert quiet["P1"]["coverage_micro"] == 0 and quiet["P4"]["beats_70ms"]["own"] == 0


def test_own_minus_other_leaves_out_the_same_song():
    times = {"a": np.array([1.0]), "b": np.array([1.0]), "c": np.array([2.0])}
    seconds, songs = dict.fromkeys(times, 5.0), {"a": "s", "b": "s", "c": "t"}
    assert own_minus_other(times, times, seconds, songs)["a"] == (1.0, 0.0)


def test_bootstrap_covers_the_mean_and_drops_nan():
    values = np.concatenate([np.random.default_rng(0).normal(1.0, 1.0, 200), [np.nan]])
    estimate, low, high = bootstrap_interval(values)
    assert low < 1.0 < high and low < estimate < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
    assert np.isnan(bootstrap_interval(np.array([1.0]))[1])


def test_controls():
    assert np.flatnonzero(np.diff(onset_times(click_track(5 * RATE))) > 0.6).size == 0
    assert len(fitted(np.arange(3.0), 7)) == 7 and fitted(np.arange(3.0), 4, offset=1).tolist() == [1, 2, 0, 1]
    songs = ["a", "a", "b", "c"]
    assert all(songs[i] != songs[j] for i, j in enumerate(derangement(songs, 0)))
    assert derangement(["a", "a"], 0) == [-1, -1]
    assert np.array_equal(white_noise(100, 1), white_noise(100, 1))
    assert not np.array_equal(white_noise(100, 1), white_noise(100, 2))


def write_folder(folder, sounds, rate=RATE):
    folder.mkdir()
    for name, audio in sounds.items():
        soundfile.write(folder / f"{name}.wav", audio, rate)
    return folder


def test_folders_are_scored_from_the_command_line(tmp_path, dances, capsys):
    _, audio = dances
    generated = write_folder(tmp_path / "generated", {"c0": np.repeat(audio["c0"], 2)}, 2 * RATE)
    reference = write_folder(tmp_path / "reference", audio)
    out = tmp_path / "scores.json"
    assert evaluate.main(["--generated", str(generated), "--reference", str(reference), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["P1"]["hit_micro"] == 100
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())


def test_bad_folders_are_one_clear_line(tmp_path, dances):
    _, audio = dances
    reference = write_folder(tmp_path / "reference", audio)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no sound files"):
        evaluate.main(["--generated", str(tmp_path / "empty"), "--reference", str(reference)])
    stranger = write_folder(tmp_path / "stranger", {"zz": audio["c0"]})
    with pytest.raises(UserError, match="no reference named zz"):
        evaluate.main(["--generated", str(stranger), "--reference", str(reference)])
    bad = write_folder(tmp_path / "bad", {})
    soundfile.write(bad / "c0.wav", np.array([0.0, np.nan], np.float32), RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="NaN"):
        evaluate.main(["--generated", str(bad), "--reference", str(reference)])
    (bad / "c0.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(UserError, match="not a readable sound file"):
        evaluate.main(["--generated", str(bad), "--reference", str(reference)])
    with pytest.raises(UserError, match="both folders"):
        evaluate.main(["--generated", str(reference)])
