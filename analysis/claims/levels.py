"""Tables of seeds by levels, and exact tests whose unit is the level of the knob.

What is asked of a knob is asked of its levels: nets of one level share what the level does, so S seeds at L levels are
L cases, not S x L. Levels are relabelled alike for all seeds, in all L! ways.
"""

import itertools
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import stats

EXACT = 8  # levels; above, the same number of random orders is drawn instead of all 40 320
SLACK = 1e-9


def grid(levels: np.ndarray, seeds: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """The mean of each column (N,) by seed and level, (S, L) each: levels in rising order, seeds as they first stand.

    An entry with a NaN in any column is left out; then a level that fewer than half of the seeds have, then a seed that
    lacks one of the others. Rows that stand twice change nothing.
    """
    levels, seeds = np.asarray(levels, float), np.asarray(seeds)
    given = [np.asarray(c, float) for c in columns]
    kept: np.ndarray = np.all([~np.isnan(c) for c in (levels, *given)], axis=0)
    steps, place = np.unique(levels[kept], return_inverse=True)
    names, first, seed = np.unique(seeds[kept], return_index=True, return_inverse=True)
    shape = (len(names), len(steps))
    count = np.zeros(shape)
    np.add.at(count, (seed, place), 1)
    sums = [np.zeros(shape) for _ in given]
    for total, column in zip(sums, given, strict=True):
        np.add.at(total, (seed, place), column[kept])
    there = count > 0
    of_most = 2 * there.sum(axis=0) >= len(names)
    complete: np.ndarray = np.all(there[:, of_most], axis=1)
    whole = np.argsort(first)
    whole = whole[complete[whole]]
    return [(total / np.maximum(count, 1))[np.ix_(whole, np.flatnonzero(of_most))] for total in sums]


def ranked(table: np.ndarray) -> np.ndarray:
    """Ranks within each row of (S, L), ties at their mean rank."""
    return stats.rankdata(table, axis=1) if table.size else table


def unit(table: np.ndarray) -> np.ndarray:
    """Each row of (S, L) about its mean, at length 1; a row of one value stays 0."""
    centred = table - table.mean(axis=1, keepdims=True) if table.size else table
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-12)


@cache
def orders(levels: int) -> np.ndarray:
    """All orders of up to EXACT levels, (L!, L); of more, 40 320 that are drawn, the given one first."""
    if levels <= EXACT:
        return np.array(list(itertools.permutations(range(levels))))
    random = np.random.default_rng(0)
    drawn = [random.permutation(levels) for _ in range(math.factorial(EXACT) - 1)]
    return np.array([np.arange(levels), *drawn])


def share_at_least(score: Callable[[np.ndarray], np.ndarray], levels: int) -> float:
    """The share of all orders (P, L) of the levels whose score (P,) is at least that of the given one.

    It is a p value: where the levels of y stand in no relation to those of x, each order was as likely. Source: Fisher
    1935; Phipson and Smyth 2010 (the given order counts among those drawn).
    """
    found = score(orders(levels))
    return float((found >= found[0] - SLACK).mean())


def p_of_levels(x: np.ndarray, y: np.ndarray) -> float:
    """Two-sided p value of the sum over seeds of x_s . y_s, (S, L) unit rows each, the levels of y relabelled alike for
    all seeds: exact where they are exchangeable against those of x, whatever they do to y and whatever seeds do."""
    levels = x.shape[1]
    cross = x.T @ y
    return share_at_least(lambda at: np.abs(cross[np.arange(levels), at].sum(axis=1)), levels)


def p_of_hump(y: np.ndarray) -> float:
    """One-sided p value of a rise and then a fall: of all orders of the levels, the share whose means (L,) are so at
    least as much. The score of an order is the share of pairs of levels on one side of its highest mean (between the
    ends) that stand as they would on a hump; 0 where an end is the highest. Source: Mack and Wolfe 1981 (umbrella
    alternatives), with the levels for units."""
    means = y.mean(axis=0)
    levels = len(means)
    up = np.sign(means[None, :] - means[:, None])  # up[i, j]: 1 where level j lies above level i

    def score(at: np.ndarray) -> np.ndarray:
        top = means[at].argmax(axis=1)
        right, pairs = np.zeros(len(at)), np.zeros(len(at))
        for i, j in itertools.combinations(range(levels), 2):
            rises = up[at[:, i], at[:, j]]
            right += np.where(j <= top, rises > 0, np.where(i >= top, rises < 0, False))
            pairs += (j <= top) | (i >= top)
        return np.where((top > 0) & (top < levels - 1), right / pairs, 0.0)

    return share_at_least(score, levels)
