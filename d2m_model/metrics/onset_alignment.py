"""Protocol P4: does the music fall where this dance has its beats, and not where any dance might?

F-measures of matched times within a window (mir_eval; ±70 ms, and ±50 ms as the stricter one), nothing trimmed, and the
alignment of music and motion. The number that cannot be fooled by density is a difference: the score against the clip's
own reference minus the mean score of the same sound against the references of other songs' clips. A click track, noise,
or music that ignores the dance has a difference of 0 up to chance.

Conventions: times are float (n,), seconds from the clip's start, ascending.
"""

from collections.abc import Callable, Mapping

import numpy as np

from d2m_model.metrics.sound import HOP, Sound
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE

WINDOWS = (0.07, 0.05)
MAX_LAG = 0.5
"""Seconds either way in which the envelopes' correlation looks for its peak."""
SIGMA = 3 / FPS
"""Seconds: width of the Gaussian of motion-music alignment, 3 frames."""


def onset_times(audio: np.ndarray) -> np.ndarray:
    """Onsets (n,) in seconds of a sound (S,) at 22 050 Hz: librosa's detector at its defaults."""
    return Sound(audio).onsets if len(audio) else np.zeros(0)


def f_measure(reference: np.ndarray, estimate: np.ndarray, window: float = 0.07) -> float:
    """Onset F-measure in 0..1 (mir_eval.onset.f_measure). Nan where the reference is empty; 0 where the estimate is."""
    import mir_eval

    if len(reference) == 0:
        return float("nan")
    if len(estimate) == 0:
        return 0.0
    return float(mir_eval.onset.f_measure(reference, estimate, window=window)[0])


def beat_f_measure(reference: np.ndarray, estimate: np.ndarray, window: float = 0.07) -> float:
    """Beat F-measure in 0..1 (mir_eval.beat.f_measure, nothing trimmed), empty times as in `f_measure`."""
    import mir_eval

    if len(reference) == 0:
        return float("nan")
    if len(estimate) == 0:
        return 0.0
    return float(mir_eval.beat.f_measure(reference, estimate, f_measure_threshold=window))


def alignment(targets: np.ndarray, times: np.ndarray, sigma: float = SIGMA) -> float:
    """Mean over `targets` of exp(-d² / 2σ²), d the distance in seconds to the nearest of `times`: 0..1 (Siyao et al.,
    2022, with σ = 3 frames of 30 a second). Nan without targets, 0 without times."""
    if len(targets) == 0:
        return float("nan")
    if len(times) == 0:
        return 0.0
    distance = np.abs(targets[:, None] - times[None, :]).min(axis=1)
    return float(np.exp(-(distance**2) / (2 * sigma**2)).mean())


def own_minus_other(
    estimates: Mapping[str, np.ndarray],
    references: Mapping[str, np.ndarray],
    seconds: Mapping[str, float],
    songs: Mapping[str, str],
    window: float = 0.07,
    score: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> dict[str, tuple[float, float]]:
    """Per clip (own, other): its score against its own reference, and the mean over clips of other songs.

    score : (reference times, estimated times) -> 0..1 or nan; default the onset F-measure within `window`. Each pair is
    compared over the time both clips last. `other` is nan when no other song's clip has a reference there.
    """
    score = score or (lambda reference, estimate: f_measure(reference, estimate, window))
    result = {}
    for clip, found in estimates.items():
        scores = []
        for other, reference in references.items():
            if songs[other] != songs[clip]:
                end = min(seconds[clip], seconds[other])
                scores.append(score(reference[reference < end], found[found < end]))
        scores = [s for s in scores if not np.isnan(s)]
        own = score(references[clip][references[clip] < seconds[clip]], found)
        result[clip] = (own, float(np.mean(scores)) if scores else float("nan"))
    return result


def envelope_correlation(generated: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """(peak, lag) of the normalised cross-correlation of two onset envelopes (F,) at hop 512.

    peak : -1..1, the largest correlation at lags up to ±0.5 s, envelopes centred. lag : seconds, positive where the
    generated sound comes later. Both nan where an envelope is flat.
    """
    from scipy.signal import correlate

    n = min(len(generated), len(reference))
    g, r = generated[:n] - generated[:n].mean(), reference[:n] - reference[:n].mean()
    scale = np.linalg.norm(g) * np.linalg.norm(r)
    if not scale > 1e-9:
        return float("nan"), float("nan")
    reach = min(n - 1, round(MAX_LAG * SAMPLE_RATE / HOP))
    near = correlate(g, r, mode="full")[n - 1 - reach : n + reach] / scale
    best = int(np.argmax(near))
    return float(near[best]), (best - reach) * HOP / SAMPLE_RATE


def tempo_error(generated: float, reference: float) -> float:
    """Absolute difference in beats per minute; nan where either has no tempo. An octave is an error like any other."""
    return abs(generated - reference)
