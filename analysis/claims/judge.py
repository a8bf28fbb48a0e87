"""The one pipeline that judges claims and their controls.

A claim is judged only where the protocol's conditions hold and the control of the same pipeline is detected. Its p
value is raised for the other claims of its report (Holm).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.attempt import attempt
from analysis.claims import find
from analysis.claims.beside import Explanation, explanations, within_levels
from analysis.claims.evidence import p_of, p_of_seeds, places, sign, statistic_of
from analysis.claims.fragile import fragile
from analysis.claims.model import Claim
from analysis.claims.needs import MIN_SEEDS, NEEDS, many
from analysis.claims.pairs import lacking, pairs
from analysis.claims.regime import conditions, start, too_few_levels, too_few_whole_seeds
from analysis.claims.sides import control_sides, sides
from analysis.claims.statistics import NOTHING, Found, difference, pearson
from analysis.intervals import Interval
from analysis.tables import slices
from study.spec.domains import Value
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

SUPPORTED, NOT_SUPPORTED, OPPOSITE, NOT_REACHED = "supported", "not supported", "opposite", "regime not reached"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim with its verdict, its statistic, its control's, and why the regime was not reached where it was not.

    `p` is the claim's own, `p_holm` and `family` that of the report and how many claims it judges. `fragile` names what
    turns the verdict where it is left out; `beside` are the plainer explanations, `within` the coefficient of x and y
    at one level (over seeds). `taken`: its statistic was asked of
    the table; not where an arm or a measure is missing, or where judging it raised.
    """

    claim: Claim
    verdict: str
    statistic: Found
    control: Found
    control_detected: bool
    points: int
    p: float = math.nan
    p_holm: float = math.nan
    family: int = 1
    unjudged: tuple[Value, ...] = ()
    pearson: Interval | None = None
    beside: tuple[Explanation, ...] = ()
    within: float = math.nan
    fragile: tuple[str, ...] = ()
    at: str = ""
    reasons: tuple[str, ...] = ()
    taken: bool = True


def _control(frame: pd.DataFrame, study: Manifest, claim: Claim) -> tuple[Found, bool]:
    """What the control shows at the levels that pass the same filters, and whether that is the effect planted there.

    It is judged over seeds alone: that its levels differ is known, for they were made to; what is asked is whether the
    same measures, filters and coefficient tell it from the seeds' noise. One that is planted in the claim's own numbers
    is judged as the claim is, by its levels too. Of two controls the second one's numbers are
    shown where it alone is not detected.
    """
    parts, control = control_sides(frame, study, claim), claim.control
    if parts is None or control is None:
        return NOTHING, False
    rows = claim.control_rows or claim.rows
    found = statistic_of(claim).take(parts.tables, rows.axis, MIN_SEEDS)
    p = p_of(claim, found) if control.planted else p_of_seeds(claim, found)
    detected = sign(claim, found, p) == (control.expected or claim.expected)
    if detected and control.also:
        other, detected = _control(frame, study, replace(claim, control=control.also))
        found = found if detected else other
    return found, detected


def _unsure(claim: Claim, control: Found, detected: bool, seeds: int) -> list[str]:
    """Why no verdict can be said without a control, or without its detection. Nothing more is said where the claim's
    own `seeds` are too few, which is its reason already, and so the control's as well."""
    if claim.control is None:
        return ["no control says that the same analysis would have found an effect"]
    least = NEEDS[claim.statistic].seeds
    few = 0 < control.n < least
    if detected or (few and seeds < least):
        return []
    left = f": {many(control.n, 'whole seed')} {'is' if control.n == 1 else 'are'} left, {least} are needed"
    return [f"the {claim.control.name} was not detected{left if few else ''}"]


def _untaken(claim: Claim, reason: str) -> Judgement:
    """The judgement of a claim of which no number could be taken."""
    return Judgement(
        claim=claim, verdict=NOT_REACHED, statistic=NOTHING, control=NOTHING, control_detected=False, points=0,
        reasons=(reason,), taken=False,
    )  # fmt: skip


def judge(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Judgement:
    """The judgement of a claim on a table, as the only one of its report; that it cannot be asked where the study has
    no such arm, no finished trial of it, or no such measure."""
    asked = statistic_of(claim)
    parts, axis = sides(frame, study, claim), claim.rows.axis
    if any(t.empty for t in (parts.judged, *parts.tables)):
        missing = [why for rows in (claim.rows, *claim.against) if (why := lacking(frame, study, rows))]
        if missing or parts.judged.empty:
            neither = f"no finished trial of arm {claim.rows.arm} has both numbers that are compared"
            return _untaken(claim, missing[0] if missing else neither)
    found = asked.take(parts.tables, axis, MIN_SEEDS)
    control, detected = _control(frame, study, claim)
    reasons = conditions(parts.judged, parts.base, claim, study.data)
    if any(t.empty for t in parts.tables):
        reasons.append("a side of the comparison has no trial that can be judged")
    if few := too_few_levels(claim, found):
        reasons.append(few)
    p = p_of(claim, found)
    if not reasons and math.isnan(p):
        lost = too_few_whole_seeds(claim, found, parts.tables)
        reasons.append(lost or f"no {asked.kind} could be taken of {many(found.n, 'whole seed')}")
    unsure = _unsure(claim, control, detected, parts.judged["seed"].nunique())
    return settled(
        Judgement(
            claim=claim, verdict=NOT_REACHED, statistic=found, control=control, control_detected=detected,
            points=len(parts.tables[0]), p=p, unjudged=parts.unjudged, reasons=(*reasons, *unsure),
            pearson=_pearson(parts.judged, axis) if claim.published is not None and claim.rows.x else None,
        ),
        p,
    )  # fmt: skip


def settled(judgement: Judgement, p: float, family: int = 1) -> Judgement:
    """A judgement with its verdict at a p value that other claims of its report have raised."""
    claim, found = judgement.claim, judgement.statistic
    if judgement.reasons:
        return judgement
    side = sign(claim, found, p)
    if not side and sign(claim, found, judgement.p) and (few := too_few_levels(claim, found, family)):
        return replace(judgement, verdict=NOT_REACHED, p_holm=p, family=family, reasons=(few,))
    verdict = NOT_SUPPORTED if not side else SUPPORTED if side == claim.expected else OPPOSITE
    return replace(judgement, verdict=verdict, p_holm=p, family=family)


def holm(ps: Sequence[float]) -> list[float]:
    """p values of a family, raised so that all of them together err in at most 5 % (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    out, least = list(ps), 0.0
    for place, i in enumerate(order):
        least = out[i] = max(least, min(1.0, (len(ps) - place) * ps[i]))
    return out


def _pearson(table: pd.DataFrame, axis: str) -> Interval:
    x, y, seeds = (table[c].to_numpy() for c in ("x", "y", "seed"))
    return pearson(x, y, places(table, axis), seeds)


def correlations(judgements: Sequence[Judgement], **terms: str) -> list[Judgement]:
    """The judged claims about pairs whose terms measure what is named: x="gap_bound", y="loss_gap"."""
    pairs = [j for j in judgements if j.claim.rows.x is not None]
    return [j for j in pairs if all(getattr(j.claim.rows, n).measure == measure for n, measure in terms.items())]


def judge_all(frame: pd.DataFrame, study: Manifest, claims: Iterable[str | Claim]) -> list[Judgement]:
    """The claims (ids, or claims themselves), once per value of the axes that the study's arms only hold; none before a
    trial is finished. Those that can be judged are one family (Holm); controls are not in it. A claim that raises is
    listed with what it raised. UsageError for an id or a statistic that is not known."""
    chosen = find(claims)
    for claim in chosen:
        statistic_of(claim)
    if (frame["status"] == "failed").all():
        return []
    found = [replace(_attempted(frame, part, claim), at=at) for at, part in slices(study) for claim in chosen]
    family = [i for i, j in enumerate(found) if not j.reasons]
    for i, p in zip(family, holm([found[i].p for i in family]), strict=True):
        found[i] = settled(found[i], p, len(family))
    return found


def _attempted(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Judgement:
    found, raised = attempt(f"claim {claim.id} could not be judged", lambda: _looked_at(frame, study, claim))
    return found or _untaken(claim, f"it could not be judged: {raised}")


def _looked_at(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Judgement:
    """A judgement with what stands beside it and, where it is one, what turns it."""
    found = judge(frame, study, claim)
    if not found.taken:
        return found
    parts = sides(frame, study, claim)
    if claim.beside and not math.isnan(found.statistic.value):
        within = within_levels(parts.judged, claim.rows.axis)
        found = replace(found, beside=explanations(frame, study, claim, parts.judged), within=within)
    return found if found.reasons else replace(found, fragile=fragile(claim, parts.tables))


def against_baseline(frame: pd.DataFrame, study: Manifest, claim: Claim) -> list[tuple[Value, float, Interval]]:
    """Per axis value: mean compressibility residual, and the outcome's paired difference to the baseline over seeds.

    Empty where the arm has no trial at its baseline.
    """
    table, axis, base = pairs(frame, study, claim), claim.rows.axis, start(study, claim)
    if table.empty or not (table[axis] == base).any():
        return []
    first = table[table[axis] == base].groupby("seed")["y"].mean()  # other axes that the arm moves are averaged over
    out: list[tuple[Value, float, Interval]] = []
    for value in by_strength(axis, table[axis]):
        rows = table[table[axis] == value].set_index("seed")
        paired = difference(rows["y"].to_numpy(), first.reindex(rows.index).to_numpy(), rows.index.to_numpy())
        out.append((value, float(rows["eps"].mean()), paired))
    return out
