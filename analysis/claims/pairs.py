"""From the tidy table to the numbers of a claim: one row per net."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.model import Claim, Rows, Term
from analysis.tables import arm_trials, attack_of, per_trial
from study.spec.values import shown
from study.store.manifest import Manifest

# A residual of a rank below k is 0 but for float32 round-off (1e-8); its ranks would be noise, or worse.
EPS_DIGITS = 6


def coordinates(study: Manifest, wanted: Term) -> dict[str, Any]:
    """The coordinates of a term's rows in the tables of a study; None where they have none."""
    where: dict[str, Any] = {"attack": attack_of(study, wanted.attack), "layer": wanted.layer, "norm": wanted.norm}
    where |= {"eps": float(study.settings[f"judged_{wanted.norm}"])} if wanted.judged else {}
    return where | {"kept": wanted.kept, "pruning": wanted.pruning, "split": wanted.split}


def term(frame: pd.DataFrame, study: Manifest, wanted: Term) -> pd.Series:
    """A term's value per trial, on its scale: `log`, or `compressibility` (1 - residual), or as it is."""
    values = per_trial(frame, wanted.measure, **coordinates(study, wanted))
    if wanted.scale == "log":
        return np.log(values)
    return 1.0 - values.round(EPS_DIGITS) if wanted.scale == "compressibility" else values


def attacked(frame: pd.DataFrame, study: Manifest, measure: str, norm: str, eps: float) -> pd.Series:
    """A measure of the study's own attack on the test images at one budget, per trial."""
    own = attack_of(study, "configured")
    return per_trial(frame, measure, attack=own, norm=norm, eps=float(eps), split="test")


def pairs(frame: pd.DataFrame, study: Manifest, claim: Claim, rows: Rows | None = None) -> pd.DataFrame:
    """One row per finished trial of a claim's rows (others where given): seed, axes, y, x, and what the conditions look
    at (eps, clean, robust). Levels are not chosen here: `at` says which of them are compared, not which are seen."""
    rows = rows or claim.rows
    found = next((a for a in study.arms if a.name == rows.arm), None)
    if found is None:
        return pd.DataFrame()
    table = arm_trials(frame, found, study.axes_off)
    table["y"] = term(frame, study, rows.y)
    if rows.x:
        table["x"] = term(frame, study, rows.x)
    if claim.regime.clean:
        table["clean"] = per_trial(frame, "clean_accuracy", split="test")
    if claim.regime.structure:
        table["eps"] = per_trial(frame, claim.regime.structure, layer="mean").round(EPS_DIGITS)
    if norm := claim.regime.robust:
        budget = study.settings[f"judged_{norm}"]
        table["robust"] = attacked(frame, study, "robust_accuracy", norm, budget)
    table = table[table["status"] == "ok"].dropna(subset=[c for c in ("x", "y") if c in table])
    if table.duplicated(["seed", *study.axes_off]).any():
        raise ValueError(f"arm {rows.arm} has two trials of one seed and point: one seed would count twice")
    return table


def lacking(frame: pd.DataFrame, study: Manifest, rows: Rows) -> str:
    """Why rows of a claim have no number, in words: their arm, its trials or a measure is not there; else nothing."""
    found = next((a for a in study.arms if a.name == rows.arm), None)
    if found is None:
        return f"the study has no arm {rows.arm}"
    table = arm_trials(frame, found, study.axes_off)
    trials = table.index[table["status"] == "ok"]
    if trials.empty:
        return f"arm {rows.arm} has no finished trial at its own axes"
    for wanted in filter(None, (rows.y, rows.x)):
        if term(frame, study, wanted).reindex(trials).dropna().empty:
            where = [f"{k} {shown(v)}" for k, v in coordinates(study, wanted).items() if v is not None]
            return f"no finished trial of arm {rows.arm} has {wanted.measure}" + (
                f" ({', '.join(where)})" if where else ""
            )
    return ""


def at_levels(table: pd.DataFrame, at: Mapping[str, Any]) -> pd.DataFrame:
    """The rows at the given values of some axes."""
    if table.empty:  # of an arm that is not there: it has no columns either
        return table
    for axis, value in at.items():
        table = table[table[axis] == value]
    return table
