"""What turns a verdict: one seed or one level left out."""

from collections.abc import Sequence

import pandas as pd

from analysis.claims.evidence import p_of, p_of_seeds, sign, statistic_of
from analysis.claims.model import Claim
from analysis.claims.needs import NEEDS
from analysis.claims.regime import too_few_levels
from study.spec.values import shown

LEAST = 3  # seeds: one left out of five may leave four


def fragile(claim: Claim, tables: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    """The seeds and levels without any one of which the claim, by itself (before Holm), would show something else.

    One level fewer may leave too few for an exact p value of .05: then the seeds' alone counts.
    """
    asked, axis = statistic_of(claim), claim.rows.axis

    def shows(parts: Sequence[pd.DataFrame]) -> int:
        found = asked.take(parts, axis, LEAST)
        p = p_of_seeds(claim, found) if too_few_levels(claim, found) else p_of(claim, found)
        return sign(claim, found, p)

    whole, out = shows(tables), []
    for seed in sorted(set(tables[0]["seed"])):
        if shows([t[t["seed"] != seed] for t in tables]) != whole:
            out.append(f"seed {seed}")
    if NEEDS[claim.statistic].least and axis:
        for level in dict.fromkeys(tables[0][axis]):
            if shows([tables[0][tables[0][axis] != level]]) != whole:
                out.append(f"{axis} {shown(level)}")
    return tuple(out)
