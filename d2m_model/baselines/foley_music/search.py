"""Beam search over events, and the grammar of events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from d2m_model.baselines.foley_music.events import EOS, KEYS, PRESS, RELEASE, SHIFT, SHIFTS, SOS, VELOCITY, VOCABULARY

Follow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(rows (R,), tokens (R,)) -> log-probabilities (R, V) of the next token: row i continues row rows[i] of the last call with
tokens[i]."""


class State(Protocol):
    """State of a grammar after some tokens."""

    def allowed(self) -> np.ndarray:
        """(V,) bool: which tokens may follow."""

    def after(self, token: int) -> Self:
        """The state after one more token."""


@dataclass(frozen=True)
class Hypothesis:
    """Tokens so far."""

    tokens: tuple[int, ...]
    score: float
    """Sum of the log-probabilities of all tokens after the first."""
    state: State

    @property
    def mean(self) -> float:
        """Mean log-probability of the tokens after the first."""
        return self.score / max(1, len(self.tokens) - 1)


def beam_search(follow: Follow, first: int, end: int, state: State, width: int, limit: int) -> list[int]:
    """Likely tokens from `first` to `end`, at most `limit`.

    The `width` likeliest hypotheses of each length are extended, until `width` have ended. Of these the one with the highest mean
    log-probability is returned, because the sum would favour the shortest.
    """
    live, follows, ended = [Hypothesis((first,), 0.0, state)], np.zeros(1, int), []
    while live and len(ended) < width and len(live[0].tokens) < limit:
        likely = follow(follows, np.array([h.tokens[-1] for h in live]))
        masks = np.stack([h.state.allowed() for h in live])
        scores = np.where(masks, likely + np.array([[h.score] for h in live]), -np.inf).reshape(-1)
        order = np.argsort(-scores, kind="stable")[: 2 * width]
        grown, rows = [], []
        for rank, place in enumerate(order[scores[order] > -np.inf]):
            row, token = divmod(int(place), likely.shape[1])
            tokens, score = (*live[row].tokens, token), float(scores[place])
            if token != end and len(grown) < width:
                grown.append(Hypothesis(tokens, score, live[row].state.after(token)))
                rows.append(row)
            elif token == end and rank < width:
                ended.append(Hypothesis(tokens, score, live[row].state))
        live, follows = grown, np.array(rows, int)
    return list(max(ended or live, key=lambda h: h.mean).tokens)


@dataclass(frozen=True)
class PianoState:
    """The grammar of `events` in a window of `seconds`: no event without an effect, no shift beyond the end."""

    seconds: float
    clock: float = 0.0
    sounding: frozenset[int] = frozenset()
    last: int = SOS

    def allowed(self) -> np.ndarray:
        """(243,) bool: sounding keys can't be pressed, silent keys can't be released, and only a pressed key can follow a velocity."""
        found = np.zeros(VOCABULARY, bool)
        sounds = np.isin(np.arange(KEYS), list(self.sounding))
        found[PRESS:RELEASE] = ~sounds
        if not VELOCITY <= self.last < SHIFT:
            found[RELEASE:VELOCITY] = sounds
            found[VELOCITY:SHIFT] = True
            found[SHIFT:SOS] = self.clock + SHIFTS <= self.seconds
            found[EOS] = True
        return found

    def after(self, token: int) -> "PianoState":
        """The state after an allowed token."""
        sounding, clock = self.sounding, self.clock
        if token < RELEASE:
            sounding = sounding | {token}
        elif token < VELOCITY:
            sounding = sounding - {token - RELEASE}
        elif SHIFT <= token < SOS:
            clock += float(SHIFTS[token - SHIFT])
        return PianoState(self.seconds, clock, sounding, token)
