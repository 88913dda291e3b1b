"""What steers a generation: another tempo, and parts of a take that are made again or kept."""

import numpy as np
import pytest

from d2m_model.generate.regions import made_again, outside, region_of, seam, splice
from d2m_model.generate.tempo import with_tempo
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.lib.core.errors import UserError

RATE = 22050


def dance(bpm=120, seconds=10.0, first=0.4, downbeat=1):
    times = np.arange(first, seconds, 60 / bpm)
    return Beats(
        fps=30, seconds=seconds, beats=times, downbeats=times[downbeat::4], strength=np.linspace(0, 1, len(times))
    )


@pytest.mark.parametrize("bpm", [90, 100, 119, 128, 140])
def test_beats_take_a_tempo_and_keep_the_first(bpm):
    made = with_tempo(dance(), bpm)
    assert made.beats[0] == 0.4 and made.tempo == bpm and len(made.strength) == len(made.beats)
    np.testing.assert_allclose(np.diff(made.beats), 60 / bpm, rtol=1e-9)
    assert made.seconds - made.beats[-1] <= 60 / bpm + 1e-9, "up to the end"
    assert np.array_equal(made.downbeats, made.beats[1::4])


def test_uneven_beats_keep_their_swing():
    even = dance()
    uneven = Beats(
        fps=30, seconds=10, beats=even.beats + 0.02 * (np.arange(len(even.beats)) % 2), downbeats=even.downbeats + 0.02
    )
    made = with_tempo(uneven, 110)
    gaps = np.diff(made.beats[: len(uneven.beats) - 2])
    assert abs(60 / gaps[: len(gaps) // 2 * 2].mean() / 110 - 1) < 0.02 and gaps[::2].mean() - gaps[1::2].mean() > 0.03


def test_half_and_double_tempo_stay_on_the_dance():
    double = with_tempo(dance(), 240)
    assert np.allclose(double.beats[:-1:2][: len(dance().beats)], dance().beats[: len(double.beats[:-1:2])])
    assert (
        np.allclose(np.diff(double.downbeats), 1.0)
        and np.isin(dance().downbeats.round(6), double.downbeats.round(6)).all()
    )
    half = with_tempo(dance(), 60)
    assert np.isin(half.beats.round(6), dance().beats.round(6)).all() and np.allclose(np.diff(half.beats), 1.0)
    assert np.isin(half.downbeats.round(6), dance().downbeats.round(6)).all(), (
        "the beats that stay are those of the down-beats"
    )


def test_half_and_double_move_no_beat():
    half, double = with_tempo(dance(), "half"), with_tempo(dance(), "double")
    assert np.array_equal(half.beats, dance().beats[1::2]) and half.tempo == pytest.approx(60)
    assert np.array_equal(double.beats[::2], dance().beats) and double.tempo == pytest.approx(240)
    with pytest.raises(UserError, match="--tempo double makes more than 100000 beats"):
        with_tempo(Beats(fps=30, seconds=21600, beats=0.2 * np.arange(60_000)), "double")


@pytest.mark.parametrize(
    ("bpm", "message"),
    [("third", "'half' or 'double', found third"), (0, "20 to 400"), (float("nan"), "20 to 400"), (1e9, "20 to 400")],
)
def test_no_such_tempo(bpm, message):
    with pytest.raises(UserError, match=message):
        with_tempo(dance(), bpm)


def test_a_dance_of_one_beat_has_no_tempo():
    with pytest.raises(UserError, match="at least two beats of the dance, found 1"):
        with_tempo(Beats(fps=30, seconds=3, beats=[1.0]), 120)


def test_regions_are_read():
    assert region_of("4.0-6.5", 8.0, "--redo") == (4.0, 6.5)
    assert region_of(" 0 - .5", 8.0, "--redo") == (0.0, 0.5)
    assert region_of("4-8.05", 8.0, "--keep") == (4.0, 8.0), "an end that was rounded up"
    assert outside((2.0, 8.0), 8.0) == [(0.0, 2.0)]
    assert made_again(None, "0-4", 8.0) == [(4.0, 8.0)] and made_again(None, "2-4", 8.0) == [(0.0, 2.0), (4.0, 8.0)]
    assert made_again("2-4", None, 8.0) == [(2.0, 4.0)] and made_again(None, None, 8.0) == [(0.0, 8.0)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "4-",
        "-4",
        "6-4",
        "4-4.05",
        "4-6-8",
        "1e3-2e3",
        "nan-inf",
        "-1-3",
        "٤-٦",
        "9-12",
        "0-9",
        "4,0-6,5",
        "4-6\n" * 99,
    ],
)
def test_regions_that_are_none(text):
    with pytest.raises(UserError, match="^--redo must") as caught:
        region_of(text, 8.0, "--redo")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 160


def test_redo_and_keep_are_one_choice():
    with pytest.raises(UserError, match="give one"):
        made_again("1-2", "3-4", 8.0)
    with pytest.raises(UserError, match="nothing is left"):
        made_again(None, "0-8", 8.0)


def tune(seed, seconds=8):
    """The same chord and noise bursts at the same beats, but tones that begin anywhere in their cycle."""
    rng = np.random.default_rng(seed)
    time = np.arange(seconds * RATE) / RATE
    tones = sum(0.2 * np.sin(2 * np.pi * (f * time + rng.random())) for f in (220, 330.7, 441.3))
    return (
        tones
        + np.exp(-((time % 0.5) / 0.05)) * 0.1 * rng.standard_normal(len(time))
        + 0.003 * rng.standard_normal(len(time))
    ).astype(np.float32)


@pytest.mark.parametrize("region", [(2.25, 5.75), (0.0, 3.25), (4.75, 8.0), (3.2, 3.35)])
def test_a_splice_is_bit_equal_outside_and_new_inside(region):
    take, new = tune(1), tune(2)
    made = splice(take, new, region, 0.05)
    first, last = (round(second * RATE) for second in region)
    assert np.array_equal(made[:first], take[:first]) and np.array_equal(made[last:], take[last:])
    width = min(round(0.05 * RATE), (last - first) // 3)
    assert np.array_equal(made[first + width : last - width], new[first + width : last - width])
    if region[0] == 0:
        assert np.array_equal(made[:width], new[:width])
    if region[1] == 8:
        assert np.array_equal(made[-width:], new[-width:])


def test_a_faded_seam_is_not_heard_and_a_cut_is():
    """Seams between the beats; the tones of the two takes are out of phase there."""
    region = (2.25, 5.75)
    faded, cut = splice(tune(1), tune(2), region, 0.1), splice(tune(1), tune(2), region, 0.0)
    assert seam(faded, [2.25, 2.35, 5.65, 5.75]) < 1
    assert seam(cut, region) > 1.3 * seam(faded, region)
    assert seam(np.zeros(RATE, np.float32), [0.5]) == 0
