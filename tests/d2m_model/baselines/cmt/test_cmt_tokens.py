"""CMT's tokens: a known tune and its bars, there and back, with its key and tempo."""

import numpy as np
import pytest

from d2m_model.baselines.cmt import generation as cmt_generation
from d2m_model.baselines.cmt import tokens as cmt_tokens
from d2m_model.baselines.cmt.grid import fit_bars, fit_tempo
from d2m_model.baselines.cmt.pieces import fit_transcript_bars
from d2m_model.baselines.cmt.tokens import NOTE, STRENGTH, TYPE
from d2m_model.baselines.score import Note, read_score, write_midi

BARS = np.arange(4) * 2.0  # 120 beats per minute: a tick is an eighth of a second
TUNE = [
    Note(0.0, 0.1, 36, 90, drum=True),
    Note(0.0, 0.5, 60, 90, program=4),
    Note(0.51, 1.0, 64, 90, program=27),  # 10 ms late
    Note(2.25, 9.0, 40, 90, program=33),  # longer than tokens can say
    Note(2.25, 2.5, 67, 90, program=81),
]
TOKENS = [
    (17, 1, 3, 0, 0, 0, 0),  # bar 0, 2 ticks struck
    (1, 1, 0, 0, 0, 0, 2),
    (0, 2, 0, 37, 1, 1, 0),
    (0, 2, 0, 61, 4, 2, 0),
    (5, 1, 0, 0, 0, 0, 1),
    (0, 2, 0, 65, 4, 3, 0),
    (17, 1, 2, 0, 0, 0, 0),  # bar 1, 1 tick
    (3, 1, 0, 0, 0, 0, 2),
    (0, 2, 0, 41, 17, 4, 0),
    (0, 2, 0, 68, 2, 5, 0),
]


def test_tokens_of_a_known_tune():
    assert cmt_tokens.tokens_of(TUNE, BARS).tolist() == [list(token) for token in TOKENS]
    assert cmt_tokens.tokens_of([], BARS).shape == (0, 7)


def test_a_midi_file_comes_back_through_tokens(tmp_path):
    write_midi(tmp_path / "tune.mid", TUNE, tempo=120.0)
    score = read_score(tmp_path / "tune.mid")
    tokens = cmt_tokens.tokens_of(score.notes, score.bars)
    assert tokens.tolist() == [list(token) for token in TOKENS]
    back = cmt_tokens.notes_of(tokens, score.bars)
    assert [(n.start, n.pitch, n.drum) for n in back] == [
        (0.0, 36, True),
        (0.0, 60, False),
        (0.5, 64, False),
        (2.25, 67, False),
        (2.25, 40, False),
    ]
    assert [n.program for n in back] == [0, 0, 27, 48, 33]
    assert cmt_tokens.tokens_of(back, score.bars).tolist() == tokens.tolist()


def test_ticks_follow_changes_of_tempo_and_go_on_beyond():
    bars = [1.0, 3.0, 4.0]
    assert cmt_tokens.ticks([1.0, 2.0, 3.5, 0.0, 5.0], bars).tolist() == [0, 8, 24, -8, 48]
    assert cmt_tokens.seconds([0, 8, 24, -8, 48], bars).tolist() == [1.0, 2.0, 3.5, 0.0, 5.0]


def test_the_strongest_chord_is_cut_to_what_tokens_can_say():
    tokens = cmt_tokens.tokens_of([Note(0.0, 1.0, pitch, 90) for pitch in range(40, 70)], BARS)
    assert tokens[1, STRENGTH] == 19 and (tokens[:, TYPE] == NOTE).sum() == 19


def test_keys():
    def scale(tonic, steps):
        return [Note(k, k + (2.0 if k in (0, 4) else 1.0), tonic + step, 90) for k, step in enumerate(steps)]

    assert cmt_tokens.key_of(scale(60, (0, 2, 4, 5, 7, 9, 11))) == 1
    assert cmt_tokens.key_of(scale(62, (0, 2, 4, 5, 7, 9, 11))) == 3
    assert cmt_tokens.key_of(scale(69, (0, 2, 3, 5, 7, 8, 10))) == 12 + 10
    assert cmt_tokens.key_of([Note(0.0, 1.0, 36, 90, drum=True)]) == 0


def test_places_of_tokens():
    at = cmt_tokens.bar_and_tick(np.array(TOKENS))
    assert at.tolist() == [0, 0, 0, 0, 4, 4, 16, 18, 18, 18]
    assert cmt_generation.places_of(at, 2)[[0, 4, 6, 7]].tolist() == [[1, 1], [13, 5], [51, 17], [57, 19]]
    assert cmt_generation.places_of(np.array([10_000]), 1).tolist() == [[101, 5024]]


def test_tempo_and_bars_of_a_piece_that_names_none():
    """Drums at 100 beats per minute from 0.35 s, a bass on every fourth beat."""
    notes = [Note(0.35 + 0.6 * k, 0.45 + 0.6 * k, 36, 80, drum=True) for k in range(30)]
    notes += [Note(0.35 + 0.6 * k, 0.9 + 0.6 * k, 40, 90, 33) for k in range(2, 30, 4)]
    bars = fit_transcript_bars(sorted(notes), 18.0)
    assert np.diff(bars) == pytest.approx(2.4, abs=0.01)
    assert (bars[1] - (0.35 + 1.2) + 0.02) % 2.4 < 0.06
    assert bars[0] <= 0 and bars[-1] >= 18


def test_nothing_to_go_by_gives_the_usual_tempo():
    assert fit_tempo(np.zeros(0), np.zeros(0)) == 115
    assert fit_tempo(np.arange(30) / 30, np.zeros(30)) == 115
    assert len(fit_bars(np.zeros(0), np.zeros(0), 120.0, 3.0)) == 3
