"""The statistics that a claim can name, and how each is taken from the tables of its rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.claims import statistics
from analysis.intervals import Interval
from study.spec.knobs import by_strength

NOTHING = Interval(math.nan, math.nan, math.nan, 0)
Tables = Sequence[pd.DataFrame]


def _sign(found: Interval, threshold: float | None, null: float = 0.0) -> int:
    """1 or -1 where the interval lies on one side of no effect, and the effect is worth speaking of; else 0."""
    small = threshold is not None and abs(found.value - null) < threshold
    return 0 if small else int(found.low > null) - int(found.high < null)


def _factor(found: Interval, threshold: float | None) -> int:
    """The same for a ratio, whose threshold is a factor above 1 (1.1: ten per cent more, or as much less)."""
    small = threshold is not None and 1 / threshold < found.value < threshold
    return 0 if small else _sign(found, None, 1.0)


def _inside(found: Interval, threshold: float | None) -> int:
    """1 where the interval lies within the margin, -1 where it lies outside."""
    if threshold is None:
        raise ValueError("an equivalence needs a threshold: the margin within which two numbers count as equal")
    return statistics.within(found, threshold)


def _pairs(take: Callable[..., Interval]) -> Callable[[Tables, str], Interval]:
    def taken(tables: Tables, axis: str) -> Interval:
        table = tables[0]
        return take(*(table[c].to_numpy() for c in ("x", "y", "seed"))) if len(table) else NOTHING

    return taken


def _levels(take: Callable[..., Interval]) -> Callable[[Tables, str], Interval]:
    def taken(tables: Tables, axis: str) -> Interval:
        table = tables[0]
        if table.empty:
            return NOTHING
        place = {value: i for i, value in enumerate(by_strength(axis, table[axis]))}
        return take(table[axis].map(place).to_numpy(), table["y"].to_numpy(), table["seed"].to_numpy())

    return taken


def _nets(take: Callable[..., Interval]) -> Callable[[Tables, str], Interval]:
    def taken(tables: Tables, axis: str) -> Interval:
        return take(tables[0]["y"].to_numpy(), tables[0]["seed"].to_numpy()) if len(tables[0]) else NOTHING

    return taken


def _seeds(take: Callable[..., Interval], count: int) -> Callable[[Tables, str], Interval]:
    """The first `count` tables as one mean of y per seed each, over the seeds that all of them have."""

    def taken(tables: Tables, axis: str) -> Interval:
        if len(tables) < count or any(t.empty for t in tables[:count]):
            return NOTHING
        columns = [t.groupby("seed", sort=False)["y"].mean() for t in tables[:count]]
        whole = pd.concat(columns, axis=1, join="inner")
        return take(*(whole.iloc[:, i].to_numpy() for i in range(count)), np.asarray(whole.index))

    return taken


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A statistic as claims use it: its words, how it is taken of tables, on which side of no effect it lies.

    `take(tables, axis)` gets the tables of the claim's rows and then of what they are compared with (`tables` of them:
    1, 2 or 4), each with columns seed, y, the axes and, for pairs, x. `sign(interval, threshold)` is 1, 0 or -1.
    """

    words: str
    kind: str
    explained: str
    take: Callable[[Tables, str], Interval]
    tables: int = 1
    sign: Callable[[Interval, float | None], int] = _sign


CLUSTERS = "its 95 % interval resamples seeds as clusters (2000 times)"
OVER_SEEDS = "with a 95 % t interval"
STATISTICS: dict[str, Statistic] = {
    "spearman": Statistic(
        words="Spearman's rho", kind="correlation", take=_pairs(statistics.spearman),
        explained=f"ρ is Spearman's rank correlation over single nets; {CLUSTERS}.",
    ),
    "pearson": Statistic(
        words="Pearson's r", kind="correlation", take=_pairs(statistics.pearson),
        explained=f"r is Pearson's correlation over single nets; {CLUSTERS}.",
    ),
    "difference": Statistic(
        words="mean difference", kind="difference", tables=2, take=_seeds(statistics.difference, 2),
        explained=f"A difference is taken within each seed, and averaged over seeds {OVER_SEEDS}.",
    ),
    "equivalence": Statistic(
        words="mean difference (90 % interval)", kind="difference", tables=2, sign=_inside,
        take=_seeds(statistics.equivalence, 2),
        explained="Two numbers are equivalent where the 90 % t interval of their mean difference over seeds lies "
        "within the claim's margin (two one-sided tests).",
    ),
    "ratio": Statistic(
        words="mean ratio", kind="ratio", tables=2, sign=_factor, take=_seeds(statistics.ratio, 2),
        explained=f"A ratio is taken within each seed; the geometric mean over seeds {OVER_SEEDS}.",
    ),
    "interaction": Statistic(
        words="difference of differences", kind="difference", tables=4, take=_seeds(statistics.interaction, 4),
        explained=f"A difference of differences is taken within each seed, and averaged over seeds {OVER_SEEDS}.",
    ),
    "growth": Statistic(
        words="mean log growth", kind="growth", take=_nets(statistics.growth),
        explained=f"Growth is the logarithm of after over before, averaged over seeds {OVER_SEEDS}.",
    ),
    "order": Statistic(
        words="mean rank order", kind="order", take=_levels(statistics.order),
        explained="Order is each seed's rank correlation with the places of the levels, averaged over seeds "
        f"{OVER_SEEDS}.",
    ),
    "peak": Statistic(
        words="height of the peak", kind="peak", take=_levels(statistics.peak),
        explained="The height of a peak is how far the best level between the ends (chosen on the other seeds) lies "
        f"above the higher end, averaged over seeds {OVER_SEEDS}.",
    ),
}  # fmt: skip
