"""Which claims can never be judged, whatever is trained."""

from collections.abc import Sequence

from analysis.claims.model import Claim
from study.spec.errors import UsageError, closest
from study.spec.measuring import NORMS
from study.spec.studies import Arm
from study.store.manifest import ArmRecord

CORRELATIONS = ("spearman", "pearson")
COEFFICIENTS = (*CORRELATIONS, "order")


def check_terms(claim: Claim) -> None:
    """UsageError where a term of a claim, or its regime, is of a norm that no table has, and where its statistic lacks
    what it is taken of, or is judged by a number that no effect could ever be told by."""
    if why := _never(claim):
        raise UsageError(f"claim {claim.id}: {why}")
    terms = [wanted for r in claim.all_rows for wanted in (r.y, r.x) if wanted]
    norms = [t.norm for t in terms if t.norm is not None or t.judged]
    for norm in [*norms, *([claim.regime.robust] if claim.regime.robust else [])]:
        if norm not in NORMS:
            raise UsageError(f"claim {claim.id}: norm must be one of {', '.join(NORMS)}, got {norm!r}")


def _never(claim: Claim) -> str:
    """Why a claim can never be judged by the numbers that it gives, in words; nothing where it can."""
    name, threshold = claim.statistic, claim.threshold
    if claim.expected not in (-1, 1):
        return f"expected is the sign of the effect, 1 or -1, got {claim.expected!r}"
    if name != "peak" and any(c.control and c.control.planted for c in claim.controls):
        return f"a hump is planted for a peak alone, got {name}"
    if name in CORRELATIONS and claim.rows.x is None:
        return f"{name} is of two numbers of a net; its rows name no x"
    if claim.change is not None and not claim.change >= 0:
        return f"change must not be negative, got {claim.change!r}"
    if name in ("equivalence", "noninferiority") and (threshold is None or not threshold > 0):
        return f"{name} needs a threshold above 0, within which numbers count as equal, got {threshold!r}"
    if threshold is None:
        return ""
    if name == "ratio" and not threshold > 1:
        return f"the threshold of a ratio is a factor above 1 (1.1: a tenth more, or as much less), got {threshold!r}"
    if name in COEFFICIENTS and not 0 < threshold <= 1:
        return f"the threshold of {name} is a coefficient above 0 and at most 1, got {threshold!r}"
    return "" if threshold >= 0 else f"the threshold must not be negative, got {threshold!r}"


def check_arms(claim: Claim, arms: Sequence[Arm | ArmRecord]) -> None:
    """UsageError where a claim is about an arm that none of these is, or about an axis that no arm of its name moves.

    The control is not looked at: without its arm, no verdict is said.
    """
    names = list(dict.fromkeys(arm.name for arm in arms))
    for rows in (claim.rows, *claim.against):
        if rows.arm not in names:
            near = closest(rows.arm, names)
            raise UsageError(f"claim {claim.id}: no preset has an arm {rows.arm!r}{near} Arms: {', '.join(names)}")
    asked = claim.rows
    moved = dict.fromkeys(
        axis for arm in arms if arm.name == asked.arm for axis, values in arm.axes.items() if len(set(values)) > 1
    )
    if asked.axis and asked.axis not in moved:
        raise UsageError(
            f"claim {claim.id}: no preset's arm {asked.arm!r} moves the axis {asked.axis!r}"
            f"{closest(asked.axis, moved)} It moves: {', '.join(moved) or 'nothing'}"
        )
