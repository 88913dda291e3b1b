"""The last steps for generated audio: denoising, loudness, and a file of 16-bit samples."""

from pathlib import Path

import numpy as np

from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.timebase import SAMPLE_RATE

LOUDNESS_BLOCK = 0.4  # seconds; loudness (ITU-R BS.1770) is undefined for shorter audio
MOMENT = 1024  # samples over which a level is measured
QUIET = 0.01  # highest power of the quiet moments, relative to that of the loud ones: -20 dB
SMOOTHING = 100  # Hz over which the gate is smoothed; with more, the closed gate beside a note would damp the note
NEAR = 0.2
"""A loudness that is at most this many LU below the requested one needs no remark, because nobody hears the difference."""
SILENCE = 1e-4  # audio with a lower peak is silence and is not amplified


def denoise(audio: np.ndarray, strength: float) -> np.ndarray:
    """Remove steady noise, such as the hiss of a decoder, by spectral gating.

    The noise is estimated from the quietest moments, because an estimate from the whole audio would include held notes. If no
    moment is much quieter than the loud ones, nothing is removed.

    audio (N,) float32 -> (N,) float32; strength: 0 (remove nothing) to 1 (remove all estimated noise).
    """
    noise = quiet_moments(audio)
    if strength == 0 or noise is None:
        return audio
    import noisereduce

    clean = noisereduce.reduce_noise(
        y=audio,
        sr=SAMPLE_RATE,
        y_noise=noise,
        stationary=True,
        prop_decrease=strength,
        freq_mask_smooth_hz=SMOOTHING,
        n_jobs=1,
    )
    return clean.astype(np.float32)


def quiet_moments(audio: np.ndarray) -> np.ndarray | None:
    """The quietest tenth of audio (N,), in order; None if it is under 1 s, silent, or nowhere 20 dB below its loud moments."""
    count = len(audio) // MOMENT
    if len(audio) < SAMPLE_RATE or np.abs(audio).max() < SILENCE:
        return None
    moments = audio[: count * MOMENT].reshape(count, MOMENT)
    power = (moments.astype(np.float64) ** 2).mean(axis=1)
    quiet = np.sort(np.argsort(power, kind="stable")[: max(3, count // 10)])
    if power[quiet].mean() == 0 or power[quiet].mean() > QUIET * np.quantile(power, 0.95):
        return None
    return moments[quiet].reshape(-1)


def normalise(audio: np.ndarray, loudness: float, peak: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Audio (N,) or (C, N) at `rate` samples per second, brought to `loudness` LUFS, or less so that no sample exceeds `peak` (1 is
    full scale). Silence stays silent."""
    highest = float(np.abs(audio).max(initial=0))
    if highest < SILENCE:
        return audio
    gain = peak / highest
    if (found := loudness_of(audio, rate)) is not None:
        gain = min(gain, 10 ** ((loudness - found) / 20))
    return audio * np.float32(gain)


def loudness_of(audio: np.ndarray, rate: int = SAMPLE_RATE) -> float | None:
    """Loudness in LUFS (ITU-R BS.1770) of audio (N,) or (C, N); None if it is silent or shorter than one block of 0.4 s."""
    import pyloudnorm

    if audio.shape[-1] < rate * LOUDNESS_BLOCK or float(np.abs(audio).max(initial=0)) < SILENCE:
        return None
    return float(pyloudnorm.Meter(rate).integrated_loudness(audio.astype(np.float64).T))


def loudness_note(audio: np.ndarray, asked: float, rate: int = SAMPLE_RATE) -> str:
    """A remark for the user if the audio is quieter than `asked` LUFS, silent, or too short to be measured; else empty."""
    found = loudness_of(audio, rate)
    if found is None:
        return ", silent or too short to have a loudness"
    return f", {found:.1f} LUFS instead of {asked:g}: its peaks allow no more" if found < asked - NEAR else ""


def write_wav(path: Path, audio: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write audio within -1..1, (N,) or (C, N), as a 16-bit WAV, complete or absent; samples beyond -1..1 are clipped."""
    import soundfile

    samples = np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16).T
    with atomic_write(path) as aside:
        soundfile.write(aside, samples, rate, subtype="PCM_16", format="WAV")
