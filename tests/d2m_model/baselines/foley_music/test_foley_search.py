"""Beam search, against all there is."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from d2m_model.baselines.foley_music import events
from d2m_model.baselines.foley_music.search import PianoState, beam_search

FIRST, END, TOKENS = 0, 1, 4


@dataclass(frozen=True)
class Free:
    """Everything can follow but the first token; token 3 not twice in a row."""

    last: int = FIRST

    def allowed(self):
        found = np.arange(TOKENS) != FIRST
        found[3] &= self.last != 3
        return found

    def after(self, token):
        return Free(token)


class Table:
    """A model whose next token depends on all tokens so far: rows of a table drawn from a seed."""

    def __init__(self, seed: int):
        self.seed, self.prefixes = seed, [()]

    def likely(self, tokens) -> np.ndarray:
        logits = 2 * np.random.default_rng([self.seed, len(tokens), *tokens]).normal(size=TOKENS)
        return logits - np.log(np.exp(logits).sum())

    def follow(self, rows, tokens):
        self.prefixes = [(*self.prefixes[r], int(w)) for r, w in zip(rows, tokens, strict=True)]
        return np.stack([self.likely(p) for p in self.prefixes])

    def mean(self, tokens) -> float:
        return sum(self.likely(tokens[:i])[tokens[i]] for i in range(1, len(tokens))) / (len(tokens) - 1)


def every(limit: int):
    """All that can be said within `limit` tokens and ends."""
    for length in range(limit - 1):
        for middle in itertools.product((2, 3), repeat=length):
            if (3, 3) not in itertools.pairwise(middle):
                yield (FIRST, *middle, END)


@pytest.mark.parametrize("seed", range(12))
def test_a_beam_wide_enough_finds_the_best_of_all(seed):
    table = Table(seed)
    found = beam_search(table.follow, FIRST, END, Free(), 200, 6)
    assert tuple(found) == max(every(6), key=table.mean)


@pytest.mark.parametrize("seed", range(12))
def test_a_beam_of_one_is_the_likeliest_word_each_time(seed):
    table, tokens, state = Table(seed), [FIRST], Free()
    while tokens[-1] != END and len(tokens) < 8:
        tokens.append(int(np.where(state.allowed(), table.likely(tokens), -np.inf).argmax()))
        state = state.after(tokens[-1])
    assert beam_search(table.follow, FIRST, END, Free(), 1, 8) == tokens


def test_a_beam_finds_what_a_greedy_choice_misses():
    def follow(rows, tokens):  # 2 looks best at first, but nothing good comes after it
        after = {FIRST: (0.001, 0.001, 0.55, 0.448), 2: (0.1, 0.3, 0.3, 0.3), 3: (0.001, 0.99, 0.008, 0.001)}
        return np.log([after[int(w)] for w in tokens])

    assert beam_search(follow, FIRST, END, Free(), 1, 4)[1] == 2
    assert beam_search(follow, FIRST, END, Free(), 2, 4) == [FIRST, 3, END]


def test_search_ends_at_its_limit():
    never = lambda rows, tokens: np.tile(np.log([0.1, 1e-9, 0.6, 0.3]), (len(tokens), 1))
    assert len(beam_search(never, FIRST, END, Free(), 2, 9)) == 9


def test_the_piano_plays_no_key_twice_and_keeps_to_its_window():
    state = PianoState(1.0).after(events.PRESS + 40)
    allowed = state.allowed()
    assert not allowed[events.PRESS + 40] and allowed[events.RELEASE + 40] and allowed[events.PRESS + 41]
    assert (
        not allowed[events.RELEASE + 41] and not allowed[events.SOS] and not allowed[events.PAD] and allowed[events.EOS]
    )
    assert (allowed[events.SHIFT : events.SOS] == (1.0 >= events.SHIFTS)).all()
    later = state.after(events.SHIFT + 28).allowed()
    assert (later[events.SHIFT : events.SOS] == (1.0 - events.SHIFTS[28] >= events.SHIFTS)).all()
    after_velocity = state.after(events.VELOCITY + 3).allowed()
    assert set(np.flatnonzero(after_velocity)) == set(range(88)) - {40}
