"""VGGish's view of sound: log-mel patches of 0.96 s (Hershey et al., 2017; AudioSet's released front-end).

Mono at 16 kHz; frames of 400 samples every 160, no padding, periodic Hann; magnitude of a 512-point FFT; 64 HTK mel bands
from 125 to 7500 Hz, triangles straight on the mel axis, without the DC bin; log(x + 0.01); 96 frames a patch, no overlap.
"""

from functools import cache

import numpy as np

RATE = 16000
WINDOW, HOP, FFT = 400, 160, 512
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
FRAMES = 96
OFFSET = 0.01
SEGMENT_SECONDS = 2.0
"""What one embedding of a retrieval stands for: 2 s hold two patches."""


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """HTK's mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz, float) / 700.0)


@cache
def mel_bands() -> np.ndarray:
    """(257, 64): weight of each FFT bin in each band."""
    bins = hertz_to_mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(hertz_to_mel(LOWEST), hertz_to_mel(HIGHEST), BANDS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    weights[0] = 0.0
    return weights


def log_mel(audio: np.ndarray) -> np.ndarray:
    """(F, 64) float32 of mono (S,) at 16 kHz, F = 1 + (S - 400) // 160, 0 where S is under 400."""
    if len(audio) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    magnitude = np.abs(np.fft.rfft(frames * hann, FFT, axis=1))
    return np.log(magnitude @ mel_bands() + OFFSET).astype(np.float32)


def patches(audio: np.ndarray) -> np.ndarray:
    """(N, 1, 96, 64) float32 of mono (S,) at 16 kHz: whole patches from the start, the rest dropped."""
    mel = log_mel(audio)
    count = len(mel) // FRAMES
    return mel[: count * FRAMES].reshape(count, 1, FRAMES, BANDS)


def segment_patches(audio: np.ndarray, rate: int) -> list[np.ndarray]:
    """Patches (2, 1, 96, 64) of each whole 2 s segment of mono (S,) at `rate`, resampled by soxr.

    A shorter sound is one segment with the patches it has; none where it is under 0.975 s.
    """
    import soxr

    resampled = (
        np.asarray(audio, np.float32) if rate == RATE else soxr.resample(np.asarray(audio, np.float32), rate, RATE)
    )
    size = round(SEGMENT_SECONDS * RATE)
    # the resampler may round a sample off the end of the last segment
    parts = [resampled[at : at + size] for at in range(0, max(1, len(resampled) - size + 2), size)]
    return [found for part in parts if len(found := patches(part))]
