"""What else follows y as well as a claim's own x does: plainer explanations, on the same nets."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.claims.evidence import places
from analysis.claims.levels import grid, ranked, unit
from analysis.claims.model import Beside, Claim
from analysis.claims.pairs import pairs
from analysis.claims.statistics import coefficients, step_of
from analysis.intervals import Interval, mean_coefficient, mean_t
from study.store.manifest import Manifest


@dataclass(frozen=True)
class Explanation:
    """A plainer explanation: its own coefficient, and how far that of the claim's x lies above it, paired by seed.

    Both are counted in the direction of the claim: a difference above 0 says that x follows y more closely.
    """

    name: str
    found: Interval
    more: Interval


def explanations(frame: pd.DataFrame, study: Manifest, claim: Claim, table: pd.DataFrame) -> tuple[Explanation, ...]:
    """The explanations that stand beside a claim, by rank correlation at its judged levels (`table`: its nets)."""
    out = []
    for other in claim.beside:
        if other.x is None:
            x = pd.Series(places(table, claim.rows.axis), table.index)
        else:
            x = pairs(frame, study, claim, replace(claim.rows, x=other.x))["x"].reindex(table.index)
        out.append(_explained(other, table, x, claim))
    return tuple(e for e in out if not math.isnan(e.found.value))


def _explained(other: Beside, table: pd.DataFrame, x: pd.Series, claim: Claim) -> Explanation:
    columns = (table["x"].to_numpy(), x.to_numpy(), table["y"].to_numpy())
    own, plain, y = (unit(ranked(g)) for g in grid(places(table, claim.rows.axis), table["seed"].to_numpy(), *columns))
    a, b = coefficients(own, y), coefficients(plain, y)
    free = other.either or other.x is None
    side = math.copysign(1, claim.expected * b.mean()) if free and len(b) else 1
    return Explanation(
        other.name, mean_coefficient(b, step_of(own.shape[1])), mean_t(claim.expected * a - side * claim.expected * b)
    )


def within_levels(table: pd.DataFrame, axis: str) -> float:
    """The mean over levels of the rank correlation of x and y over the seeds of one level: about 0 where x says no
    more of y than the level does. NaN without a level of three seeds."""
    found = []
    for _, nets in table.groupby(places(table, axis)):
        x, y = (unit(ranked(nets[c].to_numpy()[None])) for c in ("x", "y"))
        if len(nets) >= 3 and np.any(x) and np.any(y):
            found.append(float((x * y).sum()))
    return float(np.mean(found)) if found else math.nan
