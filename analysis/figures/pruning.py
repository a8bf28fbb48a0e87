"""Pruning curves: accuracy of the finished nets against the share of them that is pruned (paper A, Figures 4 and 8)."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arms import along
from analysis.claims.judge import Judgement
from analysis.claims.statistics import by_seed
from analysis.figures.drawing import NORM, WIDTH, budget, level, subplots
from analysis.figures.labels import arm_words, axis_words
from analysis.figures.plain import COLORS
from analysis.intervals import mean_t
from analysis.tables import arm_trials, attack_of, per_trial
from study.spec.knobs import by_strength
from study.spec.measuring import PRUNINGS
from study.store.manifest import ArmRecord, Manifest

WORDS = {
    "weights": "weights, by layer",
    "rows": "filters or rows, by layer",
    "global_rows": "filters or rows, one threshold",
    "eps": "filters or rows, one ε",
    "low_rank": "singular values, by layer",
}
FEW, LEGEND = 5, 4  # curves whose intervals can be told apart, and columns of a legend below at most
LETTER, LINE = 3.7, 45.0  # points that a letter of the legend takes about, and its line with the space around it
Curve = tuple[str, pd.DataFrame]  # a level of an arm as a legend has it, and its trials


def pruning_curves(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Clean and robust accuracy (columns) against the share pruned, a row per way of pruning and a curve per level of
    each arm but controls: means over seeds, with 95 % intervals where the curves are few. Where there is one level
    alone, a curve per way instead."""
    rows = frame[(frame["measure"] == "pruned_accuracy") & frame["pruning"].notna()]
    there = set(rows["pruning"])
    ways = [way for way in PRUNINGS if way in there]
    shares = sorted(rows["kept"].unique(), reverse=True)
    curves = [curve for arm in study.arms if not _control(arm) for curve in _levels(frame, study, arm)]
    found = _measures(study)
    together = len(curves) == 1
    panels = [ways] if together or not ways else [[way] for way in ways]
    many = len(curves) > FEW
    labels = [WORDS[way] for way in ways] if together else [words for words, _ in curves]
    columns = min(LEGEND, int(72 * WIDTH / (LINE + LETTER * max(map(len, labels), default=0))) or 1)
    lines = max(1, math.ceil(len(labels) / columns))
    columns = max(1, math.ceil(len(labels) / lines))  # as even as they can be
    legend = 0.2 * lines + 0.1  # inches below the panels
    fig, grid = subplots(len(panels), len(found), 3.1, bottom=0.65 + legend)
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.9, max(1, len(curves))))
    for row, shown in zip(grid, panels, strict=True):
        for ax, (title, measure, where) in zip(row, found, strict=True):
            for way in shown:
                for i, (words, table) in enumerate(curves):
                    color = shades[i] if many else COLORS[(PRUNINGS.index(way) if together else i) % len(COLORS)]
                    values = [per_trial(frame, measure, pruning=way, kept=float(k), **where) for k in shares]
                    _curve(ax, table, shares, values, color, WORDS[way] if together else words, not many)
            ax.set_title(title)
            ax.set_ylim(0, 1.02)
            ax.set_xlim(0.98 - max(shares, default=1.0), 1.0)
            ax.set_xlabel("share pruned")
        row[0].set_ylabel(curves[0][0] if together else WORDS[shown[0]] if shown else "", fontweight="bold")
    if ways and curves:
        fig.legend(*grid[0][0].get_legend_handles_labels(), fontsize=7, loc="lower center", ncols=columns)
    return fig


def _control(arm: ArmRecord) -> bool:
    return arm.name.startswith("control_")


def _measures(study: Manifest) -> list[tuple[str, str, dict[str, Any]]]:
    """Title, measure and coordinates of each column: clean accuracy, and robust accuracy at both judged budgets."""
    found: list[tuple[str, str, dict[str, Any]]] = [("clean accuracy", "pruned_accuracy", {"split": "test"})]
    for norm, name in NORM.items():
        if (eps := study.settings.get(f"judged_{norm}")) is not None:
            where = {"attack": attack_of(study, "configured"), "norm": norm, "eps": float(eps), "split": "test"}
            found.append((f"robust accuracy, {name} {budget(eps, norm)}", "pruned_robust_accuracy", where))
    return found


def _levels(frame: pd.DataFrame, study: Manifest, arm: ArmRecord) -> list[Curve]:
    """The levels of an arm as curves: of each axis that it moves, all others told apart too; the arm alone where it
    moves none. An arm is named where it is not the only one but controls."""
    table = arm_trials(frame, arm, study.axes_off)
    axes = [axis for axis in along(study, arm) if axis in table]
    name = arm_words(arm) if sum(not _control(a) for a in study.arms) > 1 else ""
    if not axes:
        return [(name or "the net", table)] if len(table) else []
    found: list[Curve] = [(name, table)]
    for axis in axes:
        found = [
            (", ".join(filter(None, (words, f"{axis_words(axis)} {level(axis, value)}"))), part[part[axis] == value])
            for words, part in found
            for value in by_strength(axis, part[axis])
        ]
    return [(words, part) for words, part in found if len(part)]


def _curve(
    ax: Axes,
    table: pd.DataFrame,
    shares: Sequence[float],
    values: Sequence[pd.Series],
    color: Any,
    label: str,
    intervals: bool,
) -> None:
    """The means over seeds of one curve, with t `intervals` where there are seeds enough."""
    at, found = [], []
    for share, column in zip(shares, values, strict=True):
        here = column.reindex(table.index).dropna()
        if len(here):
            at.append(1 - share)
            found.append(mean_t(by_seed(here.to_numpy(), table.loc[here.index, "seed"].to_numpy())))
    if not found:
        return
    bars = np.array([[i.value - i.low for i in found], [i.high - i.value for i in found]])
    errors = bars if intervals and not np.isnan(bars).any() else None
    ax.errorbar(
        at, [i.value for i in found], yerr=errors, color=color, marker="o", ms=3.5,
        capsize=2.5, lw=1.4, label=label,
    )  # fmt: skip
