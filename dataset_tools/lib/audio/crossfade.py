"""Cross-fade between two pieces of audio."""

import numpy as np

MIN_CORRELATION = (
    -0.9
)  # lower correlations are raised to this, because the gain that restores cancelled power is unbounded


def crossfade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Cross-fade from audio (N,) to audio (N,) at constant power, whatever their correlation.

    Sine and cosine gains keep the power of uncorrelated signals but raise that of correlated ones; linear gains do the reverse.
    Dividing by the power that the measured correlation predicts is right for both: two equal signals come out unchanged.
    """
    turn = np.linspace(0, np.pi / 2, len(before), dtype=np.float32)
    out, into = np.cos(turn), np.sin(turn)
    norm = float(np.sqrt(np.dot(before, before) * np.dot(after, after)))
    alike = max(MIN_CORRELATION, float(np.dot(before, after)) / norm) if norm > 0 else 0.0
    return (out * before + into * after) / np.sqrt(1 + 2 * alike * out * into)
