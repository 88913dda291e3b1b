"""One sound and what the protocols hear in it, each thing found once and kept."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from d2m_model.metrics.beat_bins import PIECE_SECONDS, onset_bins
from dataset_tools.lib.core.timebase import SAMPLE_RATE

HOP = 512
"""Samples between frames of the onset envelope: librosa's default."""
SEGMENT_SECONDS = 2.0
TRACKED_SECONDS = 6.0
"""Shortest sound whose beats are tracked."""


@dataclass(frozen=True, eq=False)
class Sound:
    """Mono float32 (S,) at 22 050 Hz, S at least 1, finite."""

    audio: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.audio) / SAMPLE_RATE

    @cached_property
    def envelope(self) -> np.ndarray:
        """Onset strength (1 + S // 512,), librosa's defaults."""
        import librosa

        return librosa.onset.onset_strength(y=self.audio, sr=SAMPLE_RATE, hop_length=HOP)

    @cached_property
    def onsets(self) -> np.ndarray:
        """Onset times (n,) in seconds, librosa's detector at its defaults, no backtracking; none in silence."""
        import librosa

        return np.asarray(librosa.onset.onset_detect(onset_envelope=self.envelope, sr=SAMPLE_RATE, units="time"), float)

    @cached_property
    def bins(self) -> dict[str, np.ndarray]:
        """{'P1', 'P2': bool (n,)}: the whole seconds with an onset."""
        return {p: onset_bins(self.envelope, len(self.audio), p) for p in ("P1", "P2")}

    @cached_property
    def pieces(self) -> list["Sound"]:
        """What P3 scores: whole consecutive pieces of 5 s, the rest dropped; a shorter sound is one piece."""
        return self._whole_parts(PIECE_SECONDS)

    @cached_property
    def segments(self) -> list["Sound"]:
        """Whole consecutive segments of 2 s, the unit of the paper's test set, as `pieces`."""
        return self._whole_parts(SEGMENT_SECONDS)

    def _whole_parts(self, seconds: float) -> list["Sound"]:
        size = round(seconds * SAMPLE_RATE)
        return [Sound(self.audio[at : at + size]) for at in range(0, max(1, len(self.audio) - size + 1), size)]

    @cached_property
    def fine_bins(self) -> np.ndarray:
        """bool (n,): the fifths of a second with an onset, P3's."""
        return onset_bins(self.envelope, len(self.audio), "P3")

    @cached_property
    def tempo(self) -> float:
        """Beats per minute (librosa.feature.tempo); nan where no onset was found."""
        import librosa

        return (
            float(librosa.feature.tempo(onset_envelope=self.envelope, sr=SAMPLE_RATE)[0])
            if len(self.onsets)
            else float("nan")
        )

    @cached_property
    def tracked_beats(self) -> np.ndarray | None:
        """Beat times (n,) in seconds (librosa.beat.beat_track); None for sounds under 6 s."""
        import librosa

        if self.seconds < TRACKED_SECONDS:
            return None
        if not len(self.onsets):
            return np.zeros(0)
        return np.asarray(
            librosa.beat.beat_track(onset_envelope=self.envelope, sr=SAMPLE_RATE, units="time", trim=False)[1], float
        )

    def cut(self, samples: int) -> "Sound":
        """Its first `samples`; itself where it is no longer."""
        return self if len(self.audio) <= samples else Sound(self.audio[:samples])
