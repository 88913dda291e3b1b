"""The bits of a fingerprint: signs of the change over time of the slope along frequency."""

import numpy as np

BANDS_PER_SEMITONE = 3
"""Bands per semitone."""
PITCH_BANDS = 3
"""Largest change of pitch, in bands, that is tried with every change of tempo up to 6 %: a semitone, which is 6 % in frequency."""
SLOPE_BANDS = np.arange(PITCH_BANDS + 1, 54 * BANDS_PER_SEMITONE, BANDS_PER_SEMITONE)
"""Bands at which slopes are computed: 180 Hz to 4.2 kHz, with enough bands above for audio that is a third faster."""
MIN_CHANGE = 0.3
"""Smaller changes of the slope (in nepers of energy) give no bit."""
CHANGE_FRAMES = 2
"""Frames between which a change is computed: 93 ms."""


def compute_bits(values: np.ndarray, stretch: float, shift: int) -> np.ndarray:
    """Log energies (T, bands) -> bits (T * stretch - CHANGE_FRAMES, rows) float32, -1, 0 or 1, as if the clip were `stretch` times as
    long and `shift` bands lower."""
    bands = SLOPE_BANDS + shift
    slope = values[:, bands] - values[:, bands + BANDS_PER_SEMITONE]
    at = np.arange(int((len(values) - 1) * stretch) + 1) / stretch
    before = np.minimum(at.astype(int), len(values) - 2)
    part = (at - before)[:, None].astype(np.float32)
    slope = slope[before] * (1 - part) + slope[before + 1] * part
    change = slope[CHANGE_FRAMES:] - slope[:-CHANGE_FRAMES]
    return np.sign(change) * (np.abs(change) > MIN_CHANGE)
