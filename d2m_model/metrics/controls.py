"""Sounds that know nothing of the dance, or everything: without them beside it no beat score can be read.

All are mono float32 at 22 050 Hz of the length asked for.
"""

import numpy as np

from dataset_tools.base.timebase import SAMPLE_RATE


def click_track(samples: int, period: float = 0.5) -> np.ndarray:
    """A 1 kHz click of 30 ms every `period` seconds from 0."""
    audio = np.zeros(samples, np.float32)
    t = np.arange(int(0.03 * SAMPLE_RATE)) / SAMPLE_RATE
    click = (0.8 * np.sin(2 * np.pi * 1000 * t) * np.exp(-t / 0.006)).astype(np.float32)
    for start in np.arange(0, samples, period * SAMPLE_RATE).astype(int):
        audio[start : start + len(click)] = click[: samples - start]
    return audio


def silence(samples: int) -> np.ndarray:
    """Zeros."""
    return np.zeros(samples, np.float32)


def white_noise(samples: int, seed: int) -> np.ndarray:
    """Gaussian noise at -20 dB RMS."""
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def fitted(audio: np.ndarray, samples: int, offset: int = 0) -> np.ndarray:
    """`samples` of a sound from `offset` on, repeated from its start where it is too short."""
    return np.resize(np.roll(audio, -offset), samples).astype(np.float32)


def derangement(songs: list[str], seed: int) -> list[int]:
    """For each item the index of one with another song, spread as evenly as a seeded draw gives."""
    rng = np.random.default_rng(seed)
    picks = []
    for song in songs:
        others = [i for i, other in enumerate(songs) if other != song]
        picks.append(int(rng.choice(others)) if others else -1)
    return picks
