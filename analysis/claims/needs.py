"""What each statistic of claims needs before it can say anything, and what a study's preset lacks of it.

Pure data and plain arithmetic, so that it can be said before anything is trained (no NumPy, no torch).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.claims.model import Claim, Rows
from study.spec.domains import Value
from study.spec.knobs import AXES, KNOBS
from study.spec.studies import Arm
from study.store.manifest import ArmRecord

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
    "ratio": _PAIR,
    "interaction": _PAIR,
    "growth": _PAIR,
}


def levels_for(statistic: str, family: int = 1) -> int:
    """The least levels at which a statistic can reach p <= .05 as the first of `family` claims under Holm."""
    needs = NEEDS[statistic]
    found = needs.levels
    while needs.least and needs.least(found) * family > ALPHA * (1 + 1e-9):
        found += 1
    return found


def unjudged(
    claims: Iterable[Claim],
    arms: Sequence[Arm | ArmRecord],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    slices: int = 1,
) -> dict[str, list[str]]:
    """Why claims cannot be judged by what a preset would train, whatever it finds: {id: reasons}, none where it can.

    `settings` are those that hold for the preset's data (by_data applied); a width that they do not name is the
    default. `slices` is at how many values of held axes each claim is judged: Holm counts them all.
    """
    asked = list(claims)
    family = max(1, len(asked) * slices)
    return {claim.id: why for claim in asked if (why := _reasons(claim, arms, seeds, settings, family))}


def _reasons(
    claim: Claim, arms: Sequence[Arm | ArmRecord], seeds: Sequence[int], settings: Mapping[str, Any], family: int
) -> list[str]:
    needs, out = NEEDS[claim.statistic], []
    if len(set(seeds)) < needs.seeds:
        out.append(f"{len(set(seeds))} of {needs.seeds} seeds: give {needs.seeds} or more")
    for rows in (claim.rows, *claim.against):
        if not any(arm.name == rows.arm for arm in arms):
            out.append(f"no arm {rows.arm}: add it")
    if any(arm.name == claim.rows.arm for arm in arms):
        out += _too_few_levels(claim, arms, settings, family)
    return out + _no_control(claim, arms)


def _values(arms: Sequence[Arm | ArmRecord], rows: Rows) -> list[Value]:
    """The values of the axis of some rows in the arms of their name."""
    found = [v for arm in arms if arm.name == rows.arm for v in arm.axes.get(rows.axis, ())]
    return list(dict.fromkeys(found))


def _too_few_levels(
    claim: Claim, arms: Sequence[Arm | ArmRecord], settings: Mapping[str, Any], family: int
) -> list[str]:
    rows, out = claim.rows, []
    if not rows.axis:
        return []
    values = _values(arms, rows)
    if missing := [v for axis, v in rows.at.items() if axis == rows.axis and v not in values]:
        out.append(f"arm {rows.arm} lacks {rows.axis} {', '.join(map(str, missing))}: add it")
    count, where = len(values), f"arm {rows.arm} has {len(values)} levels of {rows.axis}"
    if rows.axis == "rank" and claim.regime.structure:
        k = K * float(settings.get("width", KNOBS["width"].default))
        above = [v for v in values if v == AXES["rank"].default or float(v) > k]
        count = len(above) + (len(above) < len(values))  # of those at or below k the first alone is judged
        where = f"arm {rows.arm} has {len(above)} ranks above k = {k:g}, and of the others one counts: {count} levels"
    least = levels_for(claim.statistic, family)
    if claim.regime.structure:
        least = max(least, POINTS_BETWEEN + 2)
    if count < least:
        among = f" of {family} claims (Holm)" if family > 1 and NEEDS[claim.statistic].least else ""
        out.append(f"{where}; {claim.statistic}{among} needs {least} that can be judged: add {least - count} or more")
    return out


def _no_control(claim: Claim, arms: Sequence[Arm | ArmRecord]) -> list[str]:
    rows = claim.control_rows
    if rows is None:
        return ["the claim names no control: give it one"]
    if not any(arm.name == rows.arm for arm in arms):
        return [f"no control arm {rows.arm}: add it"]
    if rows.axis and NEEDS[claim.statistic].least and len(_values(arms, rows)) < CONTROL_LEVELS:
        have = len(_values(arms, rows))
        return [f"control arm {rows.arm} has {have} levels of {rows.axis} of the {CONTROL_LEVELS} that it needs"]
    return []
