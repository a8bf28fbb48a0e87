"""The statistics of claims: plain functions of arrays, each an estimate with its interval over seeds.

All take aligned arrays (N,) and the seed of each entry. A seed counts once: entries of one seed are averaged first, so
that rows that stand twice change nothing; the two correlations, which are over single nets, resample whole seeds. What
is NaN is left out; where nothing can be said the value is NaN, and below five seeds there is no interval (low and high
NaN). The seeds are the sample; the levels of a knob are taken as they are. An interval over seeds therefore does not
say what other levels would have shown.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from analysis.intervals import Interval, cluster_bootstrap, mean_t


def by_seed(values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The mean of each seed's values (N,), NaN left out, in the order in which the seeds first stand, (S,). A seed
    without a value is left out."""
    values, seeds = np.asarray(values, float), np.asarray(seeds)
    kept = ~np.isnan(values)
    values, seeds = values[kept], seeds[kept]
    return np.array([values[seeds == seed].mean() for seed in dict.fromkeys(seeds.tolist())])


def spearman(x: np.ndarray, y: np.ndarray, seeds: np.ndarray, resamples: int = 2000) -> Interval:
    """Spearman's rank correlation of (N,) pairs with the percentile bootstrap over seeds as clusters.

    rho = Pearson's r of the ranks, ties at their mean rank; ranks are taken anew in every resample. NaN where a side is
    constant or fewer than three pairs are left. Pairs with a NaN are left out; infinities rank last or first. With five
    seeds the interval is too narrow (see analysis.intervals.cluster_bootstrap), and it says nothing about other levels.
    Source: Spearman 1904; Field and Welsh 2007 (bootstrapping clustered data).
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


def difference(a: np.ndarray, b: np.ndarray, seeds: np.ndarray) -> Interval:
    """Mean over seeds of a - b, (N,) each and paired, with Student's t interval (95 %).

    NaN where no pair is whole. Source: Student 1908.
    """
    return mean_t(by_seed(np.asarray(a, float) - np.asarray(b, float), seeds))


def equivalence(a: np.ndarray, b: np.ndarray, seeds: np.ndarray) -> Interval:
    """Mean over seeds of a - b with its 90 % t interval: a and b are equivalent at the 5 % level within a margin where
    the whole interval lies inside (-margin, margin); see `within`.

    Two one-sided tests of 5 % each (TOST). Source: Schuirmann 1987.
    """
    return mean_t(by_seed(np.asarray(a, float) - np.asarray(b, float), seeds), confidence=0.90)


def within(found: Interval, margin: float) -> int:
    """1 where an interval lies inside (-margin, margin), -1 where it lies outside, else 0; a NaN gives 0."""
    if -margin < found.low and found.high < margin:
        return 1
    return -int(found.low >= margin or found.high <= -margin)


def ratio(a: np.ndarray, b: np.ndarray, seeds: np.ndarray) -> Interval:
    """Geometric mean over seeds of a / b, (N,) each and paired, with the t interval of its logarithm.

    NaN where a pair is not of two positive numbers (a ratio to 0 is no size of an effect).
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    found = growth(np.divide(a, b, out=np.full(a.shape, math.nan), where=b > 0), seeds)
    if not (a[~np.isnan(a)] > 0).all() or not (b[~np.isnan(b)] > 0).all():
        return Interval(math.nan, math.nan, math.nan, found.n)
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.n)


def growth(factor: np.ndarray, seeds: np.ndarray) -> Interval:
    """Mean over seeds of log(after / before), (N,) factors, with Student's t interval: above 0 where it has grown.

    NaN where a factor is 0 or negative.
    """
    factor = np.asarray(factor, float)
    if (factor <= 0).any():
        return Interval(math.nan, math.nan, math.nan, len(by_seed(factor, seeds)))
    return mean_t(by_seed(np.log(factor), seeds))


def interaction(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, seeds: np.ndarray) -> Interval:
    """Difference of differences: mean over seeds of (a - b) - (c - d), (N,) each and paired, with Student's t interval.

    Above 0 where going from b to a does more than going from d to c. NaN where no seed has all four.
    """
    a, b, c, d = (np.asarray(v, float) for v in (a, b, c, d))
    return mean_t(by_seed((a - b) - (c - d), seeds))


def _grid(levels: np.ndarray, y: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The mean of y by seed and level, (S, L), levels in rising order; a seed that lacks a level is left out."""
    levels, y, seeds = np.asarray(levels, float), np.asarray(y, float), np.asarray(seeds)
    kept = ~(np.isnan(y) | np.isnan(levels))
    levels, y, seeds = levels[kept], y[kept], seeds[kept]
    steps = np.unique(levels)
    rows = [[y[(seeds == s) & (levels == v)] for v in steps] for s in dict.fromkeys(seeds.tolist())]
    whole = [[cell.mean() for cell in row] for row in rows if all(len(cell) for cell in row)]
    return np.array(whole, float).reshape(len(whole), len(steps))


def order(levels: np.ndarray, y: np.ndarray, seeds: np.ndarray) -> Interval:
    """Monotone order: the mean over seeds of each seed's rank correlation of y with the place of its level.

    1 where y rises from level to level in every seed, -1 where it falls. `levels` (N,) are places along the knob (0, 1,
    2, ...). A seed whose y is constant counts 0. The interval is Student's t over seeds, and no narrower than
    1.96 / sqrt(S (L - 1)), what chance orders of L levels in S seeds spread over: five seeds that happen to agree would
    have none. NaN below three levels (two are a difference). It is Page's L, rescaled, for these levels; a rise that
    other levels would not show is a rise here. Source: Page 1963.
    """
    grid = _grid(levels, y, seeds)
    if grid.shape[1] < 3 or not len(grid):
        return Interval(math.nan, math.nan, math.nan, len(grid))
    places = np.arange(grid.shape[1]) - (grid.shape[1] - 1) / 2
    ranks = stats.rankdata(grid, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=1) * (places**2).sum())
    found = mean_t(np.divide(ranks @ places, size, out=np.zeros(len(grid)), where=size > 0))
    reach = max(found.high - found.value, stats.norm.ppf(0.975) / math.sqrt(grid.shape[0] * (grid.shape[1] - 1)))
    if math.isnan(found.low):
        return found
    return Interval(found.value, max(-1.0, found.value - reach), min(1.0, found.value + reach), found.n)


def peak(levels: np.ndarray, y: np.ndarray, seeds: np.ndarray) -> Interval:
    """An interior maximum beyond seed noise: how far the best interior level lies above the higher end.

    For each seed the best interior level is chosen on the other seeds' means, so that no seed is compared at a level
    that its own noise chose; the paired differences to either end are averaged over seeds, and the lesser one is the
    value. low is the lesser of the two 95 % t limits (both ends must be passed: intersection-union test), high the
    lesser of two 97.5 % ones (either end may be the one not passed). At or below 0 without such a maximum. `levels`
    (N,) are places along the knob. NaN below three levels or two seeds. Source: Berger 1982; the choice on the other
    seeds is cross-fitting.
    """
    grid = _grid(levels, y, seeds)
    n = len(grid)
    if grid.shape[1] < 3 or n < 2:
        return Interval(math.nan, math.nan, math.nan, n)
    others = (grid.sum(axis=0) - grid) / (n - 1)
    best = 1 + others[:, 1:-1].argmax(axis=1)
    top = grid[np.arange(n), best]
    ends = [top - grid[:, 0], top - grid[:, -1]]
    lows, highs = [mean_t(e) for e in ends], [mean_t(e, confidence=0.975) for e in ends]
    value, low = min(i.value for i in lows), float(np.min([i.low for i in lows]))
    return Interval(value, low, float(np.min([i.high for i in highs])), n)
