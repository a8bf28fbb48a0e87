"""Correlation with an interval over seeds as clusters."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from analysis.intervals import Interval, cluster_bootstrap


def spearman(x: np.ndarray, y: np.ndarray, seeds: np.ndarray, resamples: int = 2000) -> Interval:
    """Spearman's rho of (N,) pairs, with the bootstrap interval over their seeds; NaN where a side is constant.

    Ranks are taken anew in every resample. Pairs with a NaN are left out; infinities rank last or first.
    """
    return _correlation(x, y, seeds, resamples, stats.rankdata)


def pearson(x: np.ndarray, y: np.ndarray, seeds: np.ndarray, resamples: int = 2000) -> Interval:
    """Pearson's r of (N,) pairs of finite numbers, with the same interval; NaN where a side is constant."""
    return _correlation(x, y, seeds, resamples, np.asarray)


def _correlation(
    x: np.ndarray, y: np.ndarray, seeds: np.ndarray, resamples: int, scale: Callable[[np.ndarray], np.ndarray]
) -> Interval:
    x, y, seeds = np.asarray(x, float), np.asarray(y, float), np.asarray(seeds)
    kept = ~(np.isnan(x) | np.isnan(y))
    x, y, seeds = x[kept], y[kept], seeds[kept]

    def r(index: np.ndarray) -> float:
        a, b = scale(x[index]), scale(y[index])
        if len(index) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
            return math.nan
        a, b = a - a.mean(), b - b.mean()
        return float((a * b).sum() / math.sqrt(float((a * a).sum() * (b * b).sum())))

    return cluster_bootstrap(r, seeds, resamples=resamples)
