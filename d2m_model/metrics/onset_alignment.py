"""Protocol P4: do the onsets of the music fall where this dance has its beats, and not where any dance might?

F-measure of matched onsets within a window (mir_eval.onset; ±70 ms, and ±50 ms as the stricter one), nothing trimmed.
The number that cannot be fooled by density is a difference: the score against the clip's own reference minus the mean
score of the same sound against the references of other songs' clips. A click track, noise, or music that ignores the
dance has a difference of 0 up to chance.

Conventions: times are float (n,), seconds from the clip's start, ascending.
"""

import numpy as np

from dataset_tools.base.timebase import SAMPLE_RATE

WINDOWS = (0.07, 0.05)


def onset_times(audio: np.ndarray) -> np.ndarray:
    """Onsets of a sound in seconds: librosa's detector at its defaults, refined by no backtracking. audio (S,), 22 050 Hz."""
    import librosa

    if len(audio) == 0 or not np.any(audio):
        return np.zeros(0)
    return np.asarray(librosa.onset.onset_detect(y=audio, sr=SAMPLE_RATE, units="time"), float)


def f_measure(reference: np.ndarray, estimate: np.ndarray, window: float = 0.07) -> float:
    """Onset F-measure in 0..1 (mir_eval.onset.f_measure). Nan where the reference is empty; 0 where the estimate is."""
    import mir_eval

    if len(reference) == 0:
        return float("nan")
    if len(estimate) == 0:
        return 0.0
    return float(mir_eval.onset.f_measure(reference, estimate, window=window)[0])


def own_minus_other(
    estimates: dict[str, np.ndarray],
    references: dict[str, np.ndarray],
    seconds: dict[str, float],
    songs: dict[str, str],
    window: float = 0.07,
) -> dict[str, tuple[float, float]]:
    """Per clip (own, other): F-measure against its own reference, and its mean over clips of other songs.

    Each pair is compared over the time both clips last. `other` is nan when no other song's clip has a reference there.
    """
    result = {}
    for clip, found in estimates.items():
        scores = []
        for other, reference in references.items():
            if songs[other] != songs[clip]:
                end = min(seconds[clip], seconds[other])
                scores.append(f_measure(reference[reference < end], found[found < end], window))
        scores = [s for s in scores if not np.isnan(s)]
        own = f_measure(references[clip], found, window)
        result[clip] = (own, float(np.mean(scores)) if scores else float("nan"))
    return result
