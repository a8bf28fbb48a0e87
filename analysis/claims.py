"""The registry of claims, and the one pipeline that judges them and their planted controls.

A claim is an expected sign of a rank correlation between two measures over the trials of an arm. It is judged only
where the protocol's conditions hold; "not supported" is said only where the planted control of the same pipeline is
detected.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.correlation import pearson, spearman
from analysis.intervals import MIN_SEEDS, Interval, mean_t
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
class Term:
    """One number of a net: a measure at its coordinates, at the judged budget of `norm` where `judged`."""

    measure: str
    layer: str | None = None
    norm: str | None = None
    kept: float | None = None
    split: str | None = None
    judged: bool = False
    scale: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim: where it stands, which two terms are correlated over which arm, and the sign that the paper expects.

    `structure` is the compressibility that the arm is to move, `norm` that of the baseline's robust accuracy; the
    protocol's conditions look at both. `pearson` adds Pearson's r of the two terms as they are.
    """

    id: str
    source: str
    statement: str
    studies: tuple[str, ...]
    arm: str
    control: str
    axis: str
    structure: str
    x: Term
    y: Term
    norm: str = ""
    expected: int = -1
    pearson: bool = False


def _residual(structure: str) -> Term:
    return Term(measure=structure, layer="mean", scale="compressibility")


def _attacked(measure: str, norm: str) -> Term:
    return Term(measure=measure, norm=norm, split="test", judged=True)


NU, SIGMA = "compress_eps_nu", "compress_eps_sigma"
NEURON: dict[str, Any] = {"arm": "neuron", "control": "control_neuron", "axis": "alpha", "structure": NU}
SPECTRAL: dict[str, Any] = {"arm": "spectral", "control": "control_spectral", "axis": "rank", "structure": SIGMA}
SWEEP, BOUNDS = ("compressibility_sweep",), ("bound_validation",)

CLAIMS = (
    Claim(
        id="A-i-neuron", source="A, section 4 (i), Figure 5 top left", studies=SWEEP, **NEURON, norm="linf",
        x=_residual(NU), y=_attacked("relative_robust_accuracy", "linf"),
        statement="Neuron compressibility lowers robustness to l_inf attacks (RA/SA).",
    ),
    Claim(
        id="A-i-spectral", source="A, section 4 (i), Figure 5 top right", studies=SWEEP, **SPECTRAL, norm="l2",
        x=_residual(SIGMA), y=_attacked("relative_robust_accuracy", "l2"),
        statement="Spectral compressibility lowers robustness to l_2 attacks (RA/SA).",
    ),
    Claim(
        id="A-cross-neuron", source="A, section 3 and Figure 15", studies=SWEEP, **NEURON, norm="l2",
        x=_residual(NU), y=_attacked("relative_robust_accuracy", "l2"),
        statement="Neuron compressibility lowers robustness to l_2 attacks as well (RA/SA).",
    ),
    Claim(
        id="A-cross-spectral", source="A, section 3 and Figure 15", studies=SWEEP, **SPECTRAL, norm="linf",
        x=_residual(SIGMA), y=_attacked("relative_robust_accuracy", "linf"),
        statement="Spectral compressibility lowers robustness to l_inf attacks as well (RA/SA).",
    ),
    Claim(
        id="A-prunability", source="A, section 4, Figure 4 center left", studies=SWEEP, **NEURON, expected=1,
        x=_residual(NU), y=Term(measure="pruned_accuracy", kept=0.2, split="test"),
        statement="Compressible nets keep more accuracy when few rows are kept (20 %).",
    ),
    Claim(
        id="A-bound-neuron", source="A, Theorem 3.1 and Figure 3", studies=SWEEP, **NEURON, norm="linf", expected=1,
        x=Term(measure="operator_norm_bound", layer="product", norm="linf", scale="log"),
        y=_attacked("loss_gap", "linf"),
        statement="A larger product of Theorem 3.1's l_inf bounds goes with a larger l_inf loss gap.",
    ),
    Claim(
        id="A-bound-spectral", source="A, Theorem 3.1 and Figure 3", studies=SWEEP, **SPECTRAL, norm="l2", expected=1,
        x=Term(measure="operator_norm_bound", layer="product", norm="l2", scale="log"), y=_attacked("loss_gap", "l2"),
        statement="A larger product of Theorem 3.1's l_2 bounds goes with a larger l_2 loss gap.",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim with its verdict, its statistic, its control's, and why the regime was not reached where it was not."""

    claim: Claim
    verdict: str
    rho: Interval
    control: Interval
    control_detected: bool
    points: int
    unjudged: tuple[float, ...] = ()
    pearson: Interval | None = None
    at: str = ""
    reasons: tuple[str, ...] = field(default=())

    def number(self) -> str:
        """The statistic in words."""
        if not math.isfinite(self.rho.value):
            return "no correlation could be taken"
        pearson = f", Pearson's r {self.pearson.text()}" if self.pearson else ""
        return f"Spearman's rho {self.rho.text()}{pearson}"

    def sentence(self) -> str:
        """The claim and its verdict in one sentence."""
        why = f" because {'; '.join(self.reasons)}" if self.reasons else ""
        shown = f"; shown and not judged: {self.claim.axis} {', '.join(f'{v:g}' for v in self.unjudged)}"
        control = "detected" if self.control_detected else "not detected"
        at = f"At {self.at}: " if self.at else ""
        return (
            f"{at}{self.claim.statement} {self.verdict.capitalize()}{why}: {self.number()} over {self.points} nets; "
            f"planted control {control}{shown if self.unjudged else ''}."
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


def pairs(frame: pd.DataFrame, study: Mapping[str, Any], claim: Claim, arm: str) -> pd.DataFrame:
    """One row per finished trial of an arm: seed, axes, x, y, and what the conditions look at (eps, clean, robust)."""
    found = next((a for a in study["arms"] if a["name"] == arm), None)
    if found is None:
        return pd.DataFrame()
    table = arm_trials(frame, found, study["axes_off"])
    table["x"], table["y"] = term(frame, study, claim.x), term(frame, study, claim.y)
    table["clean"] = per_trial(frame, "clean_accuracy", split="test")
    table["eps"] = per_trial(frame, claim.structure, layer="mean").round(EPS_DIGITS)
    if claim.norm:
        table["robust"] = term(frame, study, _attacked("robust_accuracy", claim.norm))
    table = table[table["status"] == "ok"].dropna(subset=["x", "y"])
    if table.duplicated(["seed", *study["axes_off"]]).any():
        raise ValueError(f"arm {arm} has two trials of one seed and point: one seed would count twice")
    return table


def judged_values(table: pd.DataFrame, axis: str) -> tuple[list[float], list[float]]:
    """The axis values that count, and those only shown: past the first least residual (the turning point, or where it
    has reached 0 and can fall no more), or with clean accuracy at or below KEEPS_CLEAN of the baseline's."""
    means = table.groupby(axis)[["eps", "clean"]].mean().round(EPS_DIGITS)
    order = sorted(means.index, key=lambda v: (v != 0, v if axis == "alpha" else -v))
    least = min(range(len(order)), key=lambda i: means.loc[order[i], "eps"])
    baseline = means.loc[order[0], "clean"]
    good = [v for i, v in enumerate(order) if i <= least and means.loc[v, "clean"] > KEEPS_CLEAN * baseline]
    return good, [v for v in order if v not in good]


def _conditions(table: pd.DataFrame, claim: Claim, data: str) -> list[str]:
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


def judge(frame: pd.DataFrame, study: Mapping[str, Any], claim: Claim) -> Judgement | None:
    """The judgement of a claim on a table, or None where the study does not ask it or has no such arm."""
    if study["configuration"]["study"] not in claim.studies:
        return None
    table = pairs(frame, study, claim, claim.arm)
    if table.empty:
        return None
    good, shown = judged_values(table, claim.axis)
    judged = table[table[claim.axis].isin(good)]
    rho, control = _rho(judged), _rho(pairs(frame, study, claim, claim.control))
    detected = _sign(control) == claim.expected
    reasons = _conditions(judged, claim, study["configuration"]["data"])
    if reasons:
        verdict = NOT_REACHED
    elif _sign(rho) == claim.expected:
        verdict = SUPPORTED
    elif _sign(rho) == -claim.expected:
        verdict = OPPOSITE
    elif detected:
        verdict = NOT_SUPPORTED
    else:
        verdict, reasons = NOT_REACHED, ["no correlation was found, and the planted control was not detected either"]
    return Judgement(
        claim=claim, verdict=verdict, rho=rho, control=control, control_detected=detected, points=len(judged),
        unjudged=tuple(shown), reasons=tuple(reasons), pearson=_r(judged) if claim.pearson else None,
    )  # fmt: skip


def judge_all(frame: pd.DataFrame, study: Mapping[str, Any]) -> list[Judgement]:
    """Every claim that the study's arms can be asked about, once per value of the axes that no arm is about."""
    found = [(at, judge(frame, part, claim)) for at, part in slices(study) for claim in CLAIMS]
    return [replace(j, at=at) for at, j in found if j is not None]


def against_baseline(
    frame: pd.DataFrame, study: Mapping[str, Any], claim: Claim
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
