"""The figure that any study has: accuracy and robustness against each axis that the study moves."""

from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arms import along, moved
from analysis.claims.judge import Judgement
from analysis.claims.pairs import attacked
from analysis.figures.drawing import NORM, budget, curve, subplots
from analysis.figures.labels import axis_words, told_apart, without_idle
from analysis.tables import arm_trials, per_trial
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

COLORS = matplotlib.colormaps["tab10"](range(10))
NET_LEVEL = ("mean", "product")  # and no layer at all


def measures(frame: pd.DataFrame, study: Manifest) -> dict[str, pd.Series]:
    """What is drawn, by title, a value per trial: clean accuracy, and robust accuracy at each judged budget; where the
    study measures neither, the first number of a whole net that it does."""
    settings = study.settings
    found = {"clean accuracy": per_trial(frame, "clean_accuracy", split="test")}
    for norm, name in NORM.items():
        if (eps := settings.get(f"judged_{norm}")) is not None:
            found[f"robust accuracy, {name} {budget(eps, norm)}"] = attacked(frame, study, "robust_accuracy", norm, eps)
    found = {title: values for title, values in found.items() if len(values)}
    return found or _first(frame)


def _first(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """The first measure of whole nets in the table, at the coordinates of its first row."""
    whole = frame["layer"].isna() | frame["layer"].isin(NET_LEVEL)
    rows = frame[(frame["status"] == "ok") & frame["step"].isna() & whole]
    if rows.empty:
        return {}
    same = pd.Series(True, index=rows.index)
    words = []
    for name in ("measure", "attack", "layer", "norm", "eps", "kept", "pruning", "k", "draw", "on", "split"):
        if name in rows:
            value = rows[name].iloc[0]
            same &= rows[name].isna() if pd.isna(value) else rows[name] == value
            words += [] if pd.isna(value) else [str(value).replace("_", " ")]
    return {", ".join(words): rows[same].drop_duplicates("trial").set_index("trial")["value"]}


def _panels(frame: pd.DataFrame, study: Manifest) -> dict[str, dict[str, pd.DataFrame]]:
    """The trials drawn against each axis, by arm: of the arms that name it, and of those that name no such axis (the
    baseline of all). An arm that moves another axis and holds this one is left out: its mean over that other axis would
    stand beside single nets. Axes are those that an arm moves; where none does, those that tell the arms apart; where
    none do, the arms stand side by side. A search is one arm whose axes are those that differ. Arms without a trial are
    left out."""
    off = study.axes_off
    columns = ["trial", "seed", "status", *off]
    if not study.arms:
        table = frame[frame["status"] == "ok"][columns].drop_duplicates("trial").set_index("trial")
        axes = [a for a in off if table[a].nunique() > 1]
        return {axis: {"": table} for axis in axes} or {"arm": {"": table.assign(arm="all")}}
    axes = list(dict.fromkeys(axis for a in study.arms for axis in along(study, a))) or moved(study)
    found = {a.name: arm_trials(frame, a, off) for a in study.arms}
    tables = {name: table for name, table in found.items() if len(table)}
    if not tables:
        return {}
    if not axes:
        return {"arm": {name: table.assign(arm=name) for name, table in tables.items()}}
    shared = [a.name for a in study.arms if not set(a.axes) & set(axes)]
    out = {}
    for axis in axes:
        named = [a.name for a in study.arms if axis in (along(study, a) or a.axes)]
        out[axis] = {name: tables[name] for name in [*shared, *named] if name in tables}
    return {axis: tables for axis, tables in out.items() if tables}


def plain(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Each measure (columns) against each moved axis (rows), a curve per arm: means with 95 % intervals over seeds.

    A search's trials differ in every knob at once, so that each is a point of its own.
    """
    found, panels = measures(frame, study), _panels(frame, study)
    fig, grid = subplots(max(1, len(panels)), max(1, len(found)), 3.2)
    names = [a.name for a in study.arms]
    for row, (axis, given) in zip(grid, panels.items(), strict=False):
        words = told_apart([a for a in study.arms if a.name in given])
        tables = {name: without_idle(table) for name, table in given.items()}
        order = by_strength(axis, [v for table in tables.values() for v in table[axis]])
        for ax, (title, values) in zip(row, found.items(), strict=False):
            for name, table in tables.items():
                color = COLORS[names.index(name) % len(COLORS) if name else 0]
                if name:
                    curve(ax, table, values, axis, color, words[name], order)
                else:
                    _points(ax, table, values, axis)
            ax.set_title(title)
            if isinstance(order[0], str):
                ax.set_xlim(-0.5, len(order) - 0.5)
            if "accuracy" in title:
                ax.set_ylim(0, 1.02)
        if len(tables) > 1 and found:
            row[0].legend(fontsize=7)
        else:
            row[0].set_ylabel(words.get(next(iter(tables)), ""), fontweight="bold")
    return fig


def _points(ax: Axes, table: pd.DataFrame, values: pd.Series, axis: str) -> None:
    """One point per trial; words stand side by side."""
    ax.scatter(table[axis], values.reindex(table.index), s=12, color=COLORS[0], alpha=0.6)
    ax.set_xlabel(axis_words(axis))
