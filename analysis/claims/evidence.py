"""The statistics that a claim can name, and how each is taken from the tables of its rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.claims import statistics
from analysis.claims.model import Claim
from analysis.claims.needs import ALPHA
from analysis.claims.statistics import NOTHING, Found
from study.spec.errors import UsageError
from study.spec.knobs import by_strength

Tables = Sequence[pd.DataFrame]
Take = Callable[[Tables, str, int], Found]
OF_A_NET = ("family", "seed", "status", "x", "y", "eps", "clean", "robust")  # the other columns of a table are axes


def places(table: pd.DataFrame, axis: str) -> np.ndarray:
    """The place of each net's level along an axis by strength (0, 1, ...); without an axis the point is the level."""
    if axis:
        place = {value: i for i, value in enumerate(by_strength(axis, table[axis]))}
        return table[axis].map(place).to_numpy()
    axes = [c for c in table if c not in OF_A_NET]
    return table.groupby(axes, dropna=False).ngroup().to_numpy() if axes else np.zeros(len(table))


def _above(found: Found, threshold: float | None) -> int:
    return int(found.low > 0) - int(found.high < 0)


def _large(found: Found, threshold: float | None) -> bool:
    return threshold is None or abs(found.value) >= threshold


def _more(found: Found, threshold: float | None) -> int:
    return int(found.low > 1) - int(found.high < 1)


def _factor(found: Found, threshold: float | None) -> bool:
    """A ratio's threshold is a factor above 1 (1.1: ten per cent more, or as much less)."""
    return threshold is None or not 1 / threshold < found.value < threshold


def _inside(found: Found, threshold: float | None) -> int:
    """1 where the mean difference lies within the margin, else -1."""
    return 1 if abs(found.value) < _margin(threshold) else -1


def _not_below(found: Found, threshold: float | None) -> int:
    """1 where the mean difference lies above the negative margin, else -1."""
    return 1 if found.value > -_margin(threshold) else -1


def _margin(threshold: float | None) -> float:
    if threshold is None:
        raise ValueError("the claim needs a threshold: the margin within which two numbers count as equal")
    return threshold


def _p(found: Found, threshold: float | None) -> float:
    return found.p


def _p_inside(found: Found, threshold: float | None) -> float:
    return statistics.p_within(found, _margin(threshold))


def _p_not_below(found: Found, threshold: float | None) -> float:
    return statistics.p_above(found, _margin(threshold))


def _pairs(take: Callable[..., Found]) -> Take:
    def taken(tables: Tables, axis: str, least: int) -> Found:
        table = tables[0]
        x, y, seeds = (table[c].to_numpy() for c in ("x", "y", "seed"))
        return take(x, y, places(table, axis), seeds, least) if len(table) else NOTHING

    return taken


def _levels(take: Callable[..., Found]) -> Take:
    def taken(tables: Tables, axis: str, least: int) -> Found:
        table = tables[0]
        y, seeds = table["y"].to_numpy(), table["seed"].to_numpy()
        return take(places(table, axis), y, seeds, least) if len(table) else NOTHING

    return taken


def _nets(take: Callable[..., Found]) -> Take:
    def taken(tables: Tables, axis: str, least: int) -> Found:
        y, seeds = tables[0]["y"].to_numpy(), tables[0]["seed"].to_numpy()
        return replace(take(y, seeds, least), nets=len(y)) if len(y) else NOTHING

    return taken


def _seeds(take: Callable[..., Found], count: int) -> Take:
    """The first `count` tables as one mean of y per seed each, over the seeds that all of them have."""

    def taken(tables: Tables, axis: str, least: int) -> Found:
        if len(tables) < count or any(t.empty for t in tables[:count]):
            return NOTHING
        columns = [t.groupby("seed", sort=False)["y"].mean() for t in tables[:count]]
        whole = pd.concat(columns, axis=1, join="inner")
        found = take(*(whole.iloc[:, i].to_numpy() for i in range(count)), np.asarray(whole.index), least)
        return replace(found, nets=sum(len(t) for t in tables[:count]))

    return taken


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A statistic as claims use it: its words, how it is taken of tables, and what its number says.

    `take(tables, axis, least)` gets the tables of the claim's rows and then of what they are compared with (`tables` of
    them: 1, 2 or 4), each with columns seed, y, the axes and, for pairs, x; no interval below `least` seeds. Of what
    was found and the claim's threshold `side` says on which side of no effect it lies (1, -1, 0), `large` whether it is
    worth speaking of, and `p` how often chance would do as much.
    """

    words: str
    kind: str
    explained: str
    take: Take
    tables: int = 1
    side: Callable[[Found, float | None], int] = _above
    large: Callable[[Found, float | None], bool] = _large
    p: Callable[[Found, float | None], float] = _p

    def sign(self, found: Found, threshold: float | None, p: float) -> int:
        """1 or -1 where p is at most .05 and the effect is worth speaking of; else 0."""
        told = p <= ALPHA * (1 + 1e-9) and self.large(found, threshold)  # 2 / 120 of three claims is .05 too
        return self.side(found, threshold) if told else 0


LEVELS = (
    "averaged over seeds, with a 95 % t interval over seeds on Fisher's scale: it covers the mean over further seeds "
    "at the same levels. p is the larger of two: that of the t test over seeds, and the exact one of permuting the "
    "levels, in all ways and alike for all seeds"
)
OVER_SEEDS = "with a 95 % t interval and the p value of the t test: its levels are named beforehand, so only seeds vary"
STATISTICS: dict[str, Statistic] = {
    "spearman": Statistic(
        words="mean Spearman's rho within seeds", kind="correlation", take=_pairs(statistics.spearman),
        explained=f"ρ is each seed's rank correlation over the judged levels, {LEVELS}.",
    ),
    "pearson": Statistic(
        words="mean Pearson's r within seeds", kind="correlation", take=_pairs(statistics.pearson),
        explained=f"r is each seed's correlation over the judged levels, {LEVELS}.",
    ),
    "difference": Statistic(
        words="mean difference", kind="difference", tables=2, take=_seeds(statistics.difference, 2),
        explained=f"A difference is taken within each seed, and averaged over seeds {OVER_SEEDS}.",
    ),
    "equivalence": Statistic(
        words="mean difference (90 % interval)", kind="difference", tables=2, side=_inside, large=lambda *_: True,
        p=_p_inside, take=_seeds(statistics.equivalence, 2),
        explained="Two numbers are equivalent where the 90 % t interval of their mean difference over seeds lies "
        "within the claim's margin (two one-sided tests).",
    ),
    "noninferiority": Statistic(
        words="mean difference (90 % interval)", kind="difference", tables=2, side=_not_below, large=lambda *_: True,
        p=_p_not_below, take=_seeds(statistics.equivalence, 2),
        explained="A number is not inferior to another where the 90 % t interval of their mean difference over seeds "
        "lies above the negative of the claim's margin (a one-sided test of 5 %), however far above.",
    ),
    "ratio": Statistic(
        words="mean ratio", kind="ratio", tables=2, side=_more, large=_factor, take=_seeds(statistics.ratio, 2),
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
        explained=f"Rank order is each seed's rank correlation of the outcome with the order of the levels, {LEVELS}.",
    ),
    "peak": Statistic(
        words="height of the peak", kind="peak", take=_levels(statistics.peak),
        explained="The height of a peak is how far the best level between the ends (chosen on the other seeds) lies "
        "above the higher end, averaged over seeds with a 95 % t interval. p is the largest of those of both ends and "
        "the exact one of the levels: how many of their orders rise and then fall as much.",
    ),
}  # fmt: skip


def statistic_of(claim: Claim) -> Statistic:
    """The statistic that a claim names; UsageError where there is none of that name."""
    if claim.statistic not in STATISTICS:
        raise UsageError(f"claim {claim.id}: statistic must be one of {', '.join(STATISTICS)}, got {claim.statistic!r}")
    return STATISTICS[claim.statistic]


def p_of(claim: Claim, found: Found) -> float:
    """The p value of a claim by itself."""
    return statistic_of(claim).p(found, claim.threshold)


def p_of_seeds(claim: Claim, found: Found) -> float:
    """Its p value where the levels are taken as they are."""
    return p_of(claim, found) if math.isnan(found.p_levels) else found.p_seeds


def sign(claim: Claim, found: Found, p: float) -> int:
    """1 or -1 where an effect of that sign is told from none at a p value, and is worth speaking of; else 0."""
    side = statistic_of(claim).sign(found, claim.threshold, p)
    return side if _moves(claim, found, side) else 0


def large(claim: Claim, found: Found) -> bool:
    """Whether an effect is worth speaking of, be it told from none or not."""
    way = 1 if found.value > 0 else -1
    return statistic_of(claim).large(found, claim.threshold) and _moves(claim, found, way)


def _moves(claim: Claim, found: Found, way: int) -> bool:
    """Whether the outcome moves between the ends of its levels by what the claim asks for, that way."""
    return claim.change is None or found.ends is None or way * found.ends.value >= claim.change
