"""Events of Foley Music: what they mean, and that nothing is lost but what is finer than their grid."""

import numpy as np
import pytest

from d2m_model.baselines.foley_music import events
from d2m_model.baselines.foley_music.search import PianoState
from d2m_model.baselines.score import Note

S = events.SHIFTS


def random_notes(seed: int, count: int = 60, seconds: float = 6.0) -> list[Note]:
    """Notes that overlap, repeat keys, and lie closer together than the grid."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.uniform(0, seconds, count), rng.exponential(0.3, count)
    return [
        Note(float(s), float(s + n), int(p), int(v))
        for s, n, p, v in zip(starts, lengths, rng.integers(58, 66, count), rng.integers(1, 128, count), strict=True)
    ]


def test_vocabulary_is_the_published_one():
    assert events.VOCABULARY == 88 + 88 + 32 + 32 + 3 == events.PAD + 1
    assert S[0] == pytest.approx(1 / 65) and S[31] == pytest.approx(1.15**31 / 65) and len(S) == 32


def test_tokens_of_two_notes_are_known():
    at = S[10]
    notes = [Note(at, at + S[5], 60, 64), Note(at, at + S[5] + S[3], 64, 64)]
    shift, middle = events.SHIFT, 60 - 21
    assert events.encode(notes) == [
        events.SOS, shift + 10, events.VELOCITY + 16, events.PRESS + middle, events.PRESS + middle + 4, shift + 5,
        events.RELEASE + middle, shift + 3, events.RELEASE + middle + 4, events.EOS,
    ]  # fmt: skip


def test_notes_on_the_grid_come_back_exactly():
    clock, notes = 0.0, []
    for k in (3, 17, 9, 31, 0):
        clock += S[k]
        notes.append(Note(clock, clock + S[k], 50 + k, 4 * k + 2))
        clock += S[k]
    back = events.decode(events.encode(notes))
    assert [(n.pitch, n.velocity) for n in back] == [(n.pitch, n.velocity) for n in notes]
    assert np.allclose([n[:2] for n in back], [n[:2] for n in notes], atol=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_any_score_is_off_by_its_grid_and_then_stays_as_it_is(seed):
    tokens = events.encode(random_notes(seed), 10_000)
    notes = events.decode(tokens)
    assert events.encode(notes, 10_000) == tokens
    # One shift, rounded to the nearest of steps of 15 %, is off by 7 % of itself; no error adds up.
    alone = [Note(0.37 * i, 0.37 * i + 0.2, 60, 70) for i in range(1, 40)]
    back = events.decode(events.encode(alone, 10_000))
    assert max(abs(a.start - b.start) for a, b in zip(alone, back, strict=True)) < 0.07 * 0.37


@pytest.mark.parametrize("seed", range(10))
def test_tokens_of_a_score_follow_the_grammar(seed):
    state = PianoState(60.0)
    for token in events.encode(random_notes(seed), 10_000)[1:]:
        assert state.allowed()[token], token
        state = state.after(token)


def test_a_long_gap_takes_several_shifts_and_a_tiny_one_none():
    tokens = events.encode([Note(3.0, 3.5, 60, 64), Note(3.001, 3.5, 67, 64)])
    assert tokens.count(events.SHIFT + 31) == 2 and sum(events.SHIFT <= w < events.SOS for w in tokens) == 4
    assert events.decode(tokens)[0].start == pytest.approx(3.0, abs=0.07 * S[31])


def test_a_key_struck_again_is_released_between():
    back = events.decode(events.encode([Note(0, 2, 60, 64), Note(S[20], 1, 60, 100)]))
    assert len(back) == 2 and back[0].end == back[1].start == pytest.approx(S[20])


def test_what_a_piano_cannot_play_moves_by_octaves_and_drums_are_left_out():
    notes = [Note(0, 1, 3, 64), Note(0, 1, 120, 64), Note(0, 1, 36, 64, drum=True)]
    assert sorted(n.pitch for n in events.decode(events.encode(notes))) == [27, 108]


def test_too_much_music_is_cut_off_without_an_end():
    tokens = events.encode(random_notes(1, count=400))
    assert len(tokens) == 512 and tokens[0] == events.SOS and events.EOS not in tokens


def test_any_tokens_have_a_meaning():
    rng = np.random.default_rng(0)
    for _ in range(50):
        tokens = rng.integers(0, events.VOCABULARY, 200).tolist()
        notes = events.decode(tokens)
        assert all(21 <= n.pitch <= 108 and 1 <= n.velocity <= 127 and n.end > n.start >= 0 for n in notes)
    assert events.decode([events.EOS, events.PRESS]) == [] == events.decode([])
    assert events.decode([events.PRESS])[0].end == pytest.approx(S[0])
