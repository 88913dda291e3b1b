"""One channel of two: their mean, unless they cancel each other in it.

A film whose one channel is the other's negative (a swapped wire, 'karaoke' and widening effects) sounds in stereo and is
silent in the mean of both.
"""

import numpy as np

LOST = 0.05  # of the channels' mean power: the mean of two that are alike has 1 of it, of unlike ones a half
FAINT = 1e-6  # mean power below which there is nothing to hear: -60 dB of full scale


def lone_channel(sound: np.ndarray, rate: int) -> int | None:
    """The louder channel of (C, N) float32, full scale 1, where the mean of all loses it in any of its seconds; else None."""
    if len(sound) < 2 or not sound.shape[1]:
        return None
    seconds = np.arange(0, max(1, sound.shape[1] - rate // 2), rate)  # a short rest counts to the last: a few samples cancel by chance
    channels, mean = (np.add.reduceat(np.square(s), seconds, axis=-1) for s in (sound, sound.mean(axis=0)))
    heard = channels.mean(axis=0) > FAINT * np.diff(np.r_[seconds, sound.shape[1]])
    if not (mean < LOST * channels.mean(axis=0))[heard].any():
        return None
    return int(channels.sum(axis=1).argmax())


def mono_of(sound: np.ndarray, rate: int) -> np.ndarray:
    """(N,) float32 of (C, N) float32, full scale 1, at `rate` samples a second: the mean, or `lone_channel`."""
    alone = lone_channel(sound, rate)
    return sound.mean(axis=0) if alone is None else sound[alone]
