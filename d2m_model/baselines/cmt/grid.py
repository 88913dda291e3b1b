"""Tempo and bars of events in time: visual beats, or the notes of a transcript that names none."""

import numpy as np

SLOWEST, FASTEST, STEP = 60.0, 180.0, 0.25
"""Beats per minute that are tried."""
USUAL, OCTAVES = 115.0, 0.7
"""Centre in beats per minute, and standard deviation in octaves, of the preference between a tempo and its double."""
SHARP = 1 / 30
"""Seconds: standard deviation of an event about its beat, one frame."""
PHASES = 64
"""Starts that are tried within a beat."""
BEATS = 4
"""Of a bar."""


def fit_tempo(times: np.ndarray, weights: np.ndarray) -> float:
    """Beats per minute at which events (n,) in seconds, weighted (n,), come round.

    The spectrum of the events at a tempo plus half of that at its double, times the preference for usual tempi. `USUAL`
    where there is nothing to go by. Of a signal sampled at regular times, the weights should have mean 0.
    """
    weights = np.asarray(weights, float)
    if not weights.any():
        return USUAL
    tempi = np.arange(SLOWEST, FASTEST + STEP / 2, STEP)
    turn = np.exp(-2j * np.pi * tempi[:, None] / 60 * np.asarray(times, float))
    strength = np.abs(turn @ weights) + 0.5 * np.abs(turn**2 @ weights)
    return float(tempi[np.argmax(strength * np.exp(-0.5 * (np.log2(tempi / USUAL) / OCTAVES) ** 2))])


def fit_bars(times: np.ndarray, weights: np.ndarray, tempo: float, seconds: float) -> np.ndarray:
    """Starts (M,) in seconds of bars of 240 / tempo s, the first at or before 0, the last at or after `seconds`.

    Beats lie where the events, weighted, are nearest to them; of the four beats that could begin a bar, that one does
    with the heaviest events.
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
