"""The tables that a claim's statistic is taken of: its rows, its control's, and what either is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.arms import baseline
from analysis.claims.evidence import statistic_of
from analysis.claims.model import Claim, Rows
from analysis.claims.pairs import at_levels, pairs
from analysis.claims.regime import judged, start
from study.spec.domains import Value
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

HUMP = (0.5, 1.0, 1.0, 0.5)


@dataclass(frozen=True)
class Sides:
    """`tables` as a statistic takes them; `judged` the nets of all levels that count, `base` those at the baseline;
    `unjudged` the levels that are only shown."""

    tables: Sequence[pd.DataFrame]
    judged: pd.DataFrame
    base: pd.DataFrame
    unjudged: tuple[Value, ...]


def sides(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Sides:
    """The tables of a claim."""
    return _sides(frame, study, claim, claim.rows, start(study, claim))


def control_sides(frame: pd.DataFrame, study: Manifest, claim: Claim) -> Sides | None:
    """Those of its control, through the same filters; None where it has none, or no trial."""
    rows, control = claim.control_rows, claim.control
    if rows is None or control is None:
        return None
    own = start(study, claim) if rows.axis == claim.rows.axis else baseline(study, rows.axis)
    found = _sides(frame, study, claim, rows, own)
    if control.planted:
        found = replace(found, tables=[hump(table, rows.axis, control.planted) for table in found.tables])
    return None if found.judged.empty else found


def hump(table: pd.DataFrame, axis: str, height: float) -> pd.DataFrame:
    """The table with a hump planted in y, alike in all seeds: the whole height at the second and third level behind the
    baseline, half of it at their neighbours. A peak that is certain, in the noise that the nets have."""
    order = by_strength(axis, table[axis])
    added = dict(zip(order[1:], HUMP, strict=False))
    return table.assign(y=table["y"] + height * table[axis].map(added).fillna(0.0))


def _sides(frame: pd.DataFrame, study: Manifest, claim: Claim, rows: Rows, base: Value | None) -> Sides:
    whole = pairs(frame, study, claim, rows)
    seen = whole.drop(columns="clean", errors="ignore") if claim.regime.every_level else whole
    found, past = judged(seen, rows.axis, base)
    table = whole.loc[found.index]
    tables = [at_levels(table, rows.at)] if len(table) else [table]
    first = at_levels(table, {rows.axis: base}) if rows.axis and len(table) else table
    if claim.against:
        tables += [at_levels(pairs(frame, study, claim, r), r.at) for r in claim.against]
    elif rows.axis and statistic_of(claim).tables == 2:  # without `against`: with the baseline of the same arm
        tables.append(first)
    return Sides(tables, table, first if rows.axis else tables[-1], tuple(past))
