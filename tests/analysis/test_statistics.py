"""The statistics of claims: numbers done by hand, what must not move them, and how often noise passes them."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.claims import levels as lv
from analysis.claims import statistics as st
from analysis.intervals import Interval

FIVE = np.arange(5)
T = 2.776445  # Student's t, 4 degrees of freedom, 97.5 %
T90 = 2.131847
T975 = 3.495406


def half(values, t=T):
    return t * np.std(values, ddof=1) / math.sqrt(len(values))


def test_difference_by_hand():
    found = st.difference([3, 4, 5, 6, 7], [1, 2, 3, 4, 10], FIVE)
    paired = [2, 2, 2, 2, -3]
    assert (found.value, found.n) == (1.0, 5)
    assert found.high - found.value == pytest.approx(half(paired), rel=1e-6)


def test_equivalence_by_hand():
    found = st.equivalence([1.0, 1.1, 1.2, 0.9, 0.8], np.ones(5), FIVE)
    paired = [0.0, 0.1, 0.2, -0.1, -0.2]
    assert found.value == pytest.approx(0)
    assert found.high == pytest.approx(half(paired, T90), rel=1e-6)
    assert [st.p_within(found, margin) <= 0.05 for margin in (0.2, 0.1)] == [True, False]
    assert st.p_within(Interval(0.5, 0.4, 0.6, 5), 0.3) < 0.05, "outside, and told so"
    assert math.isnan(st.p_within(Interval(0.0, math.nan, math.nan, 3), 0.3))


def test_noninferiority_is_the_one_sided_test_above_the_negative_margin():
    random = np.random.default_rng(1)
    for _ in range(200):
        d = 1.5 * random.standard_normal() + random.standard_normal(8)
        side = "greater" if d.mean() > -0.9 else "less"
        found = st.equivalence(d, np.zeros(8), np.arange(8))
        assert st.p_above(found, 0.9) == pytest.approx(stats.ttest_1samp(d, -0.9, alternative=side).pvalue)
    assert math.isnan(st.p_above(Interval(0.0, math.nan, math.nan, 3), 0.3))


def test_equivalence_agrees_with_two_one_sided_tests():
    random = np.random.default_rng(0)
    for _ in range(200):
        d = 0.3 * random.standard_normal() + random.standard_normal(8)
        lower, upper = (stats.ttest_1samp(d, m, alternative=a).pvalue for m, a in ((-0.9, "greater"), (0.9, "less")))
        found = st.equivalence(d, np.zeros(8), np.arange(8))
        if abs(found.value) < 0.9:
            assert st.p_within(found, 0.9) == pytest.approx(max(lower, upper))


def test_ratio_by_hand():
    found = st.ratio([2, 8, 4, 4, 4], [1, 1, 1, 1, 1], FIVE)  # logarithms to base 2: 1, 3, 2, 2, 2
    reach = half([1, 3, 2, 2, 2])
    assert found.value == pytest.approx(4)
    assert (found.low, found.high) == pytest.approx((2 ** (2 - reach), 2 ** (2 + reach)), rel=1e-6)
    inverse = st.ratio(np.ones(5), [2, 8, 4, 4, 4], FIVE)
    assert (inverse.value, inverse.low) == pytest.approx((1 / 4, 1 / found.high))


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
def test_a_ratio_of_what_is_not_positive_is_none(a, b):
    assert math.isnan(st.ratio([a, 1, 1, 1, 1], [b, 1, 1, 1, 1], FIVE).value)


def test_growth_by_hand():
    found = st.growth(np.exp([1.0, 2.0, 3.0, 4.0, 5.0]), FIVE)
    assert found.value == pytest.approx(3)
    assert found.low == pytest.approx(3 - half([1, 2, 3, 4, 5]), rel=1e-6)
    assert math.isnan(st.growth([1, 1, 1, 1, 0], FIVE).value)


def test_interaction_by_hand():
    found = st.interaction([5, 5, 5, 5, 6], np.ones(5), [3, 3, 3, 3, 3], [2, 2, 2, 2, 1], FIVE)
    parts = [3, 3, 3, 3, 3]  # (5 - 1) - (3 - 2), ..., (6 - 1) - (3 - 1)
    assert (found.value, found.low, found.high) == (3, 3, 3)
    assert np.mean(parts) == found.value


def levels(*rows):
    """Places, values and seeds of a table with one row per seed."""
    y = np.array(rows, float)
    places = np.tile(np.arange(y.shape[1]), len(y))
    return places, y.ravel(), np.repeat(np.arange(len(y)), y.shape[1])


def test_order_by_hand():
    """Three levels in five seeds; of the six orders two are as far from none."""
    rising = st.order(*levels([1, 2, 3], [1, 2, 4], [0, 5, 9], [1, 2, 3], [2, 3, 4]))
    assert (rising.value, rising.high) == pytest.approx((1, 1))
    assert (rising.n, rising.levels, rising.nets) == (5, 3, 15)
    assert rising.low == pytest.approx(1 - 0.5 * (1 - 0.025**0.2))
    assert (rising.p_levels, rising.p_seeds, rising.p) == (pytest.approx(2 / 6), 0, pytest.approx(2 / 6))
    assert rising.ends.value == pytest.approx(np.mean([2, 3, 9, 2, 2]))
    one = st.order(*levels([1, 2, 3], [1, 2, 3], [2, 1, 3], [3, 2, 1], [3, 1, 2]))  # each seed's Spearman
    each = [1, 1, 0.5, -1, -0.5]
    assert one.value == pytest.approx(0.2)
    assert one.p_seeds == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
    assert st.order(*levels(*[[7, 7, 7]] * 5)).value == 0
    assert math.isnan(st.order(*levels(*[[1, 2]] * 5)).value)


def test_order_is_each_seeds_spearman_averaged():
    y = np.random.default_rng(1).integers(0, 4, (6, 5)).astype(float)
    found = st.order(*levels(*y))
    assert found.value == pytest.approx(np.mean([stats.spearmanr(range(5), row).statistic for row in y]))


def test_spearman_and_pearson_are_scipys_averaged_over_seeds():
    random = np.random.default_rng(8)
    x, y = random.standard_normal((2, 5, 6))
    x[:, 1] = x[:, 0]  # a tie
    place, seed = np.tile(np.arange(6), 5), np.repeat(np.arange(5), 6)
    for mine, theirs in ((st.spearman, stats.spearmanr), (st.pearson, stats.pearsonr)):
        found = mine(x.ravel(), y.ravel(), place, seed)
        assert found.value == pytest.approx(np.mean([theirs(a, b).statistic for a, b in zip(x, y, strict=True)]))
    infinite = np.where(place == 5, math.inf, x.ravel())
    assert st.spearman(infinite, y.ravel(), place, seed).levels == 6, "infinities rank last"
    assert st.pearson(infinite, y.ravel(), place, seed).levels == 5, "and have no place on a line"
    assert math.isnan(st.spearman(np.ones(30), y.ravel(), place, seed).value)


def test_the_p_value_of_levels_agrees_with_its_naive_twin():
    """All orders of the levels of y, alike for all seeds, one after another."""
    random = np.random.default_rng(9)
    for _ in range(5):
        x, y = (random.integers(0, 5, (4, 5)).astype(float) for _ in range(2))
        a, b = (lv.unit(lv.ranked(t)) for t in (x, y))
        sums = [abs((a * b[:, list(at)]).sum()) for at in itertools.permutations(range(5))]
        assert lv.p_of_levels(a, b) == pytest.approx(np.mean([s >= sums[0] - 1e-9 for s in sums]))


def test_many_levels_are_relabelled_at_random():
    place = np.tile(np.arange(12), (5, 1)).astype(float)
    rows = lv.unit(lv.ranked(place))
    assert lv.p_of_levels(rows, rows) == pytest.approx(1 / 40320)
    noise = lv.unit(lv.ranked(np.random.default_rng(3).standard_normal((5, 12))))
    assert 0.01 < lv.p_of_levels(rows, noise) <= 1


def test_a_hump_is_one_of_few_orders():
    """2^(L - 1) - 2 of L! orders rise to a level between the ends and fall."""
    assert lv.p_of_hump(np.array([[0.0, 1, 2, 1.5, 0.5, 0.2]])) == pytest.approx(30 / 720)
    assert lv.p_of_hump(np.array([[0.0, 1, 2, 3, 4, 5]])) == 1
    assert lv.p_of_hump(np.array([[0.0, 3, 1, 4, 2, 0.5]])) > 0.05


def test_a_level_or_a_seed_with_holes_is_left_out():
    """A level that most seeds lack goes first, so that no seed is lost for it."""
    place, seed = np.tile(np.arange(5), 5), np.repeat(np.arange(5), 5)
    y = np.arange(25.0)
    hole = ((place == 4) & (seed > 0)) | ((place == 1) & (seed == 2))
    (table,) = lv.grid(place[~hole], seed[~hole], y[~hole])
    assert table.tolist() == [[5 * s + p for p in range(4)] for s in (0, 1, 3, 4)]


def test_peak_by_hand():
    """The middle lies 1 above the left end, and 2, 2, 2, 2, 4.5 above the right one."""
    found = st.peak(*levels([0, 1, -1], [0, 1, -1], [0, 1, -1], [0, 1, -1], [0.5, 1.5, -3]))
    assert (found.value, found.low, found.n) == (1, 1, 5)
    ends = [1, 1, 1, 1, 2]
    uneven = st.peak(*levels(*[[0, e, 0] for e in ends]))
    assert uneven.value == pytest.approx(1.2)
    assert uneven.low == pytest.approx(1.2 - half(ends), rel=1e-6)
    assert uneven.high == pytest.approx(1.2 + half(ends, T975), rel=1e-5)


def test_a_rise_or_a_trough_is_no_peak():
    assert st.peak(*levels(*[[0, 1, 2, 3]] * 5)).high < 0
    assert st.peak(*levels(*[[0, -1, 0]] * 5)).high < 0
    assert math.isnan(st.peak(*levels(*[[0, 1]] * 5)).value)


def test_a_peak_is_sought_at_a_level_that_the_seeds_own_noise_did_not_choose():
    """Each seed has its own luckiest level; that is no peak of all."""
    y = np.zeros((5, 7))
    y[np.arange(5), 1 + np.arange(5)] = 1.0
    assert st.peak(*levels(*y)).value <= 0


def arguments(name, random, seeds=6):
    """Random arguments of a statistic, without the seeds, and those."""
    count = {"difference": 2, "equivalence": 2, "ratio": 2, "growth": 1, "interaction": 4}
    if name in count:
        return [np.exp(random.standard_normal(seeds)) for _ in range(count[name])], np.arange(seeds)
    places, y, which = levels(*random.standard_normal((seeds, 4)))
    return [random.standard_normal(len(y)), y, places] if name in ("spearman", "pearson") else [places, y], which


NAMES = ("spearman", "pearson", "difference", "equivalence", "ratio", "growth", "interaction", "order", "peak")


def numbers(found):
    return [found.value, found.low, found.high, found.n]


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_stand_twice_and_the_order_of_rows_change_nothing(name):
    random = np.random.default_rng(2)
    for _ in range(5):
        given, seeds = arguments(name, random)
        found = numbers(getattr(st, name)(*given, seeds))
        assert math.isfinite(found[1])
        twice = getattr(st, name)(*(np.concatenate([g, g]) for g in given), np.concatenate([seeds, seeds]))
        assert numbers(twice) == pytest.approx(found)
        shuffled = random.permutation(len(seeds))
        assert numbers(getattr(st, name)(*(g[shuffled] for g in given), seeds[shuffled])) == pytest.approx(found)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("ratio", "growth", "peak")])
def test_negation_turns_the_sign(name):
    given, seeds = arguments(name, np.random.default_rng(3))
    found = getattr(st, name)(*given, seeds)
    fixed = {"spearman": (0, 2), "pearson": (0, 2), "order": (0,)}.get(name, ())  # the other side, and the places
    turned = getattr(st, name)(*(g if i in fixed else -g for i, g in enumerate(given)), seeds)
    assert [turned.value, turned.low, turned.high] == pytest.approx([-found.value, -found.high, -found.low])
    assert turned.p == pytest.approx(found.p)


@pytest.mark.parametrize("name", ["ratio", "growth"])
def test_the_inverse_turns_the_logarithm(name):
    given, seeds = arguments(name, np.random.default_rng(4))
    log = np.log if name == "ratio" else np.asarray
    found = log(numbers(getattr(st, name)(*given, seeds))[:3])
    turned = log(numbers(getattr(st, name)(*(1 / g for g in given), seeds))[:3])
    assert turned.tolist() == pytest.approx([-found[0], -found[2], -found[1]])


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_is_left_out_and_nothing_is_nan(name):
    given, seeds = arguments(name, np.random.default_rng(5))
    found = getattr(st, name)(*given, seeds)
    more = [np.append(g, g[-1]).astype(float) for g in given]
    more[1 if name in ("spearman", "pearson") else -1][-1] = math.nan
    assert numbers(getattr(st, name)(*more, np.append(seeds, seeds[-1]))) == pytest.approx(numbers(found))
    nothing = getattr(st, name)(*(np.full(len(seeds), math.nan) for _ in given), seeds)
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)
    few = seeds < 4
    assert math.isnan(getattr(st, name)(*(g[few] for g in given), seeds[few]).low)
