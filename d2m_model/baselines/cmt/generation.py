"""CMT at work (Di et al. 2021, section 3.4): tokens are drawn one after the other, and rhythm tokens told what the video says.

With probability C a bar takes its density from the video instead of the network; with probability C a visual beat gets a
tick token, wherever the network would have gone next, with the strength that the video says. What the network then writes
follows from it. Tokens that cannot follow (notes without a tick, ticks that go back) are never drawn.
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
    """How tokens are drawn; the defaults are the paper's."""

    control: float = 0.7
    """C: probability that a rhythm token follows the video."""
    nucleus: float = 0.9
    """Only the likeliest values that reach this probability together are drawn."""
    beat_temperature: float = 1.2
    """Of the choice of bar or tick."""
    duration_temperature: float = 2.0


class Statistics(NamedTuple):
    """What the rhythm of videos is translated by: the same share of training bars has at most this speed and density."""

    speeds: np.ndarray
    """(n,) mean speeds of the training videos' bars, sorted, as in `cmt_video.Motion`."""
    densities: np.ndarray
    """(18,) how often each DENSITY occurs in the training music."""
    strengths: np.ndarray
    """(20,) how often each STRENGTH does."""


class PiecePlan(NamedTuple):
    """What a piece is to keep to."""

    densities: list[int]
    """Of each bar, ticks struck 0..16."""
    strengths: dict[int, int]
    """Ticks from the first bar with a visual beat -> notes."""


def statistics_of(tokens: list[np.ndarray], speeds: np.ndarray) -> Statistics:
    """Of training pieces (N, 7) and the speeds (n,) of the bars of training videos."""
    every = np.concatenate(tokens)
    counts = (
        np.bincount(every[:, column], minlength=SIZES[column]) * (np.arange(SIZES[column]) > 0)
        for column in (DENSITY, STRENGTH)
    )
    return Statistics(np.sort(speeds), *counts)


def plan_of(rhythm: Rhythm, known: Statistics) -> PiecePlan:
    """Densities of the same percentile as the bars' speeds, strengths of the same tenth as the visual beats'."""
    densities = [_quantile(known.densities, rank) - 1 for rank in ranks(rhythm.speeds, known.speeds)]
    strengths = {}
    for tick, strength in rhythm.beats.items():
        tenth = min(int(strength * STRENGTH_BINS), STRENGTH_BINS - 1)
        strengths[tick] = _quantile(known.strengths, (tenth + 0.5) / STRENGTH_BINS)
    return PiecePlan(densities, strengths)


def _quantile(counts: np.ndarray, rank: float) -> int:
    """The smallest value that at least the share `rank` of what was counted does not exceed; never one not counted."""
    return int(np.searchsorted(counts.cumsum(), max(rank * counts.sum(), 1e-9)))


def places_of(at: np.ndarray, bars: int) -> np.ndarray:
    """(N, 2) int64 values of `cmt_net.TIMES` for tokens at ticks (N,) of a piece of `bars` bars."""
    at = np.asarray(at, np.int64)
    return 1 + np.stack([np.minimum(100 * at // (TICKS * bars), TIMES[0] - 2), np.minimum(at, TIMES[1] - 2)], -1)


@torch.inference_mode()
def write_tokens(
    net: CmtNet, song: torch.Tensor, plan: PiecePlan, sampling: Sampling, rng: np.random.Generator
) -> np.ndarray:
    """Tokens (N, 7) uint8 of as many bars as `plan` has densities. song (7,) int64 as in `CmtNet.prefix`; only its
    instruments play. Equal arguments and states of `rng` give equal tokens."""
    bars = len(plan.densities)
    follows_density = rng.random(bars) < sampling.control
    followed = {tick: n for tick, n in sorted(plan.strengths.items()) if rng.random() < sampling.control}
    playing = np.append(False, song[2:].bool().numpy())
    tokens: list[tuple[int, ...]] = []
    bar, tick, notes = -1, TICKS, 0  # the bar before the first is over
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
                told = followed.get(bar * TICKS + tick)
                token = tick_token(tick, told or draw(heads.strength, np.arange(SIZES[6]) > 0))
        tokens.append(token)
        place = places_of(np.array([bar * TICKS + max(tick, 0)]), bars)
        known, state = net.step(torch.tensor([token]), torch.from_numpy(place), state)
    return np.array(tokens, np.uint8).reshape(-1, len(SIZES))


def nucleus(scores: np.ndarray, allowed: np.ndarray, temperature: float, share: float, luck: float) -> int:
    """A value drawn from scores (n,) among those `allowed` (n,): of the likeliest that reach `share` together, by
    `luck` in 0..1 (Holtzman et al. 2020)."""
    logits = np.where(allowed, scores / temperature, -np.inf)
    p = np.exp(logits - logits.max())
    order = np.argsort(-p, kind="stable")
    total = (p / p.sum())[order].cumsum()
    kept = int(np.searchsorted(total, share * (1 - 1e-9))) + 1
    return int(order[min(int(np.searchsorted(total[:kept], luck * total[kept - 1], side="right")), kept - 1)])
