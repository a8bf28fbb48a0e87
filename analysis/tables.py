"""Selections from the tidy table: one value per trial, one arm of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.arms import slices as slices
from study.spec.attack_names import attack_name, configured, gap
from study.spec.domains import Value
from study.spec.knobs import KNOBS
from study.store.manifest import ArmRecord, Manifest

COORDINATES = ("attack", "layer", "norm", "eps", "kept", "pruning", "k", "draw", "on", "split")


def select(frame: pd.DataFrame, measure: str, **where: Any) -> pd.DataFrame:
    """The finished trials' rows of one measure; coordinates that are not given must be absent in the rows.

    A float coordinate (eps, kept) matches within 1e-9. ValueError where a trial has two such rows: one number per net.
    """
    out = frame[frame["measure"] == measure]
    absent = [name for name in COORDINATES if where.get(name) is None and name in out]
    chosen = (out["status"] == "ok") & out[["step", *absent]].isna().all(axis=1)
    for name in (name for name in COORDINATES if where.get(name) is not None):
        wanted, column = where[name], out[name]
        chosen &= (column - wanted).abs() < 1e-9 if isinstance(wanted, float) else column == wanted
    out = out[chosen]
    if twice := sorted(out.loc[out["trial"].duplicated(), "trial"].unique()):
        raise ValueError(f"trial {twice[0]} has two rows of {measure} at {where}: more coordinates must be given")
    return out


def attack_of(study: Manifest, wanted: str) -> str | None:
    """An attack as the rows of a study name it: "" is none, `configured` the study's own, `gap` the one behind its loss
    gap; native/pgd and native/square are those of the study's revision, any other name stands for itself."""
    raised = study.revisions
    known = {
        "": None,
        "configured": configured(study.settings, raised),
        "gap": gap(raised),
        "native/pgd": attack_name("native", "pgd", raised.get("pgd_revision", 1)),
        "native/square": attack_name("native", "square", raised.get("square_revision", 1)),
    }
    return known.get(wanted, wanted)


def per_trial(frame: pd.DataFrame, measure: str, **where: Any) -> pd.Series:
    """One value per trial fingerprint."""
    return select(frame, measure, **where).set_index("trial")["value"]


def arm_trials(frame: pd.DataFrame, arm: ArmRecord, defaults: Mapping[str, Value]) -> pd.DataFrame:
    """The trials of an arm: every axis at one of the arm's values, every other axis at its default.

    A net to which an axis does nothing (a penalty that weighs nothing, the radius of an adversary that never was)
    belongs to the arm at any of its values. One row per trial (index: fingerprint) with family, seed, status and the
    axes.
    """
    columns = ["trial", "family", "seed", "status", *defaults]
    if frame.empty:  # before its first trial a table has no column of the study's own axes
        return pd.DataFrame(columns=columns).set_index("trial")
    chosen = pd.Series(True, index=frame.index)
    for axis, default in defaults.items():
        chosen &= frame[axis].isin(arm.axes.get(axis, (default,))) | _idle(frame, arm, axis)
    return frame.loc[chosen, columns].drop_duplicates("trial").set_index("trial")


def _idle(frame: pd.DataFrame, arm: ArmRecord, axis: str) -> pd.Series:
    """Where all is off that an axis goes with; nowhere, if a knob among that is no column and yet the family's."""
    goes_with = KNOBS[axis].only_with if axis in KNOBS else ()
    needs = [name for name in goes_with if name in frame or arm.family in KNOBS[name].families]
    if not needs or any(name not in frame for name in needs):
        return pd.Series(False, index=frame.index)
    return (frame[needs] == [KNOBS[name].default for name in needs]).all(axis=1)


def paths(frame: pd.DataFrame, measure: str, trials: Sequence[str], norm: str | None = None) -> pd.DataFrame:
    """A measure along its steps: one row per step, one column per trial."""
    chosen = frame[(frame["measure"] == measure) & frame["trial"].isin(trials) & frame["step"].notna()]
    if norm is not None:
        chosen = chosen[chosen["norm"] == norm]
    return chosen.pivot(index="step", columns="trial", values="value")
