"""A sound played a little faster or slower so that moments of it come when they should, at the pitch that it has.

Between two moments the speed is even, and the stretching is Signalsmith Stretch's. The pieces are made one by one with
some sound to spare and go over into each other just before each moment: an attack there is left whole, and covers the seam.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dataset_tools.lib.audio.crossfade import crossfade
from dataset_tools.lib.core.errors import UserError

SPARE = 0.1
"""Seconds that a piece is made longer at either end, for the stretcher fades its ends in and out."""
LEAD, FADE = 0.01, 0.02
"""Seconds: a seam's cross-fade takes FADE, less where the result has just begun, and ends LEAD before its moment."""
EVEN = 1e-5
"""A speed nearer to 1 than that leaves the sound as it is."""


def stretched(sound: np.ndarray, rate: int, moments: Sequence[tuple[float, float]], seconds: float) -> np.ndarray:
    """(C, S) float32 of `seconds` at the same rate, from (C, N) float32 at `rate` samples a second.

    moments: at least two pairs (second of the sound, second of the result), ascending in both; before the first and
    after the last the speed goes on. Where the sound has not begun or is over, there is silence.
    Raises UserError where the package python-stretch is missing.
    """
    assert len(moments) >= 2 and all(a < c and b < d for (a, b), (c, d) in pairwise(moments)), "moments must ascend"
    out = np.zeros((len(sound), round(seconds * rate)), np.float32)
    pieces = list(pairwise(moments))
    for number, ((source, at), (source_end, at_end)) in enumerate(pieces):
        speed = (source_end - source) / (at_end - at)
        first = 0 if number == 0 else round((at - LEAD - FADE) * rate)
        last = out.shape[1] if number == len(pieces) - 1 else round((at_end - LEAD) * rate)
        first, last = max(0, first), min(out.shape[1], last)
        if last <= first:
            continue
        piece = _piece(sound, rate, source + (first / rate - at) * speed, speed, last - first)
        width = 0 if number == 0 else min(max(0, round((at - LEAD) * rate) - first), last - first)
        for channel in range(len(out) if width else 0):
            over = slice(first, first + width)
            out[channel, over] = crossfade(out[channel, over], piece[channel, :width])
        out[:, first + width : last] = piece[:, width:]
    return out


def _piece(sound: np.ndarray, rate: int, start: float, speed: float, samples: int) -> np.ndarray:
    """(C, samples): the sound from second `start` on at `speed` times its own."""
    if abs(speed - 1) < EVEN:
        return _cut(sound, round(start * rate), samples)
    try:
        from python_stretch.Signalsmith import Stretch
    except ImportError as err:
        raise UserError(
            f"music can't be stretched: the package python-stretch is not installed ({err}); pip install python-stretch"
        ) from None
    spare = round(SPARE * rate)
    taken = round((samples + 2 * spare) * speed)
    stretcher = Stretch(1)  # the seed of its dither: equal sounds for equal calls
    stretcher.preset(len(sound), rate)
    stretcher.timeFactor = taken / (samples + 2 * spare)
    made = stretcher.process(np.ascontiguousarray(_cut(sound, round(start * rate - spare * speed), taken)))
    return _cut(np.asarray(made), spare, samples)


def _cut(sound: np.ndarray, first: int, samples: int) -> np.ndarray:
    """(C, samples) from sample `first` on, which may be negative; silence where there is no sound."""
    out = np.zeros((len(sound), samples), np.float32)
    begin, end = max(0, first), min(sound.shape[1], first + samples)
    if end > begin:
        out[:, begin - first : end - first] = sound[:, begin:end]
    return out
