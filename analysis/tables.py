"""Selections from the tidy table: one value per trial, one arm of a study."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

COORDINATES = ("layer", "norm", "eps", "kept", "split")


def select(frame: pd.DataFrame, measure: str, **where: Any) -> pd.DataFrame:
    """The finished trials' rows of one measure; coordinates that are not given must be absent in the rows.

    A float coordinate (eps, kept) matches within 1e-9.
    """
    chosen = (frame["measure"] == measure) & (frame["status"] == "ok") & frame["step"].isna()
    for name in COORDINATES:
        wanted = where.get(name)
        column = frame[name]
        if wanted is None:
            chosen &= column.isna()
        elif isinstance(wanted, float):
            chosen &= (column - wanted).abs() < 1e-9
        else:
            chosen &= column == wanted
    return frame[chosen]


def per_trial(frame: pd.DataFrame, measure: str, **where: Any) -> pd.Series:
    """One value per trial fingerprint."""
    return select(frame, measure, **where).drop_duplicates("trial").set_index("trial")["value"]


def arm_trials(frame: pd.DataFrame, arm: Mapping[str, Any], defaults: Mapping[str, float]) -> pd.DataFrame:
    """The trials of an arm: every axis at one of the arm's values, every other axis at its default.

    One row per trial (index: fingerprint) with family, seed, status and the axes.
    """
    chosen = pd.Series(True, index=frame.index)
    for axis, default in defaults.items():
        chosen &= frame[axis].isin(arm["axes"].get(axis, [default]))
    columns = ["trial", "family", "seed", "status", *defaults]
    return frame.loc[chosen, columns].drop_duplicates("trial").set_index("trial")
