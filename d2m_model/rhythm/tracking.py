"""From activations to beats: the likeliest sequence of steady beats, and the likeliest bars.

Beats: the path through time and tempo with the highest sum of log-odds at its beats, minus a penalty for each change of tempo.
The search is a second-order Viterbi search, like the bar pointer model of Krebs, Böck and Widmer (ISMIR 2015) on a coarser
grid. Dancers are often early or late without changing the tempo, so a beat counts the best activation within `OFF` frames. A
passage without activations is bridged at the current tempo. The best path ends where further beats would cost more than they
gain. It is then extended in both directions as long as signs of beats outweigh missing ones; beyond that there are no beats.
Down-beats: every fourth beat, at the count with the highest sum of log-odds; a change of the count costs a penalty.
"""

import numpy as np

from dataset_tools.lib.core.timebase import FPS

GRID = 4 * FPS
"""Grid points per second in the search; beats are refined afterwards."""
SLOWEST, FASTEST = 54.0, 185.0
"""Beats per minute."""
CHANGE = 1000.0
"""Penalty for a change of tempo: factor of the squared logarithm of the ratio of two neighbouring gaps."""
OFF, UNEVEN = 1.5, 0.1
"""Largest distance in frames between a beat and its activation; factor of its square as a penalty."""
LIKELY, SPREAD, PRIOR = 115.0, 0.45, 0.5
"""Preference for usual tempi: its centre in beats per minute, standard deviation in octaves, and weight."""
BAR, RECOUNT = 4, 8.0
"""Beats per bar; penalty for a count that does not follow the last one."""
ODDS = 4.0
"""Bound of the log-odds, so that no single frame decides."""
THRESHOLD = 0.3
"""Activation with log-odds 0. It is below 0.5, because training weights beat frames higher but spreads them over frames."""
SIGN, MISSING = 0.1, 0.5
"""For the extension: activation that counts as a sign of a beat, though a weak one; cost of a beat without a sign, in signs. So
a pause is bridged if at least half as many beats follow it."""
GAPS = np.arange(int(60 / FASTEST * GRID), int(np.ceil(60 / SLOWEST * GRID)) + 1)
"""(G,): possible gaps between beats, in grid points."""
TEMPO = PRIOR * np.exp(-0.5 * (np.log2(60 * GRID / GAPS / LIKELY) / SPREAD) ** 2) - PRIOR
"""(G,): preference for the tempo of each gap, at most 0."""
PRICE = CHANGE * np.log(GAPS[:, None] / GAPS[None, :]) ** 2
"""(G, G): penalty for a change from one gap to another; symmetric."""


def log_odds(activation: np.ndarray) -> np.ndarray:
    """Activations within 0..1 to log-odds of a beat: 0 at `THRESHOLD`, within ±`ODDS`."""
    kept = np.clip(activation, 1e-6, 1 - 1e-6)
    return np.clip(np.log(kept / (1 - kept)) - np.log(THRESHOLD / (1 - THRESHOLD)), -ODDS, ODDS)


def track_beats(activation: np.ndarray) -> np.ndarray:
    """Beat times (n,) in seconds from an activation (T,) within 0..1 at 30 frames per second."""
    if not len(activation):
        return np.zeros(0)
    fine = np.interp(np.arange(len(activation) * GRID // FPS) * (FPS / GRID), np.arange(len(activation)), activation)
    odds = _nearby(log_odds(fine))
    score, back = _search(odds)
    t, g = np.unravel_index(score.argmax(), score.shape)
    if score[t, g] <= 0:
        return np.zeros(0)
    places, gaps = _train(back, int(t), int(g))
    signs = _signs(fine)
    first, last = np.flatnonzero(fine >= SIGN)[[0, -1]]
    first, last = min(first, places[0]), max(last, places[-1])
    after = _supported(places[-1] + _lengthened(odds[places[-1] : last + 1], gaps[-1]), signs)
    before = _supported(places[0] - _lengthened(odds[first : places[0] + 1][::-1], gaps[min(1, len(gaps) - 1)]), signs)
    places = np.concatenate([before[::-1], places, after])
    return np.unique([refined(activation, place * FPS / GRID) / FPS for place in places])


def _nearby(odds: np.ndarray) -> np.ndarray:
    """(T,): the best log-odds within `OFF` frames of each grid point, minus the penalty for the distance; odds (T,)."""
    reach = int(OFF * GRID / FPS)
    price = UNEVEN * (np.arange(-reach, reach + 1) * FPS / GRID) ** 2
    around = np.lib.stride_tricks.sliding_window_view(np.pad(odds, reach, constant_values=-ODDS), 2 * reach + 1)
    return (around - price).max(axis=1)


def _signs(fine: np.ndarray) -> np.ndarray:
    """(T,) bool: whether the activation `fine` (T,) reaches `SIGN` within `OFF` frames of each grid point."""
    reach = int(OFF * GRID / FPS)
    return np.lib.stride_tricks.sliding_window_view(np.pad(fine, reach), 2 * reach + 1).max(axis=1) >= SIGN


def _supported(places: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """The first of the added beats at `places` (n,), up to where signs outweigh missing ones most."""
    worth = np.cumsum(np.where(signs[places], 1.0, -MISSING))
    return places[: int(worth.argmax()) + 1] if len(worth) and worth.max() > 0 else places[:0]


def _search(odds: np.ndarray, begun: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(score, back) for log-odds (T,). score (T, G): of the best path that ends with a beat at t, GAPS[g] after the beat before.
    back (T, G): g of the beat before, -1 for the first beat. begun: the path starts with a beat at 0, GAPS[begun] after the beat
    before; None: it starts anywhere."""
    score, back = np.full((len(odds), len(GAPS)), -np.inf), np.full((len(odds), len(GAPS)), -1)
    fresh = 0.0 if begun is None else -np.inf
    if begun is not None:
        score[0, begun] = 0.0
    for t in range(begun is not None, len(odds)):
        score[t] = odds[t] + TEMPO
        gained = np.full(len(GAPS), fresh)
        there = np.flatnonzero(GAPS <= t)
        if len(there):
            ways = score[t - GAPS[there]] - PRICE[there]
            best = ways.argmax(axis=1)
            longer = ways[np.arange(len(best)), best]
            better = longer > fresh
            gained[there[better]] = longer[better]
            back[t, there[better]] = best[better]
        score[t] += gained
    return score, back


def _train(back: np.ndarray, t: int, g: int) -> tuple[np.ndarray, np.ndarray]:
    """The path of `_search` that ends at t with g: grid points (n,) and gap indices (n,)."""
    train = [(t, g)]
    while back[t, g] >= 0:
        t, g = t - GAPS[g], back[t, g]
        train.append((t, g))
    return tuple(np.array(train[::-1]).T)


def _lengthened(odds: np.ndarray, g: int) -> np.ndarray:
    """(m,): grid points after 0 of the likeliest beats up to the end of the log-odds (T,). There is a beat at 0, GAPS[g] after the
    beat before."""
    score, back = _search(odds, g)
    ends = np.where(np.arange(len(odds))[:, None] + GAPS >= len(odds), score, -np.inf)
    t, last = np.unravel_index(ends.argmax(), ends.shape)
    return _train(back, int(t), int(last))[0][1:]


def refined(activation: np.ndarray, frame: float) -> float:
    """The peak within `OFF` frames of `frame`, interpolated by a parabola through three logarithms; `frame` itself without a
    peak."""
    low, high = max(1, int(np.ceil(frame - OFF))), min(len(activation) - 2, int(np.floor(frame + OFF)))
    if high < low:
        return float(frame)
    peak = low + int(activation[low : high + 1].argmax())
    left, middle, right = np.log(np.clip(activation[peak - 1 : peak + 2], 1e-4, 1))
    bend = left - 2 * middle + right
    if bend >= 0 or middle < max(left, right):
        return float(frame)
    return peak + float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def track_downbeats(activation: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(m,): those of the beats (n,), in seconds, that begin a bar, from the down-beat activation (T,) at 30 frames per second."""
    if not len(beats):
        return np.zeros(0)
    odds = log_odds(at_beats(activation, beats))
    score, back = np.zeros((len(beats), BAR)), np.zeros((len(beats), BAR), int)
    follows = np.where((np.arange(BAR)[:, None] - np.arange(BAR)[None, :]) % BAR == 1, 0.0, -RECOUNT)
    for k, value in enumerate(odds):
        own = np.where(np.arange(BAR) == 0, value, 0.0)
        if k:
            ways = score[k - 1][None, :] + follows
            back[k] = ways.argmax(axis=1)
            own = own + ways.max(axis=1)
        score[k] = own
    counts = [int(score[-1].argmax())]
    for k in range(len(beats) - 1, 0, -1):
        counts.append(int(back[k, counts[-1]]))
    return beats[np.array(counts[::-1]) == 0]


def at_beats(activation: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(n,): the largest value of an activation (T,) within two frames of each beat (n,), in seconds."""
    frames = np.rint(beats * FPS).astype(int)
    around = np.clip(frames[:, None] + np.arange(-2, 3)[None, :], 0, len(activation) - 1)
    return activation[around].max(axis=1)
