"""Instruments of the demo's songs. Each function returns one note or drum hit as float32 samples of about -1..1.

All frequencies are below 9 kHz, so that the pipeline's 22 050 Hz audio loses nothing.
"""

import numpy as np
from scipy import signal

CEILING = 9000.0
"""Highest frequency of any instrument, in Hz."""

TIMBRES = {
    # name: slope of the partials (power of 1/k), odd partials only, brightness of the attack in partials,
    # of the sustain, time constant between them s, attack s, decay s (0 = sustained), release s
    "sub": (2.4, False, 3, 2, 0.05, 0.012, 1.2, 0.06),
    "round": (1.6, False, 6, 4, 0.08, 0.010, 0.9, 0.04),
    "slap": (1.0, False, 8, 4, 0.04, 0.025, 0.40, 0.02),
    "square": (1.0, True, 7, 4, 0.06, 0.050, 0.8, 0.02),
    "reese": (1.2, False, 6, 5, 0.15, 0.020, 2.0, 0.04),
    "epiano": (2.0, False, 5, 2, 0.15, 0.015, 0.7, 0.10),
    "pad": (1.5, False, 5, 8, 0.50, 0.090, 0.0, 0.20),
    "strings": (1.2, False, 6, 10, 0.40, 0.070, 0.0, 0.15),
    "guitar": (0.9, False, 12, 5, 0.03, 0.025, 0.14, 0.02),
    "stab": (0.9, False, 10, 5, 0.07, 0.040, 0.30, 0.04),
    "flute": (2.6, False, 3, 3, 0.10, 0.030, 0.0, 0.08),
    "bell": (1.8, True, 9, 3, 0.20, 0.020, 0.45, 0.10),
    "brass": (1.1, False, 6, 12, 0.06, 0.025, 0.0, 0.06),
    "saw": (1.0, False, 10, 7, 0.12, 0.020, 0.6, 0.04),
}
"""Timbres of pitched notes, by name."""


def frequency(pitch: float) -> float:
    """Hz of a MIDI note number."""
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def _times(seconds: float, rate: int) -> np.ndarray:
    return np.arange(int(seconds * rate)) / rate


def _noise(rng: np.random.Generator, count: int, low: float, high: float, rate: int) -> np.ndarray:
    """Band-passed white noise of unit standard deviation."""
    band = (low, min(high, CEILING, 0.45 * rate))
    hiss = signal.sosfilt(signal.butter(2, band, "bandpass", fs=rate, output="sos"), rng.standard_normal(count))
    return hiss / (hiss.std() + 1e-12)


def _fade_out(samples: np.ndarray, rate: int, seconds: float = 0.004) -> np.ndarray:
    n = min(len(samples), int(seconds * rate))
    samples[len(samples) - n :] *= np.linspace(1.0, 0.0, n)
    return samples.astype(np.float32)


def kick(rng: np.random.Generator, rate: int, *, pitch: float, decay: float, click: float) -> np.ndarray:
    """A sine that falls to `pitch` Hz, with a short click that makes the onset audible on small speakers."""
    t = _times(5.5 * decay, rate)
    swept = 2 * np.pi * (pitch * t + pitch * 4.5 * 0.022 * (1 - np.exp(-t / 0.022)))
    body = np.sin(swept) * np.exp(-t / decay) * np.minimum(1.0, t / 0.001)
    return _fade_out(0.9 * body + 0.3 * click * _noise(rng, len(t), 700, 7000, rate) * np.exp(-t / 0.011), rate)


def snare(rng: np.random.Generator, rate: int, *, tone: float, decay: float, low: float, high: float) -> np.ndarray:
    """Two membrane tones under a noise burst."""
    t = _times(5.0 * decay, rate)
    tones = (np.sin(2 * np.pi * tone * t) + 0.6 * np.sin(2 * np.pi * 1.58 * tone * t)) * np.exp(-t / (0.5 * decay))
    return _fade_out(0.4 * tones + 0.24 * _noise(rng, len(t), low, high, rate) * np.exp(-t / decay), rate)


def clap(rng: np.random.Generator, rate: int, *, tone: float, decay: float, low: float, high: float) -> np.ndarray:
    """Three claps within 16 ms, then the room. `tone` adds a little body."""
    t = _times(5.0 * decay, rate)
    hands = sum(
        np.where(t >= s, np.exp(-np.maximum(t - s, 0) / d), 0.0)
        for s, d in ((0, 0.005), (0.008, 0.006), (0.016, decay))
    )
    body = 0.25 * np.sin(2 * np.pi * tone * t) * np.exp(-t / 0.03)
    return _fade_out(0.25 * _noise(rng, len(t), low, 0.8 * high, rate) * hands + body, rate)


def hat(rng: np.random.Generator, rate: int, *, low: float, decay: float) -> np.ndarray:
    """High noise."""
    t = _times(5.0 * decay, rate)
    return _fade_out(
        0.3 * _noise(rng, len(t), low, CEILING, rate) * np.exp(-t / decay) * np.minimum(1.0, t / 0.008), rate
    )


def crash(rng: np.random.Generator, rate: int) -> np.ndarray:
    """A long bright noise that opens a section."""
    t = _times(1.4, rate)
    return _fade_out(
        0.25 * _noise(rng, len(t), 3000, CEILING, rate) * np.exp(-t / 0.35) * np.minimum(1.0, t / 0.03), rate
    )


def tom(rng: np.random.Generator, rate: int, *, pitch: float) -> np.ndarray:
    """A drum tuned to a MIDI note, for fills."""
    t = _times(0.3, rate)
    swept = 2 * np.pi * frequency(pitch) * (t + 0.01 * (1 - np.exp(-t / 0.03)))
    return _fade_out(0.8 * np.sin(swept) * np.exp(-t / 0.09) * np.minimum(1.0, t / 0.001), rate)


def _one_period(slope: float, odd: bool, bright: float, limit: int) -> np.ndarray:
    """One period (2048 samples) of partials 1/k**slope that fade out above `bright`, none above `limit`."""
    k = np.arange(1, max(2, limit + 1))
    size = k**-slope * np.exp(-((k / (2.0 * bright)) ** 2)) * (np.where(k % 2, 1.0, 0.08) if odd else 1.0)
    spectrum = np.zeros(1025, complex)
    spectrum[k] = -0.5j * 2048 * size
    wave = np.fft.irfft(spectrum)
    return wave / np.abs(wave).max()


def note(rate: int, timbre: str, pitch: float, seconds: float) -> np.ndarray:
    """A pitched note: the spectrum of the attack fades into that of the sustain, under an envelope."""
    slope, odd, bright0, bright1, blend, attack, decay, release = TIMBRES[timbre]
    t = _times(seconds + release, rate)
    hz = frequency(pitch)
    limit = min(60, int(CEILING / hz))
    detune = 0.004 if timbre in ("reese", "pad", "strings", "saw") else 0.0
    phase = np.linspace(0, 1, 2049)
    tables = [np.append(w, w[0]) for w in (_one_period(slope, odd, b, limit) for b in (bright0, bright1))]
    out = np.zeros(len(t))
    fade = np.exp(-t / blend)
    for side in (-1, 1) if detune else (0,):
        turn = (hz * (1 + side * detune) * t + 0.31 * (side > 0)) % 1.0
        out += np.interp(turn, phase, tables[0]) * fade + np.interp(turn, phase, tables[1]) * (1 - fade)
    out *= np.minimum(1.0, t / attack) * np.clip((seconds + release - t) / release, 0.0, 1.0)
    if decay:
        out *= np.exp(-t / decay)
    return _fade_out(out * (0.5 if detune else 1.0), rate)


def room(rng: np.random.Generator, rate: int, seconds: float) -> np.ndarray:
    """Impulse response of a small room without its direct sound, energy 1."""
    t = _times(seconds, rate)
    tail = _noise(rng, len(t), 250, 5000, rate) * np.exp(-4.5 * t / seconds) * (t > 0.008)
    return (tail / np.sqrt(np.sum(tail**2))).astype(np.float32)
