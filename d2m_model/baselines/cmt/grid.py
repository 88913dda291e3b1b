"""Tempo and bars fitted to events: to visual beats, or to the notes of a transcript without bars."""

import numpy as np

SLOWEST, FASTEST, STEP = 60.0, 180.0, 0.25
"""Candidate tempi in beats per minute."""
USUAL, OCTAVES = 115.0, 0.7
"""Preference for usual tempi, which decides between a tempo and its double: mean in beats per minute, standard deviation in octaves."""
SHARP = 1 / 30
"""Standard deviation in seconds of an event about its beat: one frame."""
PHASES = 64
"""Number of candidate times of the first beat."""
BEATS = 4
"""Beats per bar."""


def fit_tempo(times: np.ndarray, weights: np.ndarray) -> float:
    """The tempo in beats per minute of events (n,) in seconds with weights (n,).

    It maximises the events' spectrum at the tempo plus half of it at the double tempo, times the preference for usual tempi.
    Returns `USUAL` if all weights are 0. For a signal sampled at regular times, the weights should have mean 0.
    """
    weights = np.asarray(weights, float)
    if not weights.any():
        return USUAL
    tempi = np.arange(SLOWEST, FASTEST + STEP / 2, STEP)
    turn = np.exp(-2j * np.pi * tempi[:, None] / 60 * np.asarray(times, float))
    strength = np.abs(turn @ weights) + 0.5 * np.abs(turn**2 @ weights)
    return float(tempi[np.argmax(strength * np.exp(-0.5 * (np.log2(tempi / USUAL) / OCTAVES) ** 2))])


def fit_bars(times: np.ndarray, weights: np.ndarray, tempo: float, seconds: float) -> np.ndarray:
    """Starts (M,) in seconds of bars of 240 / tempo s; the first is at or before 0, the last at or after `seconds`.

    The beats are aligned with the weighted events. Bars begin on that one of four beats whose events have the largest
    weights.
    """
    times, weights, beat = np.asarray(times, float), np.asarray(weights, float), 60.0 / tempo
    starts = np.arange(PHASES) / PHASES * beat

    def near(start: np.ndarray, period: float) -> np.ndarray:
        distance = (times - start[:, None] + period / 2) % period - period / 2
        return np.exp(-0.5 * (distance / SHARP) ** 2) @ weights

    start = float(starts[np.argmax(near(starts, beat))]) if len(times) else 0.0
    downs = start + beat * np.arange(BEATS)
    first = float(downs[np.argmax(near(downs, BEATS * beat))]) if len(times) else 0.0
    bar = BEATS * beat
    first -= bar if first > 0 else 0.0
    return first + bar * np.arange(max(1, int(np.ceil((seconds - first) / bar))) + 1)
