"""The one pipeline that judges claims and their controls.

A claim is judged only where the protocol's conditions hold; "not supported" is said only where the control of the
same pipeline is detected.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis.arms import baseline
from analysis.attempt import attempt
from analysis.claims import find
from analysis.claims.evidence import NOTHING, STATISTICS, Statistic
from analysis.claims.model import Claim, Rows
from analysis.claims.pairs import EPS_DIGITS, at_levels, lacking, pairs
from analysis.claims.statistics import difference, pearson
from analysis.intervals import MIN_SEEDS, Interval
from analysis.tables import slices
from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.knobs import by_strength
from study.spec.values import shown
from study.store.manifest import Manifest

SUPPORTED, NOT_SUPPORTED, OPPOSITE, NOT_REACHED = "supported", "not supported", "opposite", "regime not reached"
MIN_CLEAN = {"digits": 0.9, "mnist": 0.9, "fashion_mnist": 0.8}
OTHER_MIN_CLEAN = 0.45
BASELINE_RA = (0.3, 0.9)
KEEPS_CLEAN = 0.8
MOVES_EPS = 0.3
POINTS_BETWEEN = 3


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim with its verdict, its statistic, its control's, and why the regime was not reached where it was not.

    `taken`: its statistic was asked of the table; not where an arm or a measure is missing, or where judging it raised.
    """

    claim: Claim
    verdict: str
    statistic: Interval
    control: Interval
    control_detected: bool
    points: int
    unjudged: tuple[Value, ...] = ()
    pearson: Interval | None = None
    at: str = ""
    reasons: tuple[str, ...] = field(default=())
    taken: bool = True

    def number(self) -> str:
        """The statistic in words."""
        asked = STATISTICS[self.claim.statistic]
        if not math.isfinite(self.statistic.value):
            return f"no {asked.kind} could be taken"
        words = f"{asked.words} {self.statistic.text()}"
        words += f", Pearson's r {self.pearson.text()}" if self.pearson else ""
        return words + (f"; published {self.claim.published:g}" if self.claim.published is not None else "")

    def sentence(self) -> str:
        """The claim and its verdict in one sentence."""
        why = f" because {'; '.join(self.reasons)}" if self.reasons else ""
        levels = ", ".join(map(shown, self.unjudged))
        past = f"; shown and not judged: {self.claim.rows.axis} {levels}" if levels else ""
        found = "detected" if self.control_detected else "not detected"
        control = f"; {self.claim.control.name} {found}" if self.claim.control else ""
        at = f"At {self.at}: " if self.at else ""
        if not self.taken:
            return f"{at}{self.claim.quote} {self.verdict.capitalize()}{why}."
        return (
            f"{at}{self.claim.quote} {self.verdict.capitalize()}{why}: {self.number()} over {self.points} trials"
            f"{control}{past}."
        )


def start(study: Manifest, claim: Claim) -> Value | None:
    """The value of the axis of a claim's rows that is its baseline: the claim's own, else the study's."""
    return claim.baseline if claim.baseline is not None else baseline(study, claim.rows.axis)


def judged_values(table: pd.DataFrame, axis: str, base: Value | None = None) -> tuple[list[Value], list[Value]]:
    """The axis values that count, and those only shown: past the first least residual (the turning point, or where it
    has reached 0 and can fall no more), or with clean accuracy at or below KEEPS_CLEAN of the baseline's.

    Values stand by strength; without `base` among them the first is the baseline. A table without the column eps is
    not about compressibility: only its clean accuracy counts; without clean, every value does.
    """
    order = by_strength(axis, table[axis])
    columns = [c for c in ("eps", "clean") if c in table]
    means = table.groupby(axis)[columns].mean().round(EPS_DIGITS) if columns else pd.DataFrame()
    least = min(range(len(order)), key=lambda i: means.loc[order[i], "eps"]) if "eps" in means else len(order)
    good = [v for i, v in enumerate(order) if i <= least]
    if "clean" in means:
        floor = KEEPS_CLEAN * means.loc[base if base in order else order[0], "clean"]
        good = [v for v in good if means.loc[v, "clean"] > floor]
    return good, [v for v in order if v not in good]


def _conditions(table: pd.DataFrame, base: pd.DataFrame, claim: Claim, data: str) -> list[str]:
    """Why the claim cannot be judged here, in words; empty when the protocol's conditions hold."""
    reasons = []
    seeds = table["seed"].nunique()
    if seeds < MIN_SEEDS:
        reasons.append(f"{seeds} seeds are too few for an interval ({MIN_SEEDS} are needed)")
    if claim.regime.clean and base.empty:
        return [*reasons, "the arm has no baseline"]
    low = MIN_CLEAN.get(data, OTHER_MIN_CLEAN)
    if claim.regime.clean and base["clean"].mean() < low:
        reasons.append(f"the baseline's clean accuracy is {base['clean'].mean():.2f}, below {low:g}")
    if claim.regime.robust and not BASELINE_RA[0] <= base["robust"].mean() <= BASELINE_RA[1]:
        reasons.append(
            f"the baseline's robust accuracy is {base['robust'].mean():.2f}, "
            f"outside {BASELINE_RA[0]:g} to {BASELINE_RA[1]:g}"
        )
    if not claim.regime.structure:
        return reasons
    means = table.groupby(claim.rows.axis)["eps"].mean()
    moved = float(means.max() - means.min())
    between = int(((means > means.min()) & (means < means.max())).sum())
    if moved < MOVES_EPS or between < POINTS_BETWEEN:
        reasons.append(
            f"compressibility moved by {moved:.2f} with {between} points between "
            f"({MOVES_EPS:g} and {POINTS_BETWEEN} are needed)"
        )
    return reasons


def _compared(
    frame: pd.DataFrame, study: Manifest, claim: Claim, rows: Rows, table: pd.DataFrame, own: bool
) -> list[pd.DataFrame]:
    """The tables that a statistic takes: those of the rows, and of what they are compared with.

    Without `against` that is the baseline of the same arm (`own`: of the claim's axis, else of the control's).
    """
    tables = [at_levels(table, rows.at)]
    if claim.against:
        others = [at_levels(pairs(frame, study, claim, r), r.at) for r in claim.against]
    elif rows.axis and STATISTICS[claim.statistic].tables == 2:
        base = start(study, claim) if own else baseline(study, rows.axis)
        others = [at_levels(table, {rows.axis: base})]
    else:
        others = []
    return [*tables, *others]


def _verdict(
    asked: Statistic, found: Interval, claim: Claim, detected: bool, reasons: list[str]
) -> tuple[str, list[str]]:
    if reasons:
        return NOT_REACHED, reasons
    if sign := asked.sign(found, claim.threshold):
        return (SUPPORTED if sign == claim.expected else OPPOSITE), []
    if detected:
        return NOT_SUPPORTED, []
    if claim.control is None:
        return NOT_REACHED, ["no effect was found, and no control says that the same analysis would have found one"]
    return NOT_REACHED, [f"no effect was found, and the {claim.control.name} was not detected either"]


def _control(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Interval:
    rows = claim.control_rows
    table = pairs(frame, study, claim, rows) if rows else pd.DataFrame()
    if rows is None or table.empty:
        return NOTHING
    return STATISTICS[claim.statistic].take(_compared(frame, study, claim, rows, table, False), rows.axis)


def statistic_of(claim: Claim) -> Statistic:
    """The statistic that a claim names; UsageError where there is none of that name."""
    if claim.statistic not in STATISTICS:
        raise UsageError(f"claim {claim.id}: statistic must be one of {', '.join(STATISTICS)}, got {claim.statistic!r}")
    return STATISTICS[claim.statistic]


def _untaken(claim: Claim, reason: str) -> Judgement:
    """The judgement of a claim of which no number could be taken."""
    return Judgement(
        claim=claim, verdict=NOT_REACHED, statistic=NOTHING, control=NOTHING, control_detected=False, points=0,
        reasons=(reason,), taken=False,
    )  # fmt: skip


def judge(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Judgement:
    """The judgement of a claim on a table; that it cannot be asked where the study has no such arm, no finished trial
    of it, or no such measure."""
    asked = statistic_of(claim)
    if reasons := [why for rows in (claim.rows, *claim.against) if (why := lacking(frame, study, rows))]:
        return _untaken(claim, reasons[0])
    table, axis = pairs(frame, study, claim), claim.rows.axis
    if table.empty:
        return _untaken(claim, f"no finished trial of arm {claim.rows.arm} has both numbers that are compared")
    good, past = judged_values(table, axis, start(study, claim)) if axis else ([], [])
    judged = table[table[axis].isin(good)] if axis else table
    tables = _compared(frame, study, claim, claim.rows, judged, True)
    base = at_levels(judged, {axis: start(study, claim)}) if axis else tables[-1]
    found, control = asked.take(tables, axis), _control(frame, study, claim)
    detected = asked.sign(control, claim.threshold) == claim.expected
    reasons = _conditions(judged, base, claim, study.data)
    if any(t.empty for t in tables):
        reasons.append("a side of the comparison has no trial that can be judged")
    verdict, reasons = _verdict(asked, found, claim, detected, reasons)
    return Judgement(
        claim=claim, verdict=verdict, statistic=found, control=control, control_detected=detected,
        points=len(tables[0]), unjudged=tuple(past), reasons=tuple(reasons),
        pearson=_pearson(judged) if claim.published is not None and asked.kind == "correlation" else None,
    )  # fmt: skip


def _pearson(table: pd.DataFrame) -> Interval:
    finite = table[np.isfinite(table["x"]) & np.isfinite(table["y"])]
    return pearson(finite["x"].to_numpy(), finite["y"].to_numpy(), finite["seed"].to_numpy())


def correlations(judgements: Sequence[Judgement], **terms: str) -> list[Judgement]:
    """The judged claims about pairs whose terms measure what is named: x="gap_bound", y="loss_gap"."""
    pairs = [j for j in judgements if j.claim.rows.x is not None]
    return [j for j in pairs if all(getattr(j.claim.rows, n).measure == measure for n, measure in terms.items())]


def judge_all(frame: pd.DataFrame, study: Manifest, claims: Iterable[str | Claim]) -> list[Judgement]:
    """The claims (ids, or claims themselves), once per value of the axes that the study's arms only hold; none before a
    trial is finished. A claim that raises is listed with what it raised. UsageError for an id or a statistic that is
    not known."""
    chosen = find(claims)
    for claim in chosen:
        statistic_of(claim)
    if (frame["status"] == "failed").all():
        return []
    return [replace(_attempted(frame, part, claim), at=at) for at, part in slices(study) for claim in chosen]


def _attempted(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Judgement:
    found, raised = attempt(f"claim {claim.id} could not be judged", lambda: judge(frame, study, claim))
    return found or _untaken(claim, f"it could not be judged: {raised}")


def against_baseline(frame: pd.DataFrame, study: Manifest, claim: Claim) -> list[tuple[Value, float, Interval]]:
    """Per axis value: mean compressibility residual, and the outcome's paired difference to the baseline over seeds.

    Empty where the arm has no trial at its baseline.
    """
    table, axis, base = pairs(frame, study, claim), claim.rows.axis, start(study, claim)
    if table.empty or not (table[axis] == base).any():
        return []
    first = table[table[axis] == base].groupby("seed")["y"].mean()  # other axes that the arm moves are averaged over
    out = []
    for value in by_strength(axis, table[axis]):
        rows = table[table[axis] == value].set_index("seed")
        paired = difference(rows["y"].to_numpy(), first.reindex(rows.index).to_numpy(), rows.index.to_numpy())
        out.append((value, float(rows["eps"].mean()), paired))
    return out
