"""What the page draws of audio and of a dance: peaks, loudness, onsets and beats to snap to."""

import json
from pathlib import Path

import numpy as np

from d2m_model.generate.finish import loudness_of
from d2m_model.generate.own_songs import sharpened
from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.metrics.p4_onsets import onset_times
from d2m_model.rhythm.music_beats import music_beats
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.timebase import SAMPLE_RATE

PEAKS = 100
"""Peaks per second."""


def peaks(audio: np.ndarray) -> np.ndarray:
    """(n,): the highest absolute sample of audio (S,) at 22 050 Hz in each 1/100 s, within 0..1."""
    count = -(-len(audio) * PEAKS // SAMPLE_RATE)
    edges = np.round(np.arange(count) * SAMPLE_RATE / PEAKS).astype(int)
    return np.minimum(1, np.maximum.reduceat(np.abs(audio), edges)) if count else np.zeros(0)


def lufs_of(audio: np.ndarray, rate: int) -> float | None:
    """Loudness in LUFS, None for silence, as JSON can hold it."""
    found = loudness_of(audio, rate)
    return None if found is None or not np.isfinite(found) else round(found, 2)


def write_drawing(path: Path, audio: np.ndarray) -> None:
    """Write {seconds, peaks, beats, onsets} of audio (S,) float32 at 22 050 Hz. The beats are those of `generate --snap`."""
    beats = sharpened(music_beats(audio), audio).beats if np.any(audio) else np.zeros(0)
    times = lambda found: [round(float(time), 4) for time in found]
    content = {
        "seconds": len(audio) / SAMPLE_RATE, "peaks": [round(float(peak), 3) for peak in peaks(audio)], "beats": times(beats),
        "onsets": times(onset_times(audio)) if np.any(audio) else [],
    }  # fmt: skip
    write_text(path, json.dumps(content) + "\n")


def write_motion(path: Path, pose: np.ndarray) -> None:
    """Write {kinematic: [s, ...]} of a dancer's keypoints (T, J, 3): the moments at which the dancer almost stops."""
    write_text(path, json.dumps({"kinematic": [round(float(time), 4) for time in motion_beats(pose)]}) + "\n")
