"""Confidence intervals by resampling clips: nothing is assumed about the distribution of scores."""

import numpy as np


def bootstrap_interval(
    values: np.ndarray, *, statistic=None, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """(estimate, low, high) of a statistic of per-clip values; percentile bootstrap over clips.

    values : float (N,) or (N, K) rows per clip; rows with nan are left out. statistic : function of such an array to a
    float, default the mean. An empty or one-clip input gives nan bounds. A difference of two scores of the same clip
    given as one value per clip makes this the paired bootstrap.
    """
    values = np.asarray(values, float)
    rows = values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)] if len(values) else values
    if len(rows) == 0:
        return float("nan"), float("nan"), float("nan")
    statistic = statistic or (lambda v: float(np.mean(v)))
    if len(rows) == 1:
        return statistic(rows), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = [statistic(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(draws)]
    low, high = np.nanpercentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return statistic(rows), float(low), float(high)
