"""What all figures share: colours, sizes, words for budgets and levels, a curve with intervals over seeds, files."""

import io
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import matplotlib

if "MPLBACKEND" not in os.environ:  # a notebook names its own
    matplotlib.use("agg")

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.claims.statistics import by_seed
from analysis.figures.labels import axis_words
from analysis.intervals import mean_t
from study.spec.domains import Value
from study.spec.knobs import by_strength, named
from study.spec.names import levels

BLUE, ORANGE, GREEN, GREY = "#2a5d9f", "#d1662b", "#3b8553", "#8a8a8a"
WIDTH = 10.5  # of every figure, in inches
LETTER = 6.0  # points that a letter of the usual size takes at most, and a little space
SHADES = matplotlib.colormaps["Blues"]
NORM = {"linf": "l∞", "l2": "l2"}
matplotlib.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110, "axes.grid": True,
     "grid.alpha": 0.25, "legend.frameon": False, "axes.titlesize": 10, "svg.hashsalt": "study", "pdf.fonttype": 42}
)  # fmt: skip

# What a figure is written as. None has a date: the same table gives the same files.
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 130},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


def files(figure: Figure) -> dict[str, bytes]:
    """A figure in every format, by its ending."""
    out = {}
    for ending, how in FORMATS.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, **how)
        out[ending] = buffer.getvalue()
    return out


def plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2, 5, 10, ... in plain numbers; its scale is set."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def budget(eps: float, norm: str) -> str:
    """A budget as people write it: 16/255, 0.5/255 (l_inf), 0.5 (l_2)."""
    return f"{whole:g}/255" if (whole := levels(round(eps, 12), norm)) else f"{eps:g}"


def norms(text: str) -> str:
    """A text with norms as figures write them: l∞ for l_inf, l2 for l_2."""
    return re.sub(r"\bl_(inf|[12])\b", lambda found: NORM.get(f"l{found[1]}", f"l{found[1]}"), text)


def level(axis: str, value: Value) -> str:
    """An axis value as a tick: `full` for rank 0."""
    return named(axis, value)


def subplots(
    rows: int, columns: int, height: float, right: float = 0.99, bottom: float = 0.65
) -> tuple[Figure, np.ndarray]:
    """A figure WIDTH inches wide with axes at fixed places (a layout engine would draw everything twice); `height` of a
    row and the room at the `bottom` are in inches."""
    whole = height * rows
    fig = Figure(figsize=(WIDTH, whole))
    place = {"left": 0.065, "right": right, "bottom": bottom / whole, "top": 1 - 0.5 / whole}
    return fig, fig.subplots(rows, columns, squeeze=False, gridspec_kw=place | {"wspace": 0.2, "hspace": 1.3 / height})


def curve(
    ax: Axes, table: pd.DataFrame, column: pd.Series, axis: str, color: Any, label: str, order: Sequence[Value] = ()
) -> None:
    """Mean with t intervals over seeds at each value of the table's axis (points alone where seeds are too few).

    Values stand side by side in `order`, by strength where none is given; trials of one seed are averaged first.
    Nothing is drawn of a table without trials.
    """
    order = list(order) or by_strength(axis, table[axis])
    if not order:
        return
    places, found = [], []
    for place, value in enumerate(order):
        values = column.reindex(table.index[table[axis] == value]).dropna()
        if len(values):
            places.append(place)
            found.append(mean_t(by_seed(values.to_numpy(), table.loc[values.index, "seed"].to_numpy())))
    bars = [[i.value - i.low for i in found], [i.high - i.value for i in found]]
    errors = None if any(math.isnan(v) for v in bars[0]) else np.array(bars)
    line = "none" if isinstance(order[0], str) else "-"  # words have no way from one to the next
    ax.errorbar(
        places, [i.value for i in found], yerr=errors, color=color, marker="o", ms=3.5, capsize=2.5, lw=1.4, ls=line,
        label=label,
    )  # fmt: skip
    names = [level(axis, v) for v in order]
    ax.set_xticks(range(len(order)), names, **slanted(ax, names))
    ax.set_xlabel(axis_words(axis))


def staircase(ax: Axes, corners: np.ndarray, maximise: Sequence[bool], **style: Any) -> None:
    """The border of what the points (N, 2) attain, drawn from corner to corner."""
    order = corners[np.argsort(corners[:, 0])]
    # Between two corners the attained value of y is that of the corner on the better side of x.
    ax.step(order[:, 0], order[:, 1], where="pre" if maximise[0] else "post", **style)


def key(ax: Axes, **how: Any) -> None:
    """A legend where no curve is; where there is no such place, over all of them: the axis grows, its ticks do not."""
    box = ax.legend(**how).get_window_extent()
    lines = [(line, np.asarray(line.get_xydata())) for line in ax.lines]
    drawn = [line.get_transform().transform(_dense(points)) for line, points in lines if len(points)]
    if not any(box.contains(x, y) for points in drawn for x, y in points):
        return
    low, high = ax.get_ylim()
    ticks = [t for t in ax.get_yticks() if low <= t <= high]
    ax.set_ylim(low, low + (high - low) / (1 - box.height / ax.bbox.height - 0.04))
    ax.set_yticks(ticks)
    ax.legend(**how | {"loc": "upper right"})


def _dense(points: np.ndarray) -> np.ndarray:
    """Points on the way between points, twenty of each pair."""
    at = np.linspace(0, len(points) - 1, 20 * max(1, len(points) - 1) + 1)
    return np.stack([np.interp(at, range(len(points)), c) for c in points.T.astype(float)], axis=1)


def slanted(ax: Axes, names: Sequence[str]) -> dict[str, Any]:
    """How labels side by side are turned: not at all where each has room, by its letters, in its share of the axes."""
    share = 72 * WIDTH * ax.get_position().width / max(1, len(names))  # points
    if len(names) <= 7 and max(map(len, names), default=0) * LETTER < share:
        return {}
    return {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
