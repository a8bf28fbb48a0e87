"""Which claims can never be judged, whatever is trained."""

from collections.abc import Sequence

from analysis.claims.model import Claim
from study.spec.errors import UsageError, closest
from study.spec.knobs import NORMS
from study.spec.studies import Arm
from study.store.manifest import ArmRecord


def check_terms(claim: Claim) -> None:
    """UsageError where a term of a claim, or its regime, is of a norm that no table has."""
    rows = (claim.rows, *claim.against, *([claim.control_rows] if claim.control_rows else []))
    terms = [wanted for r in rows for wanted in (r.y, r.x) if wanted]
    norms = [t.norm for t in terms if t.norm is not None or t.judged]
    for norm in [*norms, *([claim.regime.robust] if claim.regime.robust else [])]:
        if norm not in NORMS:
            raise UsageError(f"claim {claim.id}: norm must be one of {', '.join(NORMS)}, got {norm!r}")


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
