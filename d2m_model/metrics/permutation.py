"""The P4 difference that a system would reach by chance: its own music, assigned to the dances at random.

This is a permutation test (Fisher, 1935). It uses the system's own music, so that its density, tempi and lengths have the same
effect in the null distribution. p is never 0 (Phipson and Smyth, 2010).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from d2m_model.metrics.bootstrap import LEVEL
from d2m_model.metrics.p4_onsets import mean_of_others


def permuted_differences(
    scores: np.ndarray, audio: Sequence[str], dances: Sequence[str], songs: Mapping[str, str]
) -> np.ndarray:
    """(clips, clips): entry [i, j] is the difference of the music of clip i if the dance of clip j were its own; nan if undefined.

    scores : (clips, dances) from `p4_onsets.pair_scores`; the dances must include those of all clips.
    """
    own = scores[:, [dances.index(clip) for clip in audio]]
    other = {song: mean_of_others(scores, dances, songs, song) for song in {songs[clip] for clip in audio}}
    return own - np.stack([other[songs[clip]] for clip in audio], axis=1)


def chance(differences: np.ndarray, *, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """{'p', 'permuted', 'permuted_low', 'permuted_high'} from `permuted_differences` (clips, clips).

    permuted : the mean difference, averaged over permutations, with the range of 95 % of them. p : the share of permutations, the real assignment
    included, whose mean difference is at least the system's. All permutations are used if there are at most `draws`. Returns {}
    for fewer than two clips with a difference.
    """
    from scipy.stats import permutation_test

    if (~np.isnan(np.diagonal(differences))).sum() < 2:
        return {}
    rows = np.arange(len(differences))

    def mean(permuted: np.ndarray, axis: int = -1) -> np.ndarray:
        found = differences[rows, permuted]
        known = ~np.isnan(found)
        return np.where(known, found, 0.0).sum(axis=-1) / np.maximum(1, known.sum(axis=-1))

    found = permutation_test(
        (rows,),
        mean,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=draws,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    low, high = np.percentile(found.null_distribution, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    values = {"p": found.pvalue, "permuted": found.null_distribution.mean(), "permuted_low": low, "permuted_high": high}
    return {name: float(value) for name, value in values.items()}
