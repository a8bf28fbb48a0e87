"""The one pipeline that judges claims and their planted controls.

A claim is judged only where the protocol's conditions hold; "not supported" is said only where the control of the
same pipeline is detected.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.correlation import pearson, spearman
from analysis.intervals import MIN_SEEDS, Interval, mean_t
from analysis.registry import CLAIMS, Claim, Correlation, Growth, Term
from analysis.tables import arm_trials, per_trial, slices

SUPPORTED, NOT_SUPPORTED, OPPOSITE, NOT_REACHED = "supported", "not supported", "opposite", "regime not reached"
MIN_CLEAN = {"digits": 0.9, "mnist": 0.9, "fashion_mnist": 0.8}
OTHER_MIN_CLEAN = 0.45
BASELINE_RA = (0.3, 0.9)
KEEPS_CLEAN = 0.8
MOVES_EPS = 0.3
POINTS_BETWEEN = 3
# A residual of a rank below k is 0 but for float32 round-off (1e-8); its ranks would be noise, or worse.
EPS_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim with its verdict, its statistic, its control's, and why the regime was not reached where it was not."""

    claim: Claim
    verdict: str
    statistic: Interval
    control: Interval
    control_detected: bool
    points: int
    unjudged: tuple[float, ...] = ()
    pearson: Interval | None = None
    at: str = ""
    reasons: tuple[str, ...] = field(default=())

    def number(self) -> str:
        """The statistic in words."""
        if not math.isfinite(self.statistic.value):
            return "no correlation could be taken"
        words = f"{self.claim.statistic} {self.statistic.text()}"
        words += f", Pearson's r {self.pearson.text()}" if self.pearson else ""
        published = self.claim.published if isinstance(self.claim, Correlation) else None
        return words + (f"; published {published:g}" if published is not None else "")

    def sentence(self) -> str:
        """The claim and its verdict in one sentence."""
        why = f" because {'; '.join(self.reasons)}" if self.reasons else ""
        axis = self.claim.axis if isinstance(self.claim, Correlation) else ""
        shown = f"; shown and not judged: {axis} {', '.join(f'{v:g}' for v in self.unjudged)}" if self.unjudged else ""
        control = "detected" if self.control_detected else "not detected"
        at = f"At {self.at}: " if self.at else ""
        return (
            f"{at}{self.claim.statement} {self.verdict.capitalize()}{why}: {self.number()} over {self.points} trials; "
            f"planted control {control}{shown}."
        )


def term(frame: pd.DataFrame, study: Mapping[str, Any], wanted: Term) -> pd.Series:
    """A term's value per trial, on its scale: `log`, or `compressibility` (1 - residual), or as it is."""
    settings = study["configuration"]["settings"]
    where = {"layer": wanted.layer, "norm": wanted.norm, "kept": wanted.kept, "split": wanted.split}
    where |= {"eps": float(settings[f"judged_{wanted.norm}"])} if wanted.judged else {}
    values = per_trial(frame, wanted.measure, **where)
    if wanted.scale == "log":
        return np.log(values)
    return 1.0 - values.round(EPS_DIGITS) if wanted.scale == "compressibility" else values


def pairs(frame: pd.DataFrame, study: Mapping[str, Any], claim: Correlation, arm: str) -> pd.DataFrame:
    """One row per finished trial of an arm: seed, axes, x, y, and what the conditions look at (eps, clean, robust)."""
    found = next((a for a in study["arms"] if a["name"] == arm), None)
    if found is None:
        return pd.DataFrame()
    table = arm_trials(frame, found, study["axes_off"])
    table["x"], table["y"] = term(frame, study, claim.x), term(frame, study, claim.y)
    table["clean"] = per_trial(frame, "clean_accuracy", split="test")
    if claim.structure:
        table["eps"] = per_trial(frame, claim.structure, layer="mean").round(EPS_DIGITS)
    if claim.norm:
        robust = Term(measure="robust_accuracy", norm=claim.norm, split="test", judged=True)
        table["robust"] = term(frame, study, robust)
    table = table[table["status"] == "ok"].dropna(subset=["x", "y"])
    if table.duplicated(["seed", *study["axes_off"]]).any():
        raise ValueError(f"arm {arm} has two trials of one seed and point: one seed would count twice")
    return table


def judged_values(table: pd.DataFrame, axis: str) -> tuple[list[float], list[float]]:
    """The axis values that count, and those only shown: past the first least residual (the turning point, or where it
    has reached 0 and can fall no more), or with clean accuracy at or below KEEPS_CLEAN of the baseline's.

    A table without the column eps is not about compressibility: only its clean accuracy counts.
    """
    columns = [c for c in ("eps", "clean") if c in table]
    means = table.groupby(axis)[columns].mean().round(EPS_DIGITS)
    order = sorted(means.index, key=lambda v: (v != 0, v if axis == "alpha" else -v))
    baseline = means.loc[order[0], "clean"]
    least = min(range(len(order)), key=lambda i: means.loc[order[i], "eps"]) if "eps" in means else len(order)
    good = [v for i, v in enumerate(order) if i <= least and means.loc[v, "clean"] > KEEPS_CLEAN * baseline]
    return good, [v for v in order if v not in good]


def _conditions(table: pd.DataFrame, claim: Correlation, data: str) -> list[str]:
    """Why the claim cannot be judged here, in words; empty when the protocol's conditions hold."""
    reasons = []
    seeds = table["seed"].nunique()
    if seeds < MIN_SEEDS:
        reasons.append(f"{seeds} seeds are too few for an interval ({MIN_SEEDS} are needed)")
    base = table[table[claim.axis] == 0]
    if base.empty:
        return [*reasons, "the arm has no baseline"]
    low = MIN_CLEAN.get(data, OTHER_MIN_CLEAN)
    if base["clean"].mean() < low:
        reasons.append(f"the baseline's clean accuracy is {base['clean'].mean():.2f}, below {low:g}")
    if "robust" in base and not BASELINE_RA[0] <= base["robust"].mean() <= BASELINE_RA[1]:
        reasons.append(
            f"the baseline's robust accuracy is {base['robust'].mean():.2f}, "
            f"outside {BASELINE_RA[0]:g} to {BASELINE_RA[1]:g}"
        )
    if not claim.structure:
        return reasons
    means = table.groupby(claim.axis)["eps"].mean()
    moved = float(means.max() - means.min())
    between = int(((means > means.min()) & (means < means.max())).sum())
    if moved < MOVES_EPS or between < POINTS_BETWEEN:
        reasons.append(
            f"compressibility moved by {moved:.2f} with {between} points between "
            f"({MOVES_EPS:g} and {POINTS_BETWEEN} are needed)"
        )
    return reasons


def _rho(table: pd.DataFrame) -> Interval:
    if table.empty:
        return Interval(math.nan, math.nan, math.nan, 0)
    return spearman(table["x"].to_numpy(), table["y"].to_numpy(), table["seed"].to_numpy())


def _r(table: pd.DataFrame) -> Interval:
    finite = table[np.isfinite(table["x"]) & np.isfinite(table["y"])]
    return pearson(finite["x"].to_numpy(), finite["y"].to_numpy(), finite["seed"].to_numpy())


def _sign(rho: Interval) -> int:
    """+1 or -1 where the interval lies on one side of 0, else 0."""
    return int(rho.low > 0) - int(rho.high < 0)


def _verdict(statistic: Interval, claim: Claim, detected: bool, reasons: list[str]) -> tuple[str, list[str]]:
    if reasons:
        return NOT_REACHED, reasons
    if sign := _sign(statistic):
        return (SUPPORTED if sign == claim.expected else OPPOSITE), []
    if detected:
        return NOT_SUPPORTED, []
    return NOT_REACHED, ["no effect was found, and the planted control was not detected either"]


def _correlation(frame: pd.DataFrame, study: Mapping[str, Any], claim: Correlation) -> Judgement | None:
    table = pairs(frame, study, claim, claim.arm)
    if table.empty:
        return None
    good, shown = judged_values(table, claim.axis)
    judged = table[table[claim.axis].isin(good)]
    rho, control = _rho(judged), _rho(pairs(frame, study, claim, claim.control))
    detected = _sign(control) == claim.expected
    verdict, reasons = _verdict(rho, claim, detected, _conditions(judged, claim, study["configuration"]["data"]))
    return Judgement(
        claim=claim, verdict=verdict, statistic=rho, control=control, control_detected=detected, points=len(judged),
        unjudged=tuple(shown), reasons=tuple(reasons), pearson=_r(judged) if claim.published is not None else None,
    )  # fmt: skip


def _growth(frame: pd.DataFrame, study: Mapping[str, Any], claim: Growth) -> Judgement | None:
    arm = next((a for a in study["arms"] if a["name"] == claim.arm), None)
    table = arm_trials(frame, arm, study["axes_off"]) if arm else pd.DataFrame()
    if table.empty:
        return None
    table = table.assign(y=term(frame, study, claim.y), control=term(frame, study, claim.control)).dropna(
        subset=["y", "control"]
    )
    grown, control = mean_t(table["y"].to_numpy()), mean_t(table["control"].to_numpy())
    few = [f"{grown.n} seeds are too few for an interval ({MIN_SEEDS} are needed)"] if grown.n < MIN_SEEDS else []
    detected = _sign(control) == 1
    verdict, reasons = _verdict(grown, claim, detected, few)
    return Judgement(
        claim=claim, verdict=verdict, statistic=grown, control=control, control_detected=detected, points=grown.n,
        reasons=tuple(reasons),
    )  # fmt: skip


JUDGES: dict[type, Callable[..., Judgement | None]] = {Correlation: _correlation, Growth: _growth}


def judge(frame: pd.DataFrame, study: Mapping[str, Any], claim: Claim) -> Judgement | None:
    """The judgement of a claim on a table, or None where the study does not ask it or has no such arm."""
    if study["configuration"]["study"] not in claim.studies:
        return None
    return JUDGES[type(claim)](frame, study, claim)


def correlations(judgements: Sequence[Judgement], **terms: str) -> list[tuple[Judgement, Correlation]]:
    """The judged correlations whose terms measure what is named: x="gap_bound", y="loss_gap"."""
    found = [(j, j.claim) for j in judgements if isinstance(j.claim, Correlation)]
    return [(j, c) for j, c in found if all(getattr(c, name).measure == measure for name, measure in terms.items())]


def judge_all(frame: pd.DataFrame, study: Mapping[str, Any]) -> list[Judgement]:
    """Every claim that the study's arms can be asked about, once per value of the axes that no arm is about."""
    found = [(at, judge(frame, part, claim)) for at, part in slices(study) for claim in CLAIMS]
    return [replace(j, at=at) for at, j in found if j is not None]


def against_baseline(
    frame: pd.DataFrame, study: Mapping[str, Any], claim: Correlation
) -> list[tuple[float, float, Interval]]:
    """Per axis value: mean compressibility residual, and the outcome's paired difference to the baseline over seeds."""
    table = pairs(frame, study, claim, claim.arm)
    if table.empty or not (table[claim.axis] == 0).any():
        return []
    base = table[table[claim.axis] == 0].set_index("seed")["y"]
    order = sorted(table[claim.axis].unique(), key=lambda v: (v != 0, v if claim.axis == "alpha" else -v))
    out = []
    for value in order:
        rows = table[table[claim.axis] == value].set_index("seed")
        out.append((value, float(rows["eps"].mean()), mean_t((rows["y"] - base).dropna().to_numpy())))
    return out
