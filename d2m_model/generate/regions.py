"""Parts of a take that are made again or kept: which they are, putting the new part in, and whether the seam is heard."""

import re
from collections.abc import Sequence

import numpy as np

from dataset_tools.lib.audio.crossfade import crossfade
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE

LEAST = 0.1
"""Seconds of a region."""
WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*-\s*(\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)
STEP, FRAME, APART = 128, 512, 4
"""Samples between spectra, of each, and steps between two that are compared: 23 ms."""
FLOOR = 1e-3
"""Of magnitudes, below which nothing is heard."""
Region = tuple[float, float]
"""Seconds from and to."""


def region_of(text: str, seconds: float, option: str) -> Region:
    """'4.0-6.5' -> (4.0, 6.5). An end beyond the take of `seconds` by less than a tenth of a second is its end.

    Raises UserError, which names the option: not of that form, shorter than LEAST, beyond the take.
    """
    found = WRITTEN.fullmatch(text)
    if not found:
        raise UserError(f"{option} must be seconds from-to such as 4.0-6.5, found {text[:40]!r}")
    start, end = float(found[1]), float(found[2])
    if end - start < LEAST:
        raise UserError(f"{option} must span at least {LEAST:g} s and end after it starts, found {text[:40]!r}")
    if end >= seconds + LEAST or start > seconds - LEAST:
        raise UserError(f"{option} must lie within the take's {seconds:.2f} s, found {text[:40]!r}")
    return start, min(end, seconds)


def outside(region: Region, seconds: float) -> list[Region]:
    """What of 0 to `seconds` is not in the region; parts shorter than LEAST are left out."""
    return [(a, b) for a, b in ((0.0, region[0]), (region[1], seconds)) if b - a >= LEAST]


def made_again(redo: str | None, keep: str | None, seconds: float) -> list[Region]:
    """The regions of a take of `seconds` that --redo A-B names, or all but what --keep A-B names; none of the two: all of it.

    Raises UserError as `region_of`, where both are given, and where nothing would be left to make.
    """
    if redo is not None and keep is not None:
        raise UserError("--redo and --keep say the same in two ways; give one of them")
    if redo is not None:
        return [region_of(redo, seconds, "--redo")]
    if keep is None:
        return [(0.0, seconds)]
    left = outside(region_of(keep, seconds, "--keep"), seconds)
    if not left:
        raise UserError(f"--keep {keep} keeps all of the take's {seconds:.2f} s; nothing is left to make")
    return left


def splice(take: np.ndarray, new: np.ndarray, region: Region, fade: float) -> np.ndarray:
    """The take (S,) with what `new` (S,) has in `region`: (S,) float32 at 22 050 Hz.

    Outside the region every sample is the take's own. Inside, the first and last `fade` seconds (at most a third of the
    region each) go over from one to the other, but not at the take's own start and end.
    """
    assert take.shape == new.shape and take.ndim == 1, "a take and its new part have one length"
    first, last = round(region[0] * SAMPLE_RATE), min(len(take), round(region[1] * SAMPLE_RATE))
    width = min(round(fade * SAMPLE_RATE), (last - first) // 3)
    out = np.array(take, np.float32)
    out[first:last] = new[first:last]
    if first > 0 and width:
        out[first : first + width] = crossfade(take[first : first + width], new[first : first + width])
    if last < len(take) and width:
        out[last - width : last] = crossfade(new[last - width : last], take[last - width : last])
    return out


def spectral_jumps(sound: np.ndarray) -> np.ndarray:
    """(n,) rises and falls of a sound's log spectrum over 23 ms, in dB, root mean square over frequency: entry k is about
    sample (k + 4) * 128. `sound` (S,), S at least 1 024."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::STEP] * np.hanning(FRAME)
    spectra = 20 * np.log10(np.abs(np.fft.rfft(frames)) + FLOOR)
    return np.sqrt(np.square(spectra[APART:] - spectra[:-APART]).mean(axis=1))


def seam(sound: np.ndarray, at: Sequence[float]) -> float:
    """How much a sound (S,) at 22 050 Hz jumps at the seconds `at`, over the 95th percentile of its own jumps: below 1 a seam
    is no louder an event than what the music has anyway."""
    jumps = spectral_jumps(sound)
    own = float(np.quantile(jumps, 0.95))
    places = [round(second * SAMPLE_RATE / STEP) for second in at]
    there = [jumps[max(0, place - 6) : place + 3].max() for place in places]
    return float(np.mean(there)) / own if own > 0 else 0.0
