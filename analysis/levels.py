"""Level by level: what a study without claims found, beside its nets that are not compressed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.arms import baseline, differing, slices
from analysis.figures.labels import said
from analysis.figures.plain import measures
from analysis.intervals import mean_t
from analysis.tables import arm_trials, per_trial
from study.spec.domains import Value
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

AT, BYTES, SEEDS, CHANGE = "level", "stored bytes", "seeds", ": change"
UNCOMPRESSED = "as trained"


def levels(frame: pd.DataFrame, study: Manifest) -> list[dict[str, str]]:
    """One row per point of a grid: its level in words, seeds, stored bytes, the means of what the plain figure draws
    with 95 % intervals over seeds, and of each its mean difference to the net of the same seed that nothing compressed;
    off first, then arm by arm towards the compressed end. Nothing for a search, and where no axis moves."""
    if study.search:
        return []
    found, size = measures(frame, study), per_trial(frame, "stored_bytes")
    out = []
    for net in nets(frame, study):
        base = net.whole[(net.whole[list(net.point)] == [baseline(study, axis) for axis in net.point]).all(axis=1)]
        out.append(_row(net, base, found, size))
    return sorted(out, key=lambda row: row[AT] != UNCOMPRESSED)


@dataclass(frozen=True)
class Nets:
    """The finished nets of one point of a grid: the level in words, its axes, their trials, and all those of the slice
    of the study that it is in (index: fingerprint); `compressed`: an axis is not at its baseline."""

    level: str
    point: dict[str, Value]
    rows: pd.DataFrame
    whole: pd.DataFrame
    compressed: bool


def nets(frame: pd.DataFrame, study: Manifest) -> Iterator[Nets]:
    """Point by point of a grid, arm by arm towards the compressed end; none of a search, and where no axis moves."""
    for at, part in [] if study.search else slices(study):
        if not (axes := differing(part)):
            continue
        tables = [arm_trials(frame, arm, study.axes_off) for arm in part.arms]
        whole = pd.concat([t[t["status"] == "ok"] for t in tables]).groupby(level=0).first()
        for values in _points([whole.loc[t.index.intersection(whole.index)] for t in tables], axes):
            point = dict(zip(axes, values, strict=True))
            there = [axis for axis, value in point.items() if value != baseline(study, axis)]
            there.sort(key=lambda axis: axis.startswith("finetune"))
            level = ", ".join(said(axis, point[axis]) for axis in there) or UNCOMPRESSED
            rows = whole[(whole[axes] == list(values)).all(axis=1)]
            if len(rows):
                yield Nets(f"{level} ({at})" if at else level, point, rows, whole, bool(there))


def _points(tables: list[pd.DataFrame], axes: list[str]) -> list[tuple[Value, ...]]:
    """The points of the arms, each once, arm by arm and by the strength of their axes."""
    out: list[tuple[Value, ...]] = []
    for table in tables:
        order = {axis: by_strength(axis, table[axis]) for axis in axes}
        points = set(table[axes].itertuples(index=False, name=None))
        out += sorted(points, key=lambda p: [order[axis].index(v) for axis, v in zip(axes, p, strict=True)])
    return list(dict.fromkeys(out))


def _row(net: Nets, base: pd.DataFrame, found: dict[str, pd.Series], size: pd.Series) -> dict[str, str]:
    """One point in words."""
    rows = net.rows
    bytes_ = size.reindex(rows.index).dropna()
    out: dict[str, Any] = {AT: net.level, SEEDS: str(rows["seed"].nunique())}
    out |= {BYTES: f"{bytes_.mean():,.0f}"} if len(size) else {}
    for title, values in found.items():
        each, beside = _by_seed(values, rows), _by_seed(values, base)
        out[title] = mean_t(each.to_numpy()).numbers()
        if len(base):
            change = (each - beside.reindex(each.index)).dropna()
            out[f"{title}{CHANGE}"] = signed(mean_t(change.to_numpy())) if net.compressed else ""
    return out


def signed(found: Any, digits: int = 2) -> str:
    """A change with its sign, and its interval where there is one."""
    spread = f" [{found.low:+.{digits}f}, {found.high:+.{digits}f}]" if found.low == found.low else ""
    return f"{found.value:+.{digits}f}{spread}"


def _by_seed(values: pd.Series, rows: pd.DataFrame) -> pd.Series:
    return values.reindex(rows.index).groupby(rows["seed"]).mean().dropna()


def text(table: list[dict[str, str]]) -> list[str]:
    """The rows as aligned lines under their heads, as many columns as a terminal has room for: the first two measures,
    and how the second of them changes."""
    if not table:
        return []
    titles = [head for head in table[0] if head not in (AT, SEEDS, BYTES) and not head.endswith(CHANGE)]
    heads = [h for h in (AT, BYTES, *titles[:2], f"{titles[1]}{CHANGE}" if len(titles) > 1 else "") if h in table[0]]
    cells = [heads, *([row[head] for head in heads] for row in table)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
