"""What turns a verdict: one seed or one level left out."""

from collections.abc import Sequence

import pandas as pd

from analysis.claims.evidence import p_of, p_of_seeds, sign, statistic_of
from analysis.claims.model import Claim
from analysis.claims.needs import NEEDS
from analysis.claims.regime import too_few_levels
from analysis.claims.statistics import Found
from study.spec.knobs import named

LEAST = 3  # seeds: one left out of five may leave four


def fragile(claim: Claim, tables: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    """The seeds and levels without any one of which the claim, by itself (before Holm), would show something else.

    A level fewer may leave too few for an exact p value of .05: then that of the seeds counts, with it and without it.
    """
    asked, axis = statistic_of(claim), claim.rows.axis

    def found(parts: Sequence[pd.DataFrame]) -> Found:
        return asked.take(parts, axis, LEAST)

    whole, out = found(tables), []
    for seed in sorted(set(tables[0]["seed"])):
        less = found([t[t["seed"] != seed] for t in tables])
        if sign(claim, less, p_of(claim, less)) != sign(claim, whole, p_of(claim, whole)):
            out.append(f"seed {seed}")
    for level in dict.fromkeys(tables[0][axis]) if NEEDS[claim.statistic].least and axis else ():
        less = found([tables[0][tables[0][axis] != level]])
        p = p_of_seeds if too_few_levels(claim, less) else p_of
        if sign(claim, less, p(claim, less)) != sign(claim, whole, p(claim, whole)):
            out.append(f"{axis} {named(axis, level)}")
    return tuple(out)
