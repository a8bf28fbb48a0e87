"""The statistics of claims: plain functions of arrays, each an estimate with its interval over seeds and its p value.

All take aligned arrays (N,) and the seed of each entry. A seed counts once: entries of one seed (and level) are
averaged first, so that rows that stand twice change nothing. What is NaN is left out; where nothing can be said the
value is NaN, and below `least` seeds (five) there is no interval and no p value (NaN).

Where a claim names the levels that it compares, seeds alone are the sample, and Student's t says how far others would
lie: `difference`, `equivalence` (and noninferiority, which has its numbers), `ratio`, `interaction`, `growth`. Where it
says that something follows the levels of a knob (`spearman`, `pearson`, `order`, `peak`), the levels are the sample
too: five seeds that repeat what six levels happen to do are no thirty cases. Then p is the larger of two: that of the
seeds, and the exact one of the levels (analysis.claims.levels). The interval stays one over seeds, at these levels.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.claims import levels as over_levels
from analysis.claims.levels import grid, ranked, unit
from analysis.intervals import MIN_SEEDS, Interval, mean_coefficient, mean_t, p_of_mean


@dataclass(frozen=True)
class Found(Interval):
    """An estimate over seeds with its p value, of how many levels and nets it is, and what it is made of.

    `p` is what a verdict goes by: the larger of `p_seeds` and, where the unit is the level, `p_levels`. `ends` is how
    far y changes from the level of the least x to that of the largest, in y's own unit.
    """

    p: float = math.nan
    p_seeds: float = math.nan
    p_levels: float = math.nan
    levels: int = 0
    nets: int = 0
    ends: Interval | None = None


NOTHING = Found(math.nan, math.nan, math.nan, 0)


def by_seed(values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The mean of each seed's values (N,), NaN left out, in the order in which the seeds first stand, (S,). A seed
    without a value is left out."""
    values, seeds = np.asarray(values, float), np.asarray(seeds)
    kept = ~np.isnan(values)
    values, seeds = values[kept], seeds[kept]
    return np.array([values[seeds == seed].mean() for seed in dict.fromkeys(seeds.tolist())])


def _paired(each: np.ndarray, least: int, confidence: float = 0.95) -> Found:
    """The mean of one number per seed (S,)."""
    found, p = mean_t(each, confidence, least), p_of_mean(each, least)
    return Found(found.value, found.low, found.high, found.n, p=p, p_seeds=p)


def coefficients(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each seed's coefficient (S,) over its levels, of (S, L) unit rows."""
    return (x * y).sum(axis=1)


def _along(x: np.ndarray, y: np.ndarray, raw: np.ndarray, least: int, step: float) -> Found:
    """The mean over seeds of each seed's coefficient between unit rows x and y (S, L); `raw` is y in its own unit."""
    seeds, count = x.shape
    if count < 3 or not seeds or not x.any():
        return Found(math.nan, math.nan, math.nan, seeds, levels=count, nets=x.size)
    each = coefficients(x, y)
    found, p_seeds = mean_coefficient(each, step, least), p_of_mean(each, least)
    p_levels = over_levels.p_of_levels(x, y)
    place = x.mean(axis=0)
    ends = mean_t(raw[:, place.argmax()] - raw[:, place.argmin()], least=least)
    return Found(
        found.value, found.low, found.high, found.n, p=float(np.maximum(p_seeds, p_levels)), p_seeds=p_seeds,
        p_levels=p_levels, levels=count, nets=x.size, ends=ends,
    )  # fmt: skip


def step_of(count: int) -> float:
    """The least change of a rank correlation of L places without ties: two neighbours swapped."""
    return 12 / (count * (count * count - 1)) if count > 1 else 0.0


def spearman(x: np.ndarray, y: np.ndarray, levels: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Spearman's rank correlation of x and y (N,) over the levels, taken within each seed and averaged over seeds.

    Ties stand at their mean rank; a seed whose x or y is constant counts 0; infinities rank last or first. NaN below
    three levels, or where x is constant in every seed. p is the larger of that of the seeds (Student's t) and that of
    the levels (those of y relabelled alike for all seeds against those of x). Source: Spearman 1904.
    """
    a, b = grid(levels, seeds, x, y)
    return _along(unit(ranked(a)), unit(ranked(b)), b, least, step_of(a.shape[1]))


def pearson(x: np.ndarray, y: np.ndarray, levels: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Pearson's r in the same way; a pair with an infinity is left out."""
    finite = np.isfinite(np.asarray(x, float)) & np.isfinite(np.asarray(y, float))
    a, b = grid(*(np.asarray(v)[finite] for v in (levels, seeds, x, y)))
    return _along(unit(a), unit(b), b, least, 0.0)


def order(levels: np.ndarray, y: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Monotone order: Spearman's rank correlation of y with the places of its levels (N,), 0, 1, 2, ... along the knob.

    1 where y rises from level to level in every seed, -1 where it falls: Page's L, rescaled, judged as `spearman` is.
    Source: Page 1963.
    """
    return spearman(levels, y, levels, seeds, least)


def difference(a: np.ndarray, b: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Mean over seeds of a - b, (N,) each and paired, with Student's t interval (95 %).

    NaN where no pair is whole. Source: Student 1908.
    """
    return _paired(by_seed(np.asarray(a, float) - np.asarray(b, float), seeds), least)


def equivalence(a: np.ndarray, b: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Mean over seeds of a - b with its 90 % t interval: a and b are equivalent at the 5 % level within a margin where
    the whole interval lies inside (-margin, margin); see `p_within`.

    Two one-sided tests of 5 % each (TOST). Source: Schuirmann 1987.
    """
    return _paired(by_seed(np.asarray(a, float) - np.asarray(b, float), seeds), least, 0.90)


def p_within(found: Interval, margin: float) -> float:
    """The p value that `equivalence` is judged by, from its 90 % interval: of two one-sided tests that the mean lies
    inside (-margin, margin) where it does, else that it lies outside. NaN without an interval."""
    if math.isnan(found.low):
        return math.nan
    return _p_of_room(found, margin - abs(found.value))


def p_above(found: Interval, margin: float) -> float:
    """The p value that `noninferiority` is judged by, from its 90 % interval: of the one-sided test that the mean lies
    above -margin where it does, else that it lies below. NaN without an interval. Source: Blackwelder 1982."""
    return math.nan if math.isnan(found.low) else _p_of_room(found, found.value + margin)


def _p_of_room(found: Interval, room: float) -> float:
    error = (found.high - found.low) / 2 / float(stats.t.ppf(0.95, found.n - 1))
    return float(stats.t.sf(abs(room) / error, found.n - 1)) if error > 0 else float(room == 0)


def ratio(a: np.ndarray, b: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Geometric mean over seeds of a / b, (N,) each and paired, with the t interval of its logarithm.

    NaN where a pair is not of two positive numbers (a ratio to 0 is no size of an effect).
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    found = growth(np.divide(a, b, out=np.full(a.shape, math.nan), where=b > 0), seeds, least)
    if not (a[~np.isnan(a)] > 0).all() or not (b[~np.isnan(b)] > 0).all():
        return Found(math.nan, math.nan, math.nan, found.n)
    return replace(found, value=math.exp(found.value), low=math.exp(found.low), high=math.exp(found.high))


def growth(factor: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """Mean over seeds of log(after / before), (N,) factors, with Student's t interval: above 0 where it has grown.

    NaN where a factor is 0 or negative.
    """
    factor = np.asarray(factor, float)
    if (factor <= 0).any():
        return Found(math.nan, math.nan, math.nan, len(by_seed(factor, seeds)))
    return _paired(by_seed(np.log(factor), seeds), least)


def interaction(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS
) -> Found:
    """Difference of differences: mean over seeds of (a - b) - (c - d), (N,) each and paired, with Student's t interval.

    Above 0 where going from b to a does more than going from d to c. NaN where no seed has all four.
    """
    a, b, c, d = (np.asarray(v, float) for v in (a, b, c, d))
    return _paired(by_seed((a - b) - (c - d), seeds), least)


def peak(levels: np.ndarray, y: np.ndarray, seeds: np.ndarray, least: int = MIN_SEEDS) -> Found:
    """An interior maximum beyond seed noise: how far the best interior level lies above the higher end.

    For each seed the best interior level is chosen on the other seeds' means, so that no seed is compared at a level
    that its own noise chose; the paired differences to either end are averaged over seeds, and the lesser one is the
    value. low is the lesser of the two 95 % t limits (both ends must be passed: intersection-union test), high the
    lesser of two 97.5 % ones (either end may be the one not passed). p is the larger of three: either end's, and the
    exact one of the levels that their means rise and then fall (`levels.p_of_hump`: an interior level of any shape
    would stand above both ends by chance in L - 2 of L orders). It speaks of a peak alone: 1 where there is none.
    `levels` (N,) are places along the knob. NaN below three levels or two seeds. Source: Berger 1982; the choice on the
    other seeds is cross-fitting.
    """
    (table,) = grid(levels, seeds, y)
    n, count = table.shape
    if count < 3 or n < 2:
        return Found(math.nan, math.nan, math.nan, n, levels=count, nets=table.size)
    others = (table.sum(axis=0) - table) / (n - 1)
    best = 1 + others[:, 1:-1].argmax(axis=1)
    top = table[np.arange(n), best]
    ends = [top - table[:, 0], top - table[:, -1]]
    lows, highs = [mean_t(e, least=least) for e in ends], [mean_t(e, 0.975, least) for e in ends]
    value, low = min(i.value for i in lows), float(np.min([i.low for i in lows]))
    p_seeds = float(np.max([p_of_mean(e, least) for e in ends])) if value > 0 or n < least else 1.0
    p_levels = over_levels.p_of_hump(table)
    return Found(
        value, low, float(np.min([i.high for i in highs])), n, p=float(np.maximum(p_seeds, p_levels)),
        p_seeds=p_seeds, p_levels=p_levels, levels=count, nets=table.size,
    )  # fmt: skip
