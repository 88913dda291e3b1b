"""Generation with CMT (Di et al. 2021, section 3.4): tokens are sampled one by one, and the video sets rhythm tokens.

With probability C a bar gets its density from the video instead of the network. With probability C a visual beat gets a tick
token with the strength from the video, even if the network would have skipped it. The network continues from these tokens.
Invalid tokens (notes without a tick, ticks that go back) are never sampled.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from d2m_model.baselines.cmt.net import TIMES, CmtNet
from d2m_model.baselines.cmt.tokens import (
    BAR,
    DENSITY,
    NOTE,
    RHYTHM,
    SIZES,
    STRENGTH,
    STRONGEST,
    TICKS,
    bar_token,
    note_token,
    tick_token,
)
from d2m_model.baselines.cmt.video import Rhythm, ranks

STRENGTH_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are sampled; the defaults are the paper's."""

    control: float = 0.7
    """C: probability that a rhythm token follows the video."""
    nucleus: float = 0.9
    """Nucleus sampling: only the likeliest values with this total probability are sampled."""
    beat_temperature: float = 1.2
    """Temperature of BEAT: the next bar or tick."""
    duration_temperature: float = 2.0


class Statistics(NamedTuple):
    """Training statistics that map the rhythm of a video to music: speeds and densities are matched by their quantiles."""

    speeds: np.ndarray
    """(n,): mean speeds of the training videos' bars, sorted, as in `video.Motion`."""
    densities: np.ndarray
    """(18,): how often each DENSITY occurs in the training music."""
    strengths: np.ndarray
    """(20,): how often each STRENGTH occurs in the training music."""


class PiecePlan(NamedTuple):
    """The rhythm that a piece should follow."""

    densities: list[int]
    """Density of each bar: ticks with notes, 0..16."""
    strengths: dict[int, int]
    """Tick of a visual beat, counted from the first bar -> number of notes."""


def statistics_of(tokens: list[np.ndarray], speeds: np.ndarray) -> Statistics:
    """The statistics of training pieces (N, 7) and of the speeds (n,) of the training videos' bars."""
    every = np.concatenate(tokens)
    counts = (
        np.bincount(every[:, column], minlength=SIZES[column]) * (np.arange(SIZES[column]) > 0)
        for column in (DENSITY, STRENGTH)
    )
    return Statistics(np.sort(speeds), *counts)


def plan_of(rhythm: Rhythm, known: Statistics) -> PiecePlan:
    """Densities at the quantiles of the bars' speeds, and strengths at the quantiles (in tenths) of the visual beats' strengths."""
    densities = [_quantile(known.densities, rank) - 1 for rank in ranks(rhythm.speeds, known.speeds)]
    strengths = {}
    for tick, strength in rhythm.beats.items():
        tenth = min(int(strength * STRENGTH_BINS), STRENGTH_BINS - 1)
        strengths[tick] = _quantile(known.strengths, (tenth + 0.5) / STRENGTH_BINS)
    return PiecePlan(densities, strengths)


def _quantile(counts: np.ndarray, rank: float) -> int:
    """The quantile `rank` of a histogram: the smallest value whose cumulated share is at least `rank`; its count is never 0."""
    return int(np.searchsorted(counts.cumsum(), max(rank * counts.sum(), 1e-9)))


def places_of(at: np.ndarray, bars: int) -> np.ndarray:
    """(N, 2) int64: values of `net.TIMES` for tokens at ticks `at` (N,) of a piece of `bars` bars."""
    at = np.asarray(at, np.int64)
    return 1 + np.stack([np.minimum(100 * at // (TICKS * bars), TIMES[0] - 2), np.minimum(at, TIMES[1] - 2)], -1)


@torch.inference_mode()
def write_tokens(
    net: CmtNet, song: torch.Tensor, plan: PiecePlan, sampling: Sampling, rng: np.random.Generator
) -> np.ndarray:
    """Tokens (N, 7) uint8, with one bar per density of `plan`. song (7,) int64 as in `CmtNet.prefix`; only its instruments play.
    Equal arguments and states of `rng` give equal tokens."""
    bars = len(plan.densities)
    follows_density = rng.random(bars) < sampling.control
    followed = {tick: n for tick, n in sorted(plan.strengths.items()) if rng.random() < sampling.control}
    playing = np.append(False, song[2:].bool().numpy())
    tokens: list[tuple[int, ...]] = []
    bar, tick, notes = -1, TICKS, 0  # as after a full bar before the first
    known, state = net.begin(song[None])

    def draw(scores: torch.Tensor, allowed: np.ndarray, temperature: float = 1.0) -> int:
        return nucleus(scores[0].double().numpy(), allowed, temperature, sampling.nucleus, rng.random())

    while True:
        kinds = np.zeros(SIZES[1], bool)
        kinds[NOTE] = bool(tokens) and 0 <= tick < TICKS and notes < STRONGEST
        kinds[RHYTHM] = not kinds[NOTE] or notes > 0
        kind = draw(net.kind(known), kinds) if kinds.sum() > 1 else int(np.argmax(kinds))
        heads = net.scores(known, torch.tensor([kind]))
        if kind == NOTE:
            instrument = draw(heads.instrument, playing)
            pitch = draw(heads.pitch, np.arange(SIZES[3]) > 0)
            long = draw(heads.duration, np.arange(SIZES[4]) > 0, sampling.duration_temperature)
            token, notes = note_token(pitch - 1, long, instrument - 1), notes + 1
        else:
            following = np.zeros(SIZES[0], bool)
            following[BAR] = True
            following[tick + 2 : BAR] = bar >= 0
            beat = draw(heads.beat, following, sampling.beat_temperature) if following.sum() > 1 else BAR
            forced = next((t - bar * TICKS for t in followed if t > bar * TICKS + tick and t < (bar + 1) * TICKS), None)
            if forced is not None and forced <= beat - 1:
                beat = forced + 1
            if beat == BAR:
                bar, tick, notes = bar + 1, -1, 0
                if bar == bars:
                    break
                density = (
                    plan.densities[bar] if follows_density[bar] else draw(heads.density, np.arange(SIZES[2]) > 0) - 1
                )
                token = bar_token(density)
            else:
                tick, notes = beat - 1, 0
                strength = followed.get(bar * TICKS + tick)
                token = tick_token(tick, strength or draw(heads.strength, np.arange(SIZES[6]) > 0))
        tokens.append(token)
        place = places_of(np.array([bar * TICKS + max(tick, 0)]), bars)
        known, state = net.step(torch.tensor([token]), torch.from_numpy(place), state)
    return np.array(tokens, np.uint8).reshape(-1, len(SIZES))


def nucleus(scores: np.ndarray, allowed: np.ndarray, temperature: float, share: float, luck: float) -> int:
    """Nucleus sampling (Holtzman et al. 2020): a value sampled from logits (n,), only where `allowed` (n,), from the likeliest with
    the total probability `share`. luck: a uniform number within 0..1."""
    logits = np.where(allowed, scores / temperature, -np.inf)
    p = np.exp(logits - logits.max())
    order = np.argsort(-p, kind="stable")
    total = (p / p.sum())[order].cumsum()
    kept = int(np.searchsorted(total, share * (1 - 1e-9))) + 1
    return int(order[min(int(np.searchsorted(total[:kept], luck * total[kept - 1], side="right")), kept - 1)])
