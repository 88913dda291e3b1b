"""One channel of several: their mean, unless they cancel each other in it.

A film whose one channel is the other's negative (a swapped wire, 'karaoke' and widening effects) sounds in stereo and is
silent in the mean of both.
"""

import numpy as np

CANCELLED = 0.05  # of the channels' mean power: the mean of two that are alike has 1 of it, of unlike ones a half
FAINT, QUIET = (
    1e-6,
    0.01,
)  # mean power of a second below which nothing is lost with it: -60 dB of full scale, -20 dB of the whole sound


class MonoMixer:
    """What becomes of a sound's channels, heard block by block in order: `lone` tells it at the end."""

    def __init__(self, rate: int):
        self.rate, self.heard = rate, 0
        self.powers: list[np.ndarray] = []
        """Of each second: sums of squares of the channels, and of their mean, (C + 1,)."""

    def add(self, sound: np.ndarray) -> np.ndarray:
        """(n,) float32, the mean of the channels of the next block (C, n) float32, full scale 1."""
        mean = sound.mean(axis=0)
        begins = np.r_[0, np.arange(self.rate - self.heard % self.rate, len(mean), self.rate)]
        for begin, end in zip(begins, np.r_[begins[1:], len(mean)], strict=True):
            powers = np.array([np.dot(s, s) for s in (*sound[:, begin:end], mean[begin:end])], np.float64)
            if (self.heard + begin) % self.rate:
                self.powers[-1] += powers
            elif end > begin:
                self.powers.append(powers)
        self.heard += len(mean)
        return mean

    def find_lone_channel(self) -> int | None:
        """The louder channel, where the mean of all loses it in any of its seconds; else None."""
        powers, lengths = list(self.powers), [self.rate] * len(self.powers)
        if not powers or len(powers[0]) < 3:
            return None
        lengths[-1] = self.heard - self.rate * (len(powers) - 1)
        if (
            len(powers) > 1 and lengths[-1] <= self.rate // 2
        ):  # a short rest counts to the last: a few samples cancel by chance
            powers[-2:], lengths[-2:] = [powers[-2] + powers[-1]], [lengths[-2] + lengths[-1]]
        channels, mean = np.array(powers)[:, :-1], np.array(powers)[:, -1]
        heard = channels.mean(axis=1) > np.maximum(FAINT, QUIET * channels.mean(axis=1).sum() / self.heard) * np.array(
            lengths
        )
        if not (mean < CANCELLED * channels.mean(axis=1))[heard].any():
            return None
        return int(channels.sum(axis=0).argmax())


def find_lone_channel(sound: np.ndarray, rate: int) -> int | None:
    """The louder channel of (C, N) float32, full scale 1, where the mean of all loses it in any of its seconds; else None."""
    mixer = MonoMixer(rate)
    mixer.add(sound)
    return mixer.find_lone_channel()


def to_mono(sound: np.ndarray, rate: int) -> np.ndarray:
    """(N,) float32 of (C, N) float32, full scale 1, at `rate` samples a second: the mean, or `find_lone_channel`."""
    mixer = MonoMixer(rate)
    mean = mixer.add(sound)
    alone = mixer.find_lone_channel()
    return mean if alone is None else sound[alone]
