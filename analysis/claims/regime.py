"""Which levels of a claim's knob count, and what must hold before it is judged at all."""

from collections.abc import Sequence

import pandas as pd

from analysis.arms import baseline
from analysis.claims.model import Claim
from analysis.claims.needs import ALPHA, NEEDS, POINTS_BETWEEN, levels_for, many
from analysis.claims.pairs import EPS_DIGITS
from analysis.claims.statistics import Found
from study.spec.domains import Value
from study.spec.knobs import by_strength, named
from study.store.manifest import Manifest

MIN_CLEAN = {"digits": 0.9, "mnist": 0.9, "fashion_mnist": 0.8}
OTHER_MIN_CLEAN = 0.45
KEEPS_CLEAN = 0.8
MOVES_EPS = 0.3


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


def judged(table: pd.DataFrame, axis: str, base: Value | None) -> tuple[pd.DataFrame, list[Value]]:
    """The nets of the levels that count, and the levels that are only shown; of a claim and of its control alike."""
    if not axis or table.empty:
        return table, []
    good, past = judged_values(table, axis, base)
    return table[table[axis].isin(good)], past


def conditions(table: pd.DataFrame, base: pd.DataFrame, claim: Claim, data: str) -> list[str]:
    """Why the claim cannot be judged here, in words; empty when the protocol's conditions hold."""
    reasons = []
    seeds = table["seed"].nunique()
    if seeds < (least := NEEDS[claim.statistic].seeds):
        verb = "is" if seeds == 1 else "are"
        reasons.append(f"{many(seeds, 'seed')} {verb} too few for an interval ({least} are needed)")
    if claim.regime.clean and base.empty:
        return [*reasons, "the arm has no baseline"]
    low = MIN_CLEAN.get(data, OTHER_MIN_CLEAN)
    if claim.regime.clean and base["clean"].mean() < low:
        reasons.append(f"the baseline's clean accuracy is {base['clean'].mean():.2f}, below {low:g}")
    least, most = claim.regime.robust_within
    if claim.regime.robust and not least <= base["robust"].mean() <= most:
        reasons.append(f"the baseline's robust accuracy is {base['robust'].mean():.2f}, outside {least:g} to {most:g}")
    if not claim.regime.structure:
        return reasons
    means = table.groupby(claim.rows.axis)["eps"].mean()
    moved = float(means.max() - means.min())
    between = int(((means > means.min()) & (means < means.max())).sum())
    if moved < MOVES_EPS or between < POINTS_BETWEEN:
        reasons.append(
            f"compressibility moved by {moved:.2f} with {many(between, 'point')} between "
            f"({MOVES_EPS:g} and {POINTS_BETWEEN} are needed)"
        )
    return reasons


def too_few_levels(claim: Claim, found: Found, family: int = 1) -> str:
    """Why no p value of .05 can be reached at the judged levels, as the first of `family` claims under Holm; else
    nothing."""
    needs = NEEDS[claim.statistic]
    if needs.least is None or (found.levels and needs.least(found.levels) * family <= ALPHA * (1 + 1e-9)):
        return ""
    among = f" among {family} claims" if family > 1 else ""
    return f"{many(found.levels, 'level')} can be judged{among} ({levels_for(claim.statistic, family)} are needed)"


def too_few_whole_seeds(claim: Claim, found: Found, tables: Sequence[pd.DataFrame]) -> str:
    """Why fewer seeds are left than were trained: those that lack a level which most have, or one side of a comparison;
    nothing where enough are left."""
    least, axis = NEEDS[claim.statistic].seeds, claim.rows.axis
    if found.n >= least:
        return ""
    lack = []
    for seed in sorted({s for t in tables for s in t["seed"]}):
        if len(tables) > 1 and any(seed not in set(t["seed"]) for t in tables):
            lack.append(f"seed {seed} is not on every side")
        elif axis and NEEDS[claim.statistic].least:
            lost = [named(axis, v) for v in _of_most(tables[0], axis) if v not in set(_of_seed(tables[0], axis, seed))]
            lack += [f"seed {seed} lacks {axis} {', '.join(lost)}"] if lost else []
    left = f"{many(found.n, 'whole seed')} {'is' if found.n == 1 else 'are'} left, {least} are needed"
    return f"{left} ({'; '.join(lack)})" if lack else left


def _of_most(table: pd.DataFrame, axis: str) -> list[Value]:
    """The levels that at least half of the seeds have: the others are left out for all (levels.grid)."""
    half = table["seed"].nunique() / 2
    return [v for v in by_strength(axis, table[axis]) if table.loc[table[axis] == v, "seed"].nunique() >= half]


def _of_seed(table: pd.DataFrame, axis: str, seed: int) -> list[Value]:
    return table.loc[table["seed"] == seed, axis].tolist()
