"""Mix channels to mono: their mean, unless they cancel each other.

If one channel is the negative of the other (a swapped wire, 'karaoke' and widening effects), a video is audible in stereo but
silent in the mean of both channels.
"""

import numpy as np

CANCELLED = 0.05  # power of the mean relative to the mean power of the channels: 1 for equal channels, 0.5 for uncorrelated ones
FAINT, QUIET = (
    1e-6,
    0.01,
)  # a second with less mean power does not count: -60 dB of full scale, -20 dB of the whole audio


class MonoMixer:
    """Mixes audio block by block, in order. At the end, `find_lone_channel` tells whether the channels cancelled each other."""

    def __init__(self, rate: int):
        self.rate, self.samples = rate, 0
        self.powers: list[np.ndarray] = []
        """(C + 1,) for each second: sums of squares of the channels and of their mean."""

    def add(self, audio: np.ndarray) -> np.ndarray:
        """Mean of the channels, (n,) float32, of the next block (C, n) float32, full scale 1."""
        mean = audio.mean(axis=0)
        begins = np.r_[0, np.arange(self.rate - self.samples % self.rate, len(mean), self.rate)]
        for begin, end in zip(begins, np.r_[begins[1:], len(mean)], strict=True):
            powers = np.array([np.dot(s, s) for s in (*audio[:, begin:end], mean[begin:end])], np.float64)
            if (self.samples + begin) % self.rate:
                self.powers[-1] += powers
            elif end > begin:
                self.powers.append(powers)
        self.samples += len(mean)
        return mean

    def find_lone_channel(self) -> int | None:
        """Index of the loudest channel if the channels cancel in their mean in any second, else None."""
        powers, lengths = list(self.powers), [self.rate] * len(self.powers)
        if not powers or len(powers[0]) < 3:
            return None
        lengths[-1] = self.samples - self.rate * (len(powers) - 1)
        if (
            len(powers) > 1 and lengths[-1] <= self.rate // 2
        ):  # a short rest is added to the second before it, because a few samples may cancel by chance
            powers[-2:], lengths[-2:] = [powers[-2] + powers[-1]], [lengths[-2] + lengths[-1]]
        channels, mean = np.array(powers)[:, :-1], np.array(powers)[:, -1]
        audible = channels.mean(axis=1) > np.maximum(
            FAINT, QUIET * channels.mean(axis=1).sum() / self.samples
        ) * np.array(lengths)
        if not (mean < CANCELLED * channels.mean(axis=1))[audible].any():
            return None
        return int(channels.sum(axis=0).argmax())


def find_lone_channel(audio: np.ndarray, rate: int) -> int | None:
    """Index of the loudest channel of audio (C, N) float32, full scale 1, if the channels cancel in their mean in any second; else None."""
    mixer = MonoMixer(rate)
    mixer.add(audio)
    return mixer.find_lone_channel()


def to_mono(audio: np.ndarray, rate: int) -> np.ndarray:
    """Audio (C, N) float32, full scale 1, at `rate` samples per second -> (N,) float32: the mean of the channels or, if they
    cancel, the channel of `find_lone_channel`."""
    mixer = MonoMixer(rate)
    mean = mixer.add(audio)
    alone = mixer.find_lone_channel()
    return mean if alone is None else audio[alone]
