"""Going over from one sound to another."""

import numpy as np

MIN_CORRELATION = (
    -0.9
)  # correlations below this are taken for this: the gain that restores cancelled power has no bound


def crossfade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Go over from one sound (N,) to another (N,) with even power, however alike they are.

    Sine and cosine gains keep the power of unlike sounds but swell where the two are alike, linear gains the reverse;
    dividing by the power that the measured correlation predicts is right for both: two equal sounds come out unchanged.
    """
    turn = np.linspace(0, np.pi / 2, len(before), dtype=np.float32)
    out, into = np.cos(turn), np.sin(turn)
    norm = float(np.sqrt(np.dot(before, before) * np.dot(after, after)))
    alike = max(MIN_CORRELATION, float(np.dot(before, after)) / norm) if norm > 0 else 0.0
    return (out * before + into * after) / np.sqrt(1 + 2 * alike * out * into)
