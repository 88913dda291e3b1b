"""Time-stretch audio so that given moments of it come at given times, without changing its pitch.

The speed is constant between two moments; Signalsmith Stretch does the stretching. Each piece is stretched with a margin and
cross-faded into the next just before a moment. So an attack at the moment stays whole and masks the seam.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dataset_tools.lib.audio.crossfade import crossfade
from dataset_tools.lib.core.errors import UserError

MARGIN_SECONDS = 0.1
"""Seconds added to a piece at both ends, because the stretcher fades its ends in and out."""
LEAD_SECONDS, FADE_SECONDS = 0.01, 0.02
"""Seconds: a cross-fade takes FADE_SECONDS, less at the start of the result, and ends LEAD_SECONDS before its moment."""
UNCHANGED = 1e-5
"""A speed closer to 1 than this leaves the audio unchanged."""


def stretch(audio: np.ndarray, rate: int, moments: Sequence[tuple[float, float]], seconds: float) -> np.ndarray:
    """Audio (C, N) float32 at `rate` samples per second -> (C, S) float32 of `seconds` at the same rate.

    moments: at least two pairs (second of the audio, second of the result), ascending in both. The speed of the first and the
    last pair continues before and after them. Times outside the audio are silent.

    Raises UserError if the package python-stretch is missing.
    """
    assert len(moments) >= 2 and all(a < c and b < d for (a, b), (c, d) in pairwise(moments)), "moments must ascend"
    out = np.zeros((len(audio), round(seconds * rate)), np.float32)
    pieces = list(pairwise(moments))
    for number, ((source, at), (source_end, at_end)) in enumerate(pieces):
        speed = (source_end - source) / (at_end - at)
        first = 0 if number == 0 else round((at - LEAD_SECONDS - FADE_SECONDS) * rate)
        last = out.shape[1] if number == len(pieces) - 1 else round((at_end - LEAD_SECONDS) * rate)
        first, last = max(0, first), min(out.shape[1], last)
        if last <= first:
            continue
        piece = _stretch_piece(audio, rate, source + (first / rate - at) * speed, speed, last - first)
        width = 0 if number == 0 else min(max(0, round((at - LEAD_SECONDS) * rate) - first), last - first)
        for channel in range(len(out) if width else 0):
            over = slice(first, first + width)
            out[channel, over] = crossfade(out[channel, over], piece[channel, :width])
        out[:, first + width : last] = piece[:, width:]
    return out


def _stretch_piece(audio: np.ndarray, rate: int, start: float, speed: float, samples: int) -> np.ndarray:
    """(C, samples): the audio from second `start` on, played at `speed` times its own speed."""
    if abs(speed - 1) < UNCHANGED:
        return _cut(audio, round(start * rate), samples)
    try:
        from python_stretch.Signalsmith import Stretch
    except ImportError as err:
        raise UserError(
            f"music can't be stretched: the package python-stretch is not installed ({err}); pip install python-stretch"
        ) from None
    spare = round(MARGIN_SECONDS * rate)
    taken = round((samples + 2 * spare) * speed)
    stretcher = Stretch(1)  # the seed of its dither, so that equal calls give equal audio
    stretcher.preset(len(audio), rate)
    stretcher.timeFactor = taken / (samples + 2 * spare)
    made = stretcher.process(np.ascontiguousarray(_cut(audio, round(start * rate - spare * speed), taken)))
    return _cut(np.asarray(made), spare, samples)


def _cut(audio: np.ndarray, first: int, samples: int) -> np.ndarray:
    """(C, samples) from sample `first` on, which may be negative; silence outside the audio."""
    out = np.zeros((len(audio), samples), np.float32)
    begin, end = max(0, first), min(audio.shape[1], first + samples)
    if end > begin:
        out[:, begin - first : end - first] = audio[:, begin:end]
    return out
