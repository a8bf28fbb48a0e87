"""What each statistic of claims needs before it can say anything; analysis/claims/foresight.py says what a sweep lacks.

Pure data and plain arithmetic, so that it can be said before anything is trained (no NumPy, no torch).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

ALPHA = 0.05
MIN_SEEDS = 5
POINTS_BETWEEN = 3  # judged levels between the least and the most compressible one
CONTROL_LEVELS = 3  # a control is judged over seeds alone: two levels have no order
K = 0.1  # the share of entries that compressibility keeps: a rank at or below it leaves a residual of 0


@dataclass(frozen=True)
class Needs:
    """The least number of seeds, and of levels of the claim's knob, at which a statistic can reach p <= .05 for one
    claim by itself; `least` is its smallest p at a number of levels (none: levels do not matter)."""

    seeds: int
    levels: int
    why: str
    least: Callable[[int], float] | None = None


def _orders(levels: int) -> float:
    """Two of the L! orders of L levels are the most extreme: as x, and against it."""
    return 2 / math.factorial(levels)


def _humps(levels: int) -> float:
    """2^(L - 1) - 2 of the L! orders rise to a level between the ends and fall from there."""
    return (2 ** (levels - 1) - 2) / math.factorial(levels)


_RANKS = Needs(MIN_SEEDS, 5, "the levels of the knob are relabelled in all L! ways, alike for all seeds", _orders)
_PAIR = Needs(MIN_SEEDS, 1, "the levels compared are named beforehand; seeds alone vary (Student's t)")
NEEDS: dict[str, Needs] = {
    "spearman": _RANKS,
    "pearson": _RANKS,
    "order": _RANKS,
    "peak": Needs(MIN_SEEDS, 6, "of L! orders of the levels 2^(L - 1) - 2 rise and then fall", _humps),
    "difference": _PAIR,
    "equivalence": _PAIR,
    "noninferiority": _PAIR,
    "ratio": _PAIR,
    "interaction": _PAIR,
    "growth": _PAIR,
}


def many(count: int, what: str) -> str:
    """A count in words: 1 level, 5 levels."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def levels_for(statistic: str, family: int = 1) -> int:
    """The least levels at which a statistic can reach p <= .05 as the first of `family` claims under Holm."""
    needs = NEEDS[statistic]
    found = needs.levels
    while needs.least and needs.least(found) * family > ALPHA * (1 + 1e-9):
        found += 1
    return found
