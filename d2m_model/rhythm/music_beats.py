"""Beats of music, tracked by beat-this or librosa, and their strengths."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from d2m_model.metrics.audio_features import HOP, AudioFeatures
from d2m_model.rhythm.beats_file import Beats, tempo_of
from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE

BAR = 4
"""Beats per bar, for librosa's beats."""
NEAR = 0.07
"""Largest distance in seconds between a beat and its onset."""
STRONG = 90
"""Percentile of the audio's onset strengths that counts as strength 1."""
Tracker = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Audio (S,) at 22 050 Hz -> beats (n,) and down-beats (m,) in seconds."""


def require_beat_this() -> None:
    """Raises UserError where the package beat-this is not installed."""
    if importlib.util.find_spec("beat_this") is None:
        raise UserError("the package beat-this is not installed; install it: pip install 'd2m[beats]'")


def beat_this(weights: Path) -> Tracker:
    """The tracker beat-this (Foscarin et al., ISMIR 2024) with one of its published checkpoints. Raises ImportError where the
    package is not installed."""
    from beat_this.inference import Audio2Beats

    track = Audio2Beats(checkpoint_path=str(weights), device="cpu", dbn=False)

    def tracked(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        beats, downbeats = track(audio, SAMPLE_RATE)
        return np.asarray(beats, float), np.asarray(downbeats, float)

    return tracked


def librosa_beats(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """librosa's tracker (Ellis, 2007). It does not track bars: down-beats are every fourth beat, counted from the beat at which
    low onsets are strongest on average."""
    librosa = load_librosa()

    if len(audio) < 2 * HOP or not np.any(audio):
        return np.zeros(0), np.zeros(0)
    envelope = AudioFeatures(audio).envelope
    beats = np.asarray(
        librosa.beat.beat_track(onset_envelope=envelope, sr=SAMPLE_RATE, units="time", trim=False)[1], float
    )
    low = librosa.onset.onset_strength(y=audio, sr=SAMPLE_RATE, hop_length=HOP, fmax=200, n_mels=8)
    sums = [_strongest(low, beats[first::BAR]).sum() / max(1, len(beats[first::BAR])) for first in range(BAR)]
    return beats, beats[int(np.argmax(sums)) :: BAR]


def music_beats(audio: np.ndarray, tracker: Tracker = librosa_beats) -> Beats:
    """The tracked beats of audio (S,) float32 at 22 050 Hz, S at least 1, with their strengths."""
    seconds = len(audio) / SAMPLE_RATE
    beats, downbeats = (np.unique(times[(times >= 0) & (times <= seconds)]) for times in tracker(audio))
    return beats_with_strengths(beats, downbeats, audio)


def beats_with_strengths(beats: np.ndarray, downbeats: np.ndarray, audio: np.ndarray) -> Beats:
    """`Beats` from known beats (n,) and down-beats (m,) in seconds of audio (S,), with length, tempo and strengths."""
    return Beats(
        fps=FPS, seconds=len(audio) / SAMPLE_RATE, beats=beats, downbeats=downbeats, strength=strengths(audio, beats),
        tempo=tempo_of(beats),
    )  # fmt: skip


def strengths(audio: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(n,) within 0..1: the strongest onset within 70 ms of each beat, relative to the strong onsets of the audio."""
    librosa = load_librosa()

    if not len(beats):
        return np.zeros(0)
    envelope = AudioFeatures(audio).envelope
    peaks = (
        envelope[librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE)]
        if np.any(envelope)
        else np.zeros(0)
    )
    full = np.percentile(peaks, STRONG) if len(peaks) else 0.0
    return np.clip(_strongest(envelope, beats) / full, 0, 1) if full > 0 else np.zeros(len(beats))


def _strongest(envelope: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,): the envelope's largest value within `NEAR` of each time."""
    rate = SAMPLE_RATE / HOP
    spans = [(max(0, int(np.floor((t - NEAR) * rate))), int(np.ceil((t + NEAR) * rate)) + 1) for t in times]
    return np.array([envelope[a:b].max(initial=0.0) for a, b in spans])
