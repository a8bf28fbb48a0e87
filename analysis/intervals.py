"""Intervals over seeds: Student's t for means, the bootstrap over seeds as clusters for anything else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_SEEDS = 5


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and the number of seeds behind it; low and high are NaN for too few."""

    value: float
    low: float
    high: float
    n: int

    def text(self, digits: int = 2) -> str:
        """`.71 [.68, .74] (n = 5)`, or the bare value when there are too few seeds for an interval."""
        if math.isnan(self.low):
            return f"{self.value:.{digits}f} (n = {self.n}, too small for an interval)"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}] (n = {self.n})"


def mean_t(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval; no interval below MIN_SEEDS values."""
    x = np.asarray(values, dtype=float)
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < MIN_SEEDS:
        return Interval(mean, math.nan, math.nan, n)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def cluster_bootstrap(
    statistic: Callable[[np.ndarray], float],
    clusters: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap that resamples whole clusters (seeds): trials of one seed share data and initial weights.

    `statistic` maps row indices to a number; `clusters` (N,) labels each row. Resamples whose statistic is undefined
    are left out. With few clusters the interval is coarse (five seeds have 126 distinct resamples); none below
    MIN_SEEDS clusters.
    """
    labels = np.unique(clusters)
    rows = [np.flatnonzero(clusters == label) for label in labels]
    value = statistic(np.arange(len(clusters)))
    if len(labels) < MIN_SEEDS:
        return Interval(value, math.nan, math.nan, len(labels))
    n = len(labels)
    counts = np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=resamples)
    distinct, times = np.unique(counts, axis=0, return_counts=True)  # few: the order of the clusters does not matter
    values = [
        statistic(np.concatenate([np.tile(r, c) for r, c in zip(rows, count, strict=True)])) for count in distinct
    ]
    draws = np.repeat(values, times)
    finite = [d for d in draws if math.isfinite(d)]
    if not finite:
        return Interval(value, math.nan, math.nan, len(labels))
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(value, float(low), float(high), len(labels))


def over_images(share: float, images: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a share of `images` images: how far one net's accuracy may lie from its accuracy on further
    images of the same kind. It says nothing about other seeds; NaN without an image. Source: Wilson 1927."""
    if images < 1 or math.isnan(share):
        return Interval(share, math.nan, math.nan, 1)
    z2 = float(stats.norm.ppf(0.5 + confidence / 2)) ** 2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = math.sqrt(z2 * (share * (1 - share) / images + z2 / (4 * images**2))) / (1 + z2 / images)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), 1)
