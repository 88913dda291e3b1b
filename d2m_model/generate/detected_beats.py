"""Writes the beats of generated music for editors and games: X.json beside X.wav or X.mp4."""

import json
from pathlib import Path

import numpy as np

from d2m_model.metrics.p4_onsets import onset_times
from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.timebase import SAMPLE_RATE


def detected_beats(audio: np.ndarray) -> dict:
    """{tempo, beats, onsets} of audio (S,) at 22 050 Hz: beats per minute (None without beats), and times in seconds from the start.
    From librosa's beat tracker (Ellis, 2007) and onset detector with their defaults."""
    librosa = load_librosa()

    if not np.any(audio):
        return {"tempo": None, "beats": [], "onsets": []}
    tempo, beats = librosa.beat.beat_track(y=audio, sr=SAMPLE_RATE, units="time")
    rounded = round(float(np.ravel(tempo)[0]), 2) or None
    times = lambda found: [round(float(t), 3) for t in found]
    return {"tempo": rounded, "beats": times(beats), "onsets": times(onset_times(audio))}


def write_beats(path: Path, audio: np.ndarray, **facts: str | float) -> None:
    """Write the beats of `audio` and `facts` about it, complete or absent."""
    write_text(path, json.dumps(facts | detected_beats(audio), indent=2) + "\n")
