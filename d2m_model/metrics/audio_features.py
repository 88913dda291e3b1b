"""The audio features that the protocols read; each feature is computed once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from d2m_model.metrics.beat_bins import PIECE_SECONDS, onset_bins
from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.timebase import SAMPLE_RATE

HOP = 512
"""Samples between frames of the onset envelope: librosa's default."""
SEGMENT_SECONDS = 2.0
TRACKED_SECONDS = 6.0
"""Shortest audio whose beats are tracked."""


@dataclass(frozen=True, eq=False)
class AudioFeatures:
    """The features of mono audio: float32 (S,) at 22 050 Hz, S at least 1, finite."""

    audio: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.audio) / SAMPLE_RATE

    @cached_property
    def envelope(self) -> np.ndarray:
        """Onset strength (1 + S // 512,), with librosa's defaults."""
        librosa = load_librosa()

        return librosa.onset.onset_strength(y=self.audio, sr=SAMPLE_RATE, hop_length=HOP)

    @cached_property
    def onsets(self) -> np.ndarray:
        """Onset times (n,) in seconds, from librosa's detector with its defaults, without backtracking; none in silence."""
        librosa = load_librosa()

        return np.asarray(librosa.onset.onset_detect(onset_envelope=self.envelope, sr=SAMPLE_RATE, units="time"), float)

    @cached_property
    def bins(self) -> dict[str, np.ndarray]:
        """{'P1' and 'P2': bool (n,)}: which seconds have an onset."""
        return {p: onset_bins(self.envelope, len(self.audio), p) for p in ("P1", "P2")}

    @cached_property
    def pieces(self) -> list["AudioFeatures"]:
        """Consecutive pieces of 5 s, for P3; the rest is dropped, and shorter audio is one piece."""
        return self._whole_parts(PIECE_SECONDS)

    @cached_property
    def segments(self) -> list["AudioFeatures"]:
        """Consecutive segments of 2 s, the unit of the paper's test set; otherwise like `pieces`."""
        return self._whole_parts(SEGMENT_SECONDS)

    def _whole_parts(self, seconds: float) -> list["AudioFeatures"]:
        size = round(seconds * SAMPLE_RATE)
        return [AudioFeatures(self.audio[at : at + size]) for at in range(0, max(1, len(self.audio) - size + 1), size)]

    @cached_property
    def fine_bins(self) -> np.ndarray:
        """bool (n,): which fifths of a second have an onset, for P3."""
        return onset_bins(self.envelope, len(self.audio), "P3")

    @cached_property
    def tempo(self) -> float:
        """Beats per minute (librosa.feature.tempo); nan without onsets."""
        librosa = load_librosa()

        return (
            float(librosa.feature.tempo(onset_envelope=self.envelope, sr=SAMPLE_RATE)[0])
            if len(self.onsets)
            else float("nan")
        )

    @cached_property
    def tracked_beats(self) -> np.ndarray | None:
        """Beat times (n,) in seconds (librosa.beat.beat_track); None for audio under 6 s."""
        librosa = load_librosa()

        if self.seconds < TRACKED_SECONDS:
            return None
        if not len(self.onsets):
            return np.zeros(0)
        return np.asarray(
            librosa.beat.beat_track(onset_envelope=self.envelope, sr=SAMPLE_RATE, units="time", trim=False)[1], float
        )

    def cut(self, samples: int) -> "AudioFeatures":
        """The features of the first `samples`; these features if there are no more."""
        return self if len(self.audio) <= samples else AudioFeatures(self.audio[:samples])
