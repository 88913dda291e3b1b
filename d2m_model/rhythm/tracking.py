"""Activations to beats: the likeliest steady train of beats, and the likeliest bars over it.

Beats: the path through time and tempo whose beats have the highest sum of log-odds, less a price for every change of tempo
(a second-order Viterbi search, as the bar pointer model of Krebs, Böck and Widmer, ISMIR 2015, on a coarser grid). A
passage without any activation is bridged in tempo; before and after the dance there are no beats.
Down-beats: every fourth beat, of the four counts the one with the highest sum of log-odds; to count anew costs a price.
"""

import numpy as np

from dataset_tools.base.timebase import FPS

GRID = 4 * FPS
"""Places a second that a beat may have before it is refined."""
SLOWEST, FASTEST = 54.0, 185.0
"""Beats a minute."""
CHANGE = 300.0
"""Price of a change of tempo: times the squared logarithm of the ratio of two neighbouring gaps."""
LIKELY, SPREAD, PRIOR = 115.0, 0.45, 0.5
"""Beats a minute of most dances, standard deviation in octaves, weight: how much a beat at that tempo is preferred."""
BAR, RECOUNT = 4, 8.0
"""Beats of a bar; price of a count that does not follow the last one."""
ODDS = 4.0
"""Log-odds are cut to this, so that no single frame decides."""
THRESHOLD = 0.3
"""Activation at which a beat is as likely as none: frames with a beat weigh more in training, but are smeared out."""


def log_odds(activation: np.ndarray) -> np.ndarray:
    """Activations 0..1 -> log-odds of a beat, 0 at `THRESHOLD`, within ±`ODDS`."""
    kept = np.clip(activation, 1e-6, 1 - 1e-6)
    return np.clip(np.log(kept / (1 - kept)) - np.log(THRESHOLD / (1 - THRESHOLD)), -ODDS, ODDS)


def track_beats(activation: np.ndarray) -> np.ndarray:
    """Beat times (n,) in seconds of an activation (T,) within 0..1 at 30 frames a second."""
    if not len(activation):
        return np.zeros(0)
    fine = np.interp(np.arange(len(activation) * GRID // FPS) * (FPS / GRID), np.arange(len(activation)), activation)
    gaps = np.arange(int(60 / FASTEST * GRID), int(np.ceil(60 / SLOWEST * GRID)) + 1)
    tempo = PRIOR * np.exp(-0.5 * (np.log2(60 * GRID / gaps / LIKELY) / SPREAD) ** 2) - PRIOR
    change = CHANGE * np.log(gaps[:, None] / gaps[None, :]) ** 2
    odds = log_odds(fine)
    score = np.zeros((len(fine), len(gaps)))
    back = np.full((len(fine), len(gaps)), -1)
    """score[t, g]: of the best train that ends with a beat at t, gaps[g] after the one before; back: that one's g."""
    columns = np.arange(len(gaps))
    for t, value in enumerate(odds):
        score[t] = value + tempo
        before = t - gaps
        there = before >= 0
        if there.any():
            ways = score[before[there]] - change[columns[there]]
            best = ways.argmax(axis=1)
            gained = ways[np.arange(len(best)), best]
            better = gained > 0
            index = columns[there][better]
            score[t, index] += gained[better]
            back[t, index] = best[better]
    t, g = np.unravel_index(score.argmax(), score.shape)
    if score[t, g] <= 0:
        return np.zeros(0)
    places = [t]
    while back[t, g] >= 0:
        t, g = t - gaps[g], back[t, g]
        places.append(t)
    return np.unique([refined(activation, place * FPS / GRID) / FPS for place in places])


def refined(activation: np.ndarray, frame: float) -> float:
    """The peak within 1.5 frames of `frame`, between the frames (a parabola through three logarithms); `frame` itself
    where there is no peak."""
    low, high = max(1, int(np.ceil(frame - 1.5))), min(len(activation) - 2, int(np.floor(frame + 1.5)))
    if high < low:
        return float(frame)
    peak = low + int(activation[low : high + 1].argmax())
    left, middle, right = np.log(np.clip(activation[peak - 1 : peak + 2], 1e-4, 1))
    bend = left - 2 * middle + right
    if bend >= 0 or middle < max(left, right):
        return float(frame)
    return peak + float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def track_downbeats(activation: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(m,) of the beats (n,) in seconds: those that begin a bar, by the down-beat's activation (T,) at 30 frames a second."""
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
    """(n,) the largest value of an activation (T,) within two frames of each beat (n,) in seconds."""
    frames = np.rint(beats * FPS).astype(int)
    around = np.clip(frames[:, None] + np.arange(-2, 3)[None, :], 0, len(activation) - 1)
    return activation[around].max(axis=1)
