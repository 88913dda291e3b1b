"""Beats as MIDI: a file whose grid is the beats', read back by the project's own reader."""

import mido
import numpy as np
import pytest

from d2m_model.rhythm.beats_file import Beats
from d2m_model.rhythm.beats_midi import write_beats_midi
from dataset_tools.lib.midi import read_score


def uneven(count: int, first: float = 0.4) -> np.ndarray:
    """Beats of a tempo that wanders between 90 and 150 a minute."""
    rng = np.random.default_rng(count)
    return first + np.cumsum(
        np.append(0, 60 / (120 + 30 * np.sin(np.arange(count - 1) / 7) + rng.normal(0, 2, count - 1)))
    )


def read(tmp_path, beats: Beats):
    """(times of the clicks, their notes, times of the bars) of a written file."""
    write_beats_midi(tmp_path / "b.mid", beats)
    score = read_score(tmp_path / "b.mid")
    assert all(note.drum for note in score.notes)
    return np.array([n.start for n in score.notes]), [n.pitch for n in score.notes], np.array(score.bars)


def signatures(path) -> list[tuple[int, int]]:
    """(number of the quarter note, numerator) of a file's time signatures."""
    tick, found = 0, []
    for message in mido.MidiFile(path).tracks[0]:
        tick += message.time
        if message.type == "time_signature":
            assert message.denominator == 4
            found.append((tick // 960, message.numerator))
    return found


@pytest.mark.parametrize(("first", "accent"), [(0.0, 0), (0.4, 0), (0.4, 2), (3.21, 1), (0.02, 3)])
def test_clicks_are_on_the_beats_and_bars_on_the_downbeats(tmp_path, first, accent):
    times = uneven(40, first)
    beats = Beats(fps=30, seconds=60, beats=times, downbeats=times[accent::4])
    clicks, notes, bars = read(tmp_path, beats)
    np.testing.assert_allclose(clicks, times, atol=1e-3)
    assert notes == [76 if n % 4 == accent else 77 for n in range(40)]
    away = np.abs(bars[:, None] - times[accent::4]).min(axis=0)
    assert away.max() < 1e-3, "each down-beat begins a bar"
    assert (
        np.abs(bars[(bars > times[accent] + 0.1) & (bars < times[36])][:, None] - times[accent::4]).min(axis=1) < 1e-3
    ).all()


def test_hundreds_of_uneven_beats_do_not_drift(tmp_path):
    times = uneven(600, 1.37)
    clicks, _, _ = read(tmp_path, Beats(fps=30, seconds=times[-1] + 1, beats=times, downbeats=times[1::4]))
    assert len(clicks) == 600 and np.abs(clicks - times).max() < 1e-3
    assert {n.time % 960 for n in mido.MidiFile(tmp_path / "b.mid").tracks[1] if n.type == "note_on"} <= {0, 720}


def test_time_signatures_follow_the_bars_after_a_shorter_one(tmp_path):
    times = 1.0 + 0.5 * np.arange(20)  # two quarter notes before the first beat
    read(tmp_path, Beats(fps=30, seconds=12, beats=times, downbeats=times[[1, 5, 9, 12, 16]]))
    assert signatures(tmp_path / "b.mid") == [(0, 3), (3, 4), (11, 3), (14, 4)]
    read(tmp_path, Beats(fps=30, seconds=12, beats=times, downbeats=times[[4, 7, 10]]))
    assert signatures(tmp_path / "b.mid") == [(0, 3)], "a waltz, with two whole bars before its first down-beat"
    long = 0.3 * np.arange(60)
    read(tmp_path, Beats(fps=30, seconds=20, beats=long, downbeats=long[[0, 50]]))
    assert signatures(tmp_path / "b.mid") == [(0, 4), (48, 2), (50, 4)], "fifty beats are no bar"


def test_without_downbeats_bars_of_four_begin_with_the_first_beat(tmp_path):
    times = 0.5 + 0.5 * np.arange(9)
    clicks, notes, bars = read(tmp_path, Beats(fps=30, seconds=6, beats=times))
    np.testing.assert_allclose(clicks, times, atol=1e-6)
    assert set(notes) == {77} and signatures(tmp_path / "b.mid") == [(0, 1), (1, 4)]
    np.testing.assert_allclose(bars[:4], [0, 0.5, 2.5, 4.5], atol=1e-6)


@pytest.mark.parametrize(
    "times", [[], [0.0], [2.5], [0.1, 40.0, 40.5, 41.0, 100.0], [0.0, 1e-7, 0.5], list(0.3 * np.arange(1, 80))]
)
def test_few_far_and_crowded_beats(tmp_path, times):
    """Gaps that are slower than MIDI's slowest tempo, and shorter than its unit."""
    clicks, notes, _ = read(tmp_path, Beats(fps=30, seconds=120, beats=times, downbeats=times[:1]))
    np.testing.assert_allclose(clicks, times, atol=1e-3)
    assert notes == [76, *[77] * (len(times) - 1)][: len(times)]


def test_the_file_ends_with_the_dance(tmp_path):
    for seconds in (8.0, 9.25):
        write_beats_midi(tmp_path / "b.mid", Beats(fps=30, seconds=seconds, beats=0.4 + 0.5 * np.arange(16)))
        assert mido.MidiFile(tmp_path / "b.mid").length == pytest.approx(seconds, abs=1e-3)


def test_equal_beats_give_equal_bytes(tmp_path):
    times = uneven(40)
    for name in ("a.mid", "b.mid"):
        write_beats_midi(tmp_path / name, Beats(fps=30, seconds=60, beats=times, downbeats=times[::4]))
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


@pytest.mark.parametrize("first", [0.008, 0.059, 0.061])
def test_no_tempo_is_faster_than_music_programs_take(tmp_path, first):
    times = uneven(20, first)
    clicks, _, _ = read(tmp_path, Beats(fps=30, seconds=20, beats=times))
    tempi = [m.tempo for m in mido.MidiFile(tmp_path / "b.mid").tracks[0] if m.type == "set_tempo"]
    assert min(tempi) >= 60_000
    np.testing.assert_allclose(clicks, times, atol=1e-3)
