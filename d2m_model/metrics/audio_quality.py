"""What a listener would notice first: loudness (pyloudnorm) and spectral distance (librosa)."""

import numpy as np

from dataset_tools.lib.core.timebase import SAMPLE_RATE

BLOCK_SECONDS = 0.4
"""Of BS.1770; a shorter sound has no loudness."""


def loudness(audio: np.ndarray) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4) of mono (S,) at 22 050 Hz; nan in silence and under 0.4 s."""
    import pyloudnorm

    if len(audio) < BLOCK_SECONDS * SAMPLE_RATE or not np.any(audio):
        return float("nan")
    value = float(pyloudnorm.Meter(SAMPLE_RATE, block_size=BLOCK_SECONDS).integrated_loudness(audio.astype(float)))
    return value if np.isfinite(value) else float("nan")


def log_mel_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """Mean difference in dB of the mel power spectrograms (128 bands, hop 512) of two sounds (S,) of one length, each
    floored 80 dB under the reference's loudest point. 0 = equal."""
    import librosa

    powers = [librosa.feature.melspectrogram(y=a, sr=SAMPLE_RATE) for a in (generated, reference)]
    floor = max(float(powers[1].max()) * 1e-8, 1e-12)
    levels = [10 * np.log10(np.maximum(p, floor)) for p in powers]
    return float(np.abs(levels[0] - levels[1]).mean())
