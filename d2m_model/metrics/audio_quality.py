"""Loudness (pyloudnorm) and spectral distance (librosa): what a listener would notice first."""

import numpy as np

from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.timebase import SAMPLE_RATE

BLOCK_SECONDS = 0.4
"""Block length of BS.1770; shorter audio has no loudness."""


def loudness(audio: np.ndarray) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4) of mono audio (S,) at 22 050 Hz; nan for silence and under 0.4 s."""
    import pyloudnorm

    if len(audio) < BLOCK_SECONDS * SAMPLE_RATE or not np.any(audio):
        return float("nan")
    value = float(pyloudnorm.Meter(SAMPLE_RATE, block_size=BLOCK_SECONDS).integrated_loudness(audio.astype(float)))
    return value if np.isfinite(value) else float("nan")


def log_mel_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """Mean absolute difference in dB between the mel power spectrograms (128 bands, hop 512) of two waveforms (S,) of equal length.
    Both are floored at 80 dB below the reference's maximum. 0 means equal."""
    librosa = load_librosa()

    powers = [librosa.feature.melspectrogram(y=a, sr=SAMPLE_RATE) for a in (generated, reference)]
    floor = max(float(powers[1].max()) * 1e-8, 1e-12)
    levels = [10 * np.log10(np.maximum(p, floor)) for p in powers]
    return float(np.abs(levels[0] - levels[1]).mean())
