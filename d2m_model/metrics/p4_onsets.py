"""Protocol P4: whether the music's onsets fall on the beats of its own dance more than on those of other dances.

F-measures of matched times within a window (mir_eval; ±70 ms, and ±50 ms as a stricter one), without trimming, and the alignment
of music and motion. Dense onsets raise such scores. So the main number is a difference: the score against the clip's own
reference minus the mean score of the same music against the references of other songs' clips. Clicks, noise, and music that
ignores the dance have a difference of 0 up to chance, which `permutation` measures.

Conventions: times are float (n,), in seconds from the clip's start, ascending.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from d2m_model.metrics.audio_features import HOP, AudioFeatures
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE

WINDOWS = (0.07, 0.05)
MAX_LAG = 0.5
"""Largest lag in seconds, in both directions, of the envelopes' cross-correlation."""
SIGMA = 3 / FPS
"""Standard deviation in seconds of the Gaussian in `alignment`: 3 frames."""


def onset_times(audio: np.ndarray) -> np.ndarray:
    """Onsets (n,) in seconds of audio (S,) at 22 050 Hz, from librosa's detector with its defaults."""
    return AudioFeatures(audio).onsets if len(audio) else np.zeros(0)


def f_measure(reference: np.ndarray, estimate: np.ndarray, window: float = 0.07) -> float:
    """Onset F-measure within 0..1 (mir_eval.onset.f_measure). Nan for an empty reference, 0 for an empty estimate."""
    import mir_eval

    if len(reference) == 0:
        return float("nan")
    if len(estimate) == 0:
        return 0.0
    return float(mir_eval.onset.f_measure(reference, estimate, window=window)[0])


def beat_f_measure(reference: np.ndarray, estimate: np.ndarray, window: float = 0.07) -> float:
    """Beat F-measure within 0..1 (mir_eval.beat.f_measure, without trimming); empty times as in `f_measure`."""
    import mir_eval

    if len(reference) == 0:
        return float("nan")
    if len(estimate) == 0:
        return 0.0
    return float(mir_eval.beat.f_measure(reference, estimate, f_measure_threshold=window))


def alignment(targets: np.ndarray, times: np.ndarray, sigma: float = SIGMA) -> float:
    """Mean over `targets` of exp(-d² / 2σ²), where d is the distance in seconds to the nearest of `times`; within 0..1 (Siyao et
    al., 2022, with σ = 3 frames at 30 fps). Nan without targets, 0 without times."""
    if len(targets) == 0:
        return float("nan")
    if len(times) == 0:
        return 0.0
    distance = np.abs(targets[:, None] - times[None, :]).min(axis=1)
    return float(np.exp(-(distance**2) / (2 * sigma**2)).mean())


def pair_scores(
    estimates: Mapping[str, np.ndarray],
    references: Mapping[str, np.ndarray],
    seconds: Mapping[str, float],
    window: float = 0.07,
    score: Callable[[np.ndarray, np.ndarray], float] | None = None,
    left_out: Callable[[str, str], bool] = lambda audio, dance: False,
) -> np.ndarray:
    """The score of every clip's music against every dance: (estimates, references), within 0..1 or nan.

    score : (reference times, estimated times) -> 0..1 or nan; by default the onset F-measure within `window`. Two clips are
    compared over the length of the shorter one. left_out : (music, dance) -> whether the pair is left out; its score is nan.
    """
    score = score or (lambda reference, estimate: f_measure(reference, estimate, window))
    result = np.full((len(estimates), len(references)), np.nan)
    for i, (audio, found) in enumerate(estimates.items()):
        for j, (dance, reference) in enumerate(references.items()):
            if audio == dance:
                result[i, j] = score(reference[reference < seconds[dance]], found)
            elif not left_out(audio, dance):
                end = min(seconds[audio], seconds[dance])
                result[i, j] = score(reference[reference < end], found[found < end])
    return result


def mean_of_others(scores: np.ndarray, dances: Sequence[str], songs: Mapping[str, str], song: str) -> np.ndarray:
    """The mean score of each clip's music over the dances to other songs than `song`: (clips,); nan where no such score is defined. scores :
    (clips, dances)."""
    others = scores[:, [songs[dance] != song for dance in dances]]
    return np.array([row[~np.isnan(row)].mean() if not np.isnan(row).all() else np.nan for row in others])


def own_minus_other(
    estimates: Mapping[str, np.ndarray],
    references: Mapping[str, np.ndarray],
    seconds: Mapping[str, float],
    songs: Mapping[str, str],
    window: float = 0.07,
    score: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> dict[str, tuple[float, float]]:
    """{clip: (own, other)}: the score against the clip's own reference, and the mean score against those of other songs' clips.

    score : as in `pair_scores`. `other` is nan where no other song's clip has a defined score.
    """
    alike = lambda audio, dance: songs[audio] == songs[dance]
    return own_and_other(
        pair_scores(estimates, references, seconds, window, score, alike), list(estimates), list(references), songs
    )


def own_and_other(
    scores: np.ndarray, audio: Sequence[str], dances: Sequence[str], songs: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """As `own_minus_other`, from scores (clips, dances) by `pair_scores`."""
    result = {}
    for i, clip in enumerate(audio):
        other = mean_of_others(scores[i : i + 1], dances, songs, songs[clip])[0]
        result[clip] = (float(scores[i, dances.index(clip)]), float(other))
    return result


def envelope_correlation(generated: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """(peak, lag) of the normalised cross-correlation of two onset envelopes (F,) at hop 512.

    peak : largest correlation of the centred envelopes at lags up to ±0.5 s, within -1..1. lag : in seconds, positive where the
    generated audio is later. Both are nan for a flat envelope.
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
    """Absolute difference in beats per minute; nan where a tempo is nan. Octave errors count like any other."""
    return abs(generated - reference)
