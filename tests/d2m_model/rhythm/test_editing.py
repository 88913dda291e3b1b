"""Beats that a person changes: half, twice, later, on other times, a list of one's own."""

import numpy as np
import pytest

from d2m_model.rhythm.beats_file import Beats
from d2m_model.rhythm.editing import accents_of, bar_starts, doubled, halved, nearest, shifted, snapped, with_beats
from dataset_tools.lib.core.errors import UserError

UNEVEN = np.round(0.4 + 0.5 * np.arange(18) + 0.03 * np.sin(np.arange(18)), 4)


def dance(first: int = 1, bar: int = 4, times: np.ndarray = UNEVEN) -> Beats:
    """A dance of 9.3 s with its first down-beat at beat number `first`; strengths rise from 0 to 1."""
    return Beats(
        fps=30, seconds=9.3, beats=times, downbeats=times[first::bar], strength=np.linspace(0, 1, len(times)), tempo=77.0,
        style={"house": 1.0},
    )  # fmt: skip


def steady(beats: Beats, tempo: float) -> bool:
    """Whether the tempo was computed anew, and length, rate and style stayed."""
    return abs(beats.tempo / tempo - 1) < 0.01 and (beats.fps, beats.seconds, beats.style) == (30, 9.3, {"house": 1.0})


@pytest.mark.parametrize(("first", "bar"), [(0, 4), (1, 4), (2, 4), (3, 4), (0, 2), (1, 6)])
def test_half_the_beats_keep_the_downbeats(first, bar):
    made = halved(dance(first, bar))
    assert np.array_equal(made.beats, UNEVEN[first % 2 :: 2]) and steady(made, 60)
    assert np.array_equal(made.strength, np.linspace(0, 1, 18)[first % 2 :: 2])
    assert set(made.downbeats) <= set(UNEVEN[first::bar]), "the down-beats are some of the dance's"
    starts = np.flatnonzero(np.isin(made.beats, made.downbeats))
    assert set(np.diff(starts)) == {bar} and starts[0] == (first // 2) % bar


def test_half_of_a_waltz_is_a_waltz():
    made = halved(dance(0, 3))
    assert np.array_equal(made.beats, UNEVEN[::2]) and np.array_equal(made.downbeats, UNEVEN[::6])


def test_half_of_bars_that_are_counted_anew_keeps_the_later_downbeats():
    times = 0.25 * np.arange(32)
    made = halved(Beats(fps=30, seconds=9, beats=times, downbeats=times[[0, 4, 8, 12, 18, 22, 26, 30]]))
    assert np.array_equal(made.downbeats, times[[0, 8, 18, 26]]) and len(made.strength) == 0


@pytest.mark.parametrize("first", [0, 1, 3])
def test_twice_the_beats_keep_each_and_add_one_midway(first):
    made = doubled(dance(first))
    assert np.array_equal(made.beats[::2], UNEVEN) and steady(made, 240)
    assert np.array_equal(made.beats[1::2], (UNEVEN[1:] + UNEVEN[:-1]) / 2)
    assert np.array_equal(made.strength[::2], np.linspace(0, 1, 18))
    assert np.array_equal(made.downbeats, made.beats[2 * first % 4 :: 4]) and set(UNEVEN[first::4]) <= set(
        made.downbeats
    )


def test_half_of_twice_is_the_dance():
    again = halved(doubled(dance(0)))
    assert np.array_equal(again.beats, UNEVEN) and np.array_equal(again.downbeats, UNEVEN[::4])
    assert np.array_equal(again.strength, dance().strength)


def test_bars_are_counted_anew_at_a_downbeat_that_comes_late():
    assert bar_starts(20, np.array([5, 9]), 4).tolist() == [1, 5, 9, 13, 17]
    assert bar_starts(20, np.array([0, 4, 11, 15]), 4).tolist() == [0, 4, 11, 15, 19], "a bar of seven"
    assert bar_starts(20, np.array([0, 16]), 4).tolist() == [0, 4, 8, 12, 16]
    assert bar_starts(20, np.array([7]), 0).tolist() == [7] and len(bar_starts(20, np.zeros(0, int), 4)) == 0


def test_a_downbeat_is_the_beat_beside_it_or_none():
    beats = Beats(fps=30, seconds=3, beats=[0.5, 1.0, 1.5, 2.0], downbeats=[0.45, 1.3, 1.96])
    assert accents_of(beats).tolist() == [0, 3]
    assert shifted(beats, 0.5).downbeats.tolist() == [1.0, 2.5]


def test_few_beats_are_no_trouble():
    for count in (0, 1, 2):
        few = Beats(fps=30, seconds=3, beats=UNEVEN[:count], downbeats=UNEVEN[:count][:1])
        assert len(halved(few).beats) == (count + 1) // 2 and len(doubled(few).beats) == max(0, 2 * count - 1)
        assert np.array_equal(snapped(few, np.array([0.41])).beats, np.append(0.41, UNEVEN[1:count])[:count])
        for made in (halved(few), doubled(few), shifted(few, 0.1), snapped(few, np.array([0.41]))):
            assert len(made.downbeats) == min(count, 1) and (made.tempo is None) == (len(made.beats) < 2)
    assert len(shifted(few, 99).beats) == 0


@pytest.mark.parametrize(("seconds", "first", "last"), [(0.2, 0, 18), (-0.2, 0, 18), (-1.0, 2, 18), (0.7, 0, 17)])
def test_beats_that_are_moved_out_of_the_dance_are_dropped(seconds, first, last):
    made = shifted(dance(), seconds)
    assert np.array_equal(made.beats, UNEVEN[first:last] + seconds) and steady(made, 120)
    assert np.array_equal(made.strength, dance().strength[first:last])
    assert set(made.downbeats) == {t + seconds for t in UNEVEN[1::4] if 0 <= t + seconds <= 9.3}


@pytest.mark.parametrize("seconds", [np.nan, np.inf])
def test_a_shift_is_a_number(seconds):
    with pytest.raises(ValueError, match="finite numbers"):
        shifted(dance(), seconds)


def test_beats_go_to_the_nearest_time_within_reach():
    made = snapped(dance(), np.array([UNEVEN[1] + 0.1, UNEVEN[2] - 0.02, UNEVEN[2] - 0.05, UNEVEN[5] + 0.2]))
    moved = {1: UNEVEN[1] + 0.1, 2: UNEVEN[2] - 0.02}
    assert np.array_equal(made.beats, [moved.get(n, t) for n, t in enumerate(UNEVEN)]), "beat 5 is too far away"
    assert made.downbeats[0] == UNEVEN[1] + 0.1 and len(made.downbeats) == len(dance().downbeats)
    assert np.array_equal(made.strength, dance().strength)
    assert snapped(dance(), np.array([UNEVEN[5] + 0.2]), 0.25).beats[5] == UNEVEN[5] + 0.2


def test_the_nearest_of_several_beats_gets_a_time():
    close = Beats(fps=30, seconds=3, beats=[1.0, 1.05, 1.1, 2.0], downbeats=[1.1])
    made = snapped(close, [1.08])
    assert made.beats.tolist() == [1.0, 1.05, 1.08, 2.0] and made.downbeats.tolist() == [1.08]
    assert snapped(close, [1.02, 1.06]).beats.tolist() == [1.02, 1.06, 1.1, 2.0]


def test_snapping_keeps_order_and_number_whatever_the_times():
    rng = np.random.default_rng(0)
    for _ in range(300):
        times = np.unique(np.round(rng.random(30) * 4, 3))
        goals = np.concatenate([np.round(rng.random(25) * 4.4 - 0.2, 3), times[:3]])
        made = snapped(Beats(fps=30, seconds=4, beats=times), goals, 0.3)  # `Beats` refuses times that don't ascend
        changed = made.beats != times
        assert len(made.beats) == len(times) and np.isin(made.beats[changed], goals).all()


def test_nearest_agrees_with_all_distances():
    rng = np.random.default_rng(1)
    for count in (1, 2, 9):
        of, times = np.sort(rng.random(count)), rng.random(50) * 1.4 - 0.2
        assert np.array_equal(nearest(times, of), np.abs(times[:, None] - of).argmin(axis=1))
    assert nearest(np.array([1.5, 2.5]), np.array([1.0, 2.0, 3.0])).tolist() == [0, 1]


def test_a_list_of_ones_own():
    later = np.round(UNEVEN[3] + 0.1, 4)
    made = with_beats(dance(), [later, UNEVEN[0], UNEVEN[9], UNEVEN[9], 4.65], [UNEVEN[9], UNEVEN[0] + 0.01])
    assert np.array_equal(made.beats, [UNEVEN[0], later, 4.65, UNEVEN[9]])
    assert np.array_equal(made.downbeats, UNEVEN[[0, 9]])
    known = dance().strength
    assert np.array_equal(made.strength, [known[0], known[3], 1.0, known[9]]), "a new beat is as strong as can be"
    assert made.style == {"house": 1.0} and made.tempo != 77
    assert len(with_beats(Beats(fps=30, seconds=9, beats=[1.0]), [2.0, 3], []).strength) == 0
    assert len(with_beats(dance(), [], []).beats) == 0


@pytest.mark.parametrize(
    ("times", "downbeats", "message"),
    [
        ([0.5, "1"], [], "beats must be a list of at most 100000 finite numbers, found 1"),
        ([0.5, float("nan")], [], "beats must be a list"),
        (None, [], "beats must be a list"),
        ([0.5], [None], "downbeats must be a list"),
        ([-0.5, 1], [], "beats must be at least 0 s"),
        ([0.5, 9.4], [], "within the 9.3 s of the dance"),
        ([0.5, 1.0], [0.7], "each down-beat must be one of the beats, found 0.7 s"),
        ([], [0.7], "each down-beat must be one of the beats, found 0.7 s"),
        ([0.0] * 100_001, [], "at most 100000"),
    ],
)
def test_a_list_that_is_none_is_one_line(times, downbeats, message):
    with pytest.raises(UserError, match=message) as caught:
        with_beats(dance(), times, downbeats)
    assert str(caught.value).endswith("; correct the list of beats") and "\n" not in str(caught.value)
