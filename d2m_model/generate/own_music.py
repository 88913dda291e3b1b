"""Music for a dance from the user's own songs: the best-fitting excerpt, stretched so that its beats fall on the dance's beats."""

from dataclasses import dataclass

import numpy as np

from d2m_model.generate.own_songs import OwnSong, read_song
from d2m_model.generate.song_fit import Fit, best_fit
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.lib.audio.stretching import stretch

RATES = (22050, 24000, 32000, 44100, 48000)
"""Sample rates in Hz that are kept; audio with another rate is resampled to OTHERWISE."""
OTHERWISE = 44100


@dataclass(frozen=True, kw_only=True)
class OwnMusic:
    """An excerpt of a song, fitted to a dance's beats."""

    audio: np.ndarray
    """(C, S) float32, C 1 or 2."""
    rate: int
    """Sample rate in Hz, one of RATES."""
    fit: Fit

    @property
    def told(self) -> str:
        """A line for the user: the song, the place of the excerpt, how it is stretched, and how many down-beats coincide."""
        low, high = self.fit.speeds
        pace = f"{low:.3f}" if high - low < 5e-4 else f"{low:.3f} to {high:.3f}"
        (source, at), (source_end, at_end), *_ = self.fit.moments
        start = max(0.0, source - at * (source_end - source) / (at_end - at))
        bars = "bars unknown" if self.fit.downbeats is None else f"{self.fit.downbeats:.0%} of the down-beats coincide"
        return f"{self.fit.song.name} from {start:.1f} s at {pace} of its speed; {bars}, beats within {1000 * self.fit.offset:.0f} ms"


def own_music(songs: list[OwnSong], beats: Beats, seconds: float) -> OwnMusic:
    """The best-fitting excerpt of the songs for a dance of `seconds` with these beats. Raises UserError as `best_fit`,
    `read_song` and `stretch`."""
    import soxr

    fit = best_fit(songs, beats.beats, beats.downbeats, seconds, beats.strength)
    audio, rate = read_song(fit.song.path)
    if rate not in RATES:
        audio, rate = soxr.resample(audio.T, rate, OTHERWISE).T.astype(np.float32), OTHERWISE
    return OwnMusic(audio=stretch(audio, rate, fit.moments, seconds), rate=rate, fit=fit)
