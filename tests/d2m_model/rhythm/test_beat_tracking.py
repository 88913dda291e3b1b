"""Activations to beats: the likeliest steady train, the likeliest bars over it, the tempo."""

import numpy as np
import pytest

from d2m_model.rhythm.beats_file import tempo_of
from d2m_model.rhythm.tracking import track_beats, track_downbeats


def bumps(times, frames: int) -> np.ndarray:
    near = np.abs(np.arange(frames)[:, None] / 30 - np.asarray(times)[None, :]).min(axis=1)
    return 0.02 + 0.9 * np.exp(-0.5 * (near * 30 / 0.8) ** 2)


def test_beats_between_frames_are_found_within_5_ms():
    true = 0.317 + 0.4871 * np.arange(18)
    assert np.abs(track_beats(bumps(true, 300)) - true).max() < 0.005


def test_a_beat_that_nobody_danced_is_bridged_and_a_stray_one_left_out():
    true = 0.5 + 0.5 * np.arange(16)
    danced = np.delete(true, [6, 7])
    activation = np.maximum(bumps(danced, 270), 0.5 * bumps([2.74, 5.77], 270))
    found = track_beats(activation)
    assert len(found) == len(true) and np.abs(found - true).max() < 0.04


def test_a_tempo_that_rises_is_followed():
    true = 0.3 + np.cumsum(np.linspace(0.6, 0.45, 24))
    assert np.abs(track_beats(bumps(true, 430)) - true).max() < 0.02


def test_weak_beats_at_the_ends_are_beats():
    """No stronger than a frame without a beat, they cost the train more than they bring."""
    true = 0.4 + 0.5 * np.arange(16)
    strong = true[5:11]
    found = track_beats(np.maximum(bumps(strong, 270), 0.25 * bumps(true, 270)))
    assert len(found) == len(true) and np.abs(found - true).max() < 0.02


def test_before_and_after_the_dance_there_are_no_beats():
    true = 5.0 + 0.5 * np.arange(16)
    found = track_beats(bumps(true, 540))
    assert len(found) == len(true) and np.abs(found - true).max() < 0.005


def test_a_dancer_who_stands_for_a_while_goes_on_in_tempo():
    true = 0.5 + 0.5 * np.arange(18)
    danced = np.concatenate([true[:8], true[-4:]])
    found = track_beats(bumps(danced, 300))
    assert len(found) == len(true) and np.abs(found - true).max() < 0.02


def test_one_blip_long_after_the_dance_is_no_beat():
    true = 5.0 + 0.5 * np.arange(16)
    found = track_beats(np.maximum(bumps(true, 2100), 0.13 * bumps([60.0], 2100)))
    assert len(found) == len(true) and np.abs(found - true).max() < 0.005


def test_a_dancer_who_is_early_and_late_is_followed():
    """By more than 40 ms, as people are; the tempo is steady."""
    true = 0.5 + 0.46 * np.arange(16) + np.tile([0.045, -0.045, -0.04, 0.04], 4)
    found = track_beats(bumps(true, 270))
    assert len(found) == len(true) and np.abs(found - true).max() < 0.01


def test_silence_has_no_beats():
    assert len(track_beats(np.full(300, 0.02))) == 0 and len(track_beats(np.zeros(0))) == 0


def test_downbeats_are_every_fourth_beat_though_one_was_missed():
    beats = 0.5 + 0.5 * np.arange(17)
    activation = bumps(beats[2::4][[0, 1, 3]], 300)
    assert np.allclose(track_downbeats(activation, beats), beats[2::4])


def test_bars_are_counted_anew_where_the_dance_is():
    beats = 0.5 + 0.5 * np.arange(34)
    true = beats[[0, 4, 8, 12, 18, 22, 26, 30]]
    assert np.allclose(track_downbeats(bumps(true, 540), beats), true)


def test_tempo_of_uneven_and_missing_beats():
    beats = np.delete(0.5 * np.arange(20), 7) + np.tile([0.01, -0.01], 10)[:19]
    assert abs(tempo_of(beats) - 120) < 0.5
    assert tempo_of(np.array([1.0])) is None


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.8])
def test_a_further_beat_leaves_the_tempo_as_it_is(place):
    beats = 0.4 + 0.39 * np.arange(15)
    added = np.insert(beats, 5, beats[4] + place * 0.39)
    assert abs(tempo_of(added) - 60 / 0.39) < 0.1
    assert abs(tempo_of(np.sort(np.append(added, beats[9] + 0.2))) - 60 / 0.39) < 0.1


def test_a_faster_part_is_counted_in_the_beats_of_the_slower_one_if_those_are_more():
    assert abs(tempo_of(np.concatenate([0.5 * np.arange(12), 5.5 + 0.25 * np.arange(1, 7)])) - 120) < 0.5
