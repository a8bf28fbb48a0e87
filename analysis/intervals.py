"""Intervals over seeds: Student's t for means, on Fisher's scale for coefficients; Wilson's over images for one net."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.claims.needs import MIN_SEEDS as MIN_SEEDS


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and the number of seeds behind it; low and high are NaN for too few."""

    value: float
    low: float
    high: float
    n: int

    def numbers(self, digits: int = 2) -> str:
        """`.71 [.68, .74]`, or the bare value where there is no interval."""
        spread = "" if math.isnan(self.low) else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.value:.{digits}f}{spread}"

    def text(self, digits: int = 2) -> str:
        """`.71 [.68, .74] (n = 5)`, or the bare value when there are too few seeds for an interval."""
        few = ", too small for an interval" if math.isnan(self.low) else ""
        return f"{self.numbers(digits)} (n = {self.n}{few})"


def _half(x: np.ndarray, confidence: float) -> float:
    """Half the width of Student's t interval of a mean."""
    n = len(x)
    return float(stats.t.ppf(0.5 + confidence / 2, n - 1) * x.std(ddof=1) / math.sqrt(n))


def mean_t(values: Sequence[float] | np.ndarray, confidence: float = 0.95, least: int = MIN_SEEDS) -> Interval:
    """Mean with Student's t interval; no interval below `least` values."""
    x = np.asarray(values, dtype=float)
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < max(2, least):
        return Interval(mean, math.nan, math.nan, n)
    half = _half(x, confidence)
    return Interval(mean, mean - half, mean + half, n)


def p_of_mean(values: Sequence[float] | np.ndarray, least: int = MIN_SEEDS) -> float:
    """Two-sided p value of Student's t test that the mean is 0: at most .05 where `mean_t` leaves 0 out; NaN below
    `least` values. Values that are all the same leave no doubt: 0, or 1 where they are 0."""
    x = np.asarray(values, dtype=float)
    if len(x) < max(2, least):
        return math.nan
    mean, error = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x))
    if error <= 1e-12 * abs(mean):
        return 0.0 if mean else 1.0
    return float(2 * stats.t.sf(abs(mean) / error, len(x) - 1))


def mean_coefficient(coefficients: Sequence[float] | np.ndarray, step: float = 0.0, least: int = MIN_SEEDS) -> Interval:
    """The mean of S seeds' correlation coefficients with its 95 % interval.

    Student's t interval of the coefficients is carried to Fisher's z = artanh at their mean and back, so that it stays
    within [-1, 1] and is the longer towards 0, there at most twice as long as before. Seeds that all have one and the
    same coefficient leave no spread: then it reaches as far as step x (1 - .025^(1/S)), `step` being the least change
    that a rank correlation can show, and the bracket the largest share of other seeds of which S seeds would not show
    one in 40 times. It covers the mean over further seeds at the same levels (with five seeds in 93 to 97 of 100 cases,
    more where almost all coefficients are 1: `python -m benchmarks.verdicts`); of other levels it says nothing.
    Source: Fisher 1921; the delta method.
    """
    r = np.asarray(coefficients, dtype=float)
    n = len(r)
    mean = float(r.mean()) if n else math.nan
    if n < max(2, least) or math.isnan(mean):
        return Interval(mean, math.nan, math.nan, n)
    if np.ptp(r) < 1e-9:
        reach = step * (1 - 0.025 ** (1 / n))
        return Interval(mean, max(-1.0, mean - reach), min(1.0, mean + reach), n)
    half = _half(r, 0.95)
    z, reach = math.atanh(mean), half / (1 - mean * mean)
    low, high = math.tanh(z - reach), math.tanh(z + reach)
    return Interval(mean, max(low, mean - 2 * half), min(high, mean + 2 * half), n)


def over_images(share: float, images: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a share of `images` images: how far one net's accuracy may lie from its accuracy on further
    images of the same kind. It says nothing about other seeds; NaN without an image. Source: Wilson 1927."""
    if images < 1 or math.isnan(share):
        return Interval(share, math.nan, math.nan, 1)
    z2 = float(stats.norm.ppf(0.5 + confidence / 2)) ** 2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = math.sqrt(z2 * (share * (1 - share) / images + z2 / (4 * images**2))) / (1 + z2 / images)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), 1)
