"""Input of VGGish: log-mel patches of 0.96 s (Hershey et al. 2017; AudioSet's released front-end).

Mono at 16 kHz; frames of 400 samples with hop 160, no padding, periodic Hann window; magnitude of a 512-point FFT; 64 HTK mel
bands from 125 to 7500 Hz, triangular on the mel axis, without the DC bin; log(x + 0.01); patches of 96 frames without overlap.
"""

from functools import cache

import numpy as np

SAMPLE_RATE = 16000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SIZE = 400, 160, 512
MEL_BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
FRAMES = 96
OFFSET = 0.01
SEGMENT_SECONDS = 2.0
"""Length of the segments that are embedded for retrieval; one has two patches."""


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """HTK's mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz, float) / 700.0)


@cache
def mel_filters() -> np.ndarray:
    """Mel filter bank (257 FFT bins, 64 bands)."""
    bins = hertz_to_mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1))[:, None]
    edges = np.linspace(hertz_to_mel(LOWEST), hertz_to_mel(HIGHEST), MEL_BANDS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    weights[0] = 0.0
    return weights


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram (F, 64) float32 of mono audio (S,) at 16 kHz; F = 1 + (S - 400) // 160, or 0 if S < 400."""
    if len(audio) < WINDOW_SAMPLES:
        return np.zeros((0, MEL_BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW_SAMPLES)[::HOP_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    magnitude = np.abs(np.fft.rfft(frames * hann, FFT_SIZE, axis=1))
    return np.log(magnitude @ mel_filters() + OFFSET).astype(np.float32)


def log_mel_patches(audio: np.ndarray) -> np.ndarray:
    """Patches (N, 1, 96, 64) float32 of mono audio (S,) at 16 kHz. An incomplete patch at the end is dropped."""
    mel = log_mel(audio)
    count = len(mel) // FRAMES
    return mel[: count * FRAMES].reshape(count, 1, FRAMES, MEL_BANDS)


def segment_patches(audio: np.ndarray, rate: int) -> list[np.ndarray]:
    """Patches (2, 1, 96, 64) of each whole 2 s segment of mono audio (S,) at `rate` samples per second, resampled by soxr.

    Audio shorter than 2 s is one segment with fewer patches; there is no segment below 0.975 s.
    """
    import soxr

    resampled = (
        np.asarray(audio, np.float32)
        if rate == SAMPLE_RATE
        else soxr.resample(np.asarray(audio, np.float32), rate, SAMPLE_RATE)
    )
    size = round(SEGMENT_SECONDS * SAMPLE_RATE)
    # the resampler may round a sample off the end of the last segment
    parts = [resampled[at : at + size] for at in range(0, max(1, len(resampled) - size + 2), size)]
    return [found for part in parts if len(found := log_mel_patches(part))]
