"""Regions of a take that are generated again: parses them, inserts the new part, and measures whether a seam is audible."""

import re
from collections.abc import Sequence

import numpy as np

from dataset_tools.lib.audio.crossfade import crossfade
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE

LEAST = 0.1
"""Shortest region in seconds."""
WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*-\s*(\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)
STEP, FRAME, APART = 128, 512, 4
"""Hop and length of spectra in samples, and number of hops between two that are compared (23 ms)."""
FLOOR = 1e-3
"""Floor of magnitudes; smaller ones are inaudible."""
Region = tuple[float, float]
"""(start, end) in seconds."""


def region_of(text: str, seconds: float, option: str) -> Region:
    """A region from a text such as '4.0-6.5'. An end less than a tenth of a second beyond the take of `seconds` is moved to its end.

    Raises UserError, which names the option, for another form, a region shorter than LEAST, or one beyond the take.
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
    """The parts of 0 to `seconds` outside of the region; parts shorter than LEAST are left out."""
    return [(a, b) for a, b in ((0.0, region[0]), (region[1], seconds)) if b - a >= LEAST]


def made_again(redo: str | None, keep: str | None, seconds: float) -> list[Region]:
    """The regions of a take of `seconds` to generate again: `redo` (A-B), or everything outside `keep` (A-B). Without both options, the
    whole take.

    Raises UserError as `region_of`, if both options are given, and if nothing is left to generate.
    """
    if redo is not None and keep is not None:
        raise UserError("--redo and --keep say the same in two ways; give one of them")
    if redo is not None:
        return [region_of(redo, seconds, "--redo")]
    if keep is None:
        return [(0.0, seconds)]
    left = outside(region_of(keep, seconds, "--keep"), seconds)
    if not left:
        raise UserError(f"--keep {keep} keeps all of the take's {seconds:.2f} s; nothing is left to generate")
    return left


def splice(take: np.ndarray, new: np.ndarray, region: Region, fade: float) -> np.ndarray:
    """The take (S,) with `region` replaced by that of `new` (S,): float32 at 22 050 Hz.

    Outside the region no sample changes. Inside, both are cross-faded over the first and last `fade` seconds (at most a third of
    the region each), but not at the start and end of the take.
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


def spectral_jumps(audio: np.ndarray) -> np.ndarray:
    """(n,): change of the log spectrum of `audio` (S,) over 23 ms in dB, root mean square over frequency. Entry k is for sample
    (k + 4) * 128. S must be at least 1 024."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[::STEP] * np.hanning(FRAME)
    spectra = 20 * np.log10(np.abs(np.fft.rfft(frames)) + FLOOR)
    return np.sqrt(np.square(spectra[APART:] - spectra[:-APART]).mean(axis=1))


def seam(audio: np.ndarray, at: Sequence[float]) -> float:
    """The largest spectral jump of audio (S,) at 22 050 Hz at the times `at` in seconds, divided by the 95th percentile of all its
    jumps. Below 1, a seam stands out no more than the music's own events."""
    jumps = spectral_jumps(audio)
    own = float(np.quantile(jumps, 0.95))
    places = [round(second * SAMPLE_RATE / STEP) for second in at]
    there = [jumps[max(0, place - 6) : place + 3].max() for place in places]
    return float(np.mean(there)) / own if own > 0 else 0.0
