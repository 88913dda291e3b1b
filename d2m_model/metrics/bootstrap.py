"""Bootstrap confidence intervals by resampling clips or whole songs, without assumptions about the distribution of scores.

A score is a function of weights, one per clip. Weights of 1 give the score itself; the counts of a draw with replacement give a
resampled score. Clips of one song are not independent. So where songs are known, a second interval resamples songs with all
their clips (the cluster bootstrap); it is usually wider.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

LEVEL = 0.95
Summary = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Weights (draws, clips) -> {score: (draws,)}; nan where a draw leaves a score undefined."""


def resamples(
    clips: int, songs: Sequence[str] | None = None, *, draws: int = 2000, seed: int = 0
) -> dict[str, np.ndarray]:
    """{'': weights from resampled clips, '_song': weights from resampled songs}, each float (draws, clips).

    songs : the song of each clip; None if unknown. A kind with fewer than two clips or songs is absent.
    """
    result = {}
    rng = np.random.default_rng(seed)
    if clips > 1:
        result[""] = _counts(rng, draws, clips)
    if songs is not None and len(set(songs)) > 1:
        names, index = np.unique(np.asarray(songs), return_inverse=True)
        result["_song"] = _counts(rng, draws, len(names))[:, index]
    return result


def _counts(rng: np.random.Generator, draws: int, items: int) -> np.ndarray:
    """How often each item occurs in each of `draws` resamples with replacement: float (draws, items)."""
    picked = rng.integers(0, items, (draws, items)) + items * np.arange(draws)[:, None]
    return np.bincount(picked.ravel(), minlength=draws * items).reshape(draws, items).astype(float)


def with_intervals(summary: Summary, clips: int, weights: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Each score of `summary` with the bounds of its 95 % percentile interval.

    weights : from `resamples`. Returns {score, score_low, score_high, score_song_low, score_song_high}; bounds that are undefined
    (one clip, one song, nan in all draws) are absent.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = {name: float(value[0]) for name, value in summary(np.ones((1, clips))).items()}
        drawn = {kind: summary(w) for kind, w in weights.items()}
    result = {}
    for name, estimate in estimates.items():
        result[name] = estimate
        for kind, values in drawn.items():
            if not np.isnan(estimate) and not np.isnan(values[name]).all():
                bounds = np.nanpercentile(values[name], [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
                result[f"{name}{kind}_low"], result[f"{name}{kind}_high"] = map(float, bounds)
    return result


def weighted_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted mean (draws,) of values (clips,) under weights (draws, clips), without nan values; nan where none is left."""
    known = ~np.isnan(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (weights @ np.where(known, values, 0.0)) / (weights @ known.astype(float))


def weighted_deviation(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sample standard deviation (draws,), divisor n - 1, of values (clips,) without nan; nan for fewer than two."""
    centred = values - values.mean() if len(values) else values
    n = weights.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (weights @ centred**2 - (weights @ centred) ** 2 / n) / (n - 1)
    return np.where(n > 1, np.sqrt(np.clip(variance, 0, None)), np.nan)


def bootstrap_interval(values: np.ndarray, *, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high) of values (clips,), one per clip, without nan values; nan where mean or interval is undefined."""
    values = np.asarray(values, float)
    found = with_intervals(
        lambda w: {"mean": weighted_mean(w, values)}, len(values), resamples(len(values), draws=draws, seed=seed)
    )
    nan = float("nan")
    return found["mean"], found.get("mean_low", nan), found.get("mean_high", nan)
