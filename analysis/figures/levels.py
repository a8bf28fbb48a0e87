"""Accuracy against the level of pruning and of quantization (paper C, Figures 1 and 3 in one)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import matching
from analysis.claims.judge import Judgement
from analysis.claims.statistics import by_seed
from analysis.figures.drawing import BLUE, GREEN, GREY, ORANGE, subplots
from analysis.figures.labels import TUNED, short
from analysis.figures.plain import measures
from analysis.intervals import Interval, mean_t
from study.spec.domains import Value
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

PANELS = {
    matching.PRUNED: ("pruning", "share of filters or rows removed"),
    matching.QUANTIZED: ("quantization", "bits of weights and activations"),
}
BASES = {0.0: ("standard", BLUE), 1.0: ("robust", ORANGE)}  # by adversarial_ratio; any other share is green
STYLES = {"none": ("o", "--", "white"), "adversarial": ("o", "-", None), "standard": ("s", ":", "white")}
MATCHED = "levels matched on validation images"
APART = 0.07  # of the way to the next level: what lies between curves, whose intervals would hide each other


def levels(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Clean and robust accuracy (rows) against the level of each compression (columns), a curve per kind of training
    and of fine-tuning: means with 95 % intervals over seeds. The level that validation images match to 8 bits, and
    these, are marked."""
    found = measures(frame, study)
    tables = {axis: matching.nets(frame, study, axis) for axis in PANELS}
    tables = {axis: t for axis, t in tables.items() if len(t) and t[axis].nunique() > 1}
    match = next((m for m in matching.matches(frame, study) if m.level is not None), None)
    fig, grid = subplots(max(1, len(found)), max(1, len(tables)), 3.0, bottom=1.05)
    for row, (title, values) in zip(grid, found.items(), strict=False):
        for ax, (axis, table) in zip(row, tables.items(), strict=False):
            order = by_strength(axis, table[axis])
            kinds = sorted(set(table[["adversarial_ratio", "finetune"]].itertuples(index=False, name=None)))
            for i, (ratio, tuned) in enumerate(kinds):
                rows = table[(table["adversarial_ratio"] == ratio) & (table["finetune"] == tuned)]
                _curve(ax, rows, values, axis, order, ratio, tuned, APART * (i - (len(kinds) - 1) / 2))
            if match is not None and match.level is not None:
                _mark(ax, order, match.level if axis == matching.PRUNED else matching.BITS)
            ax.set_xticks(range(len(order)), [_tick(axis, value) for value in order])
            ax.set_xlabel(PANELS[axis][1])
            ax.set_ylim(0, 1.02)
        row[0].set_ylabel(title)
    for ax, axis in zip(grid[0], tables, strict=False):
        ax.set_title(PANELS[axis][0])
    named = {label: h for ax in grid.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    handles = {label: named[label] for label in sorted(named, key=lambda label: label == MATCHED)}  # a column per base
    fig.legend(handles.values(), handles.keys(), fontsize=8, loc="lower center", ncols=3)
    return fig


def _tick(axis: str, value: Value) -> str:
    """A level below its place; the net that nothing compressed by that word."""
    return short(axis, value) if value else "none"


def _curve(
    ax: Axes, rows: pd.DataFrame, values: pd.Series, axis: str, order: Sequence[Value], ratio: float, tuned: str,
    shift: float,
) -> None:  # fmt: skip
    """The means over seeds of the nets of one training, with t intervals where there are seeds enough."""
    there: dict[float, Interval] = {}
    for place, value in enumerate(order):
        here = values.reindex(rows.index[rows[axis] == value]).dropna()
        if len(here):
            there[place + shift] = mean_t(by_seed(here.to_numpy(), rows.loc[here.index, "seed"].to_numpy()))
    if not there:
        return
    found = list(there.values())
    bars = np.array([[i.value - i.low for i in found], [i.high - i.value for i in found]])
    name, color = BASES.get(ratio, (f"adversarial share {ratio:g}", GREEN))
    marker, line, face = STYLES[tuned]
    ax.errorbar(
        list(there), [i.value for i in found], yerr=None if np.isnan(bars).any() else bars, color=color, marker=marker,
        ls=line, mfc=face or color, ms=4, capsize=2, lw=1.3,
        label=f"{name} net, {TUNED.get(tuned, 'not fine-tuned')}",
    )  # fmt: skip


def _mark(ax: Axes, order: Sequence[Value], value: Value) -> None:
    """A band behind a level of the match."""
    if value in order:
        place = order.index(value)
        ax.axvspan(place - 0.3, place + 0.3, color=GREY, alpha=0.18, lw=0, label=MATCHED)
