"""The figures of a search: its fronts, its progress, attainment over seeds, and what the front's points are made of."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import finalists, pareto
from analysis.claims.judge import Judgement
from analysis.claims.needs import many
from analysis.figures.drawing import BLUE, GREEN, GREY, ORANGE, plain_log, staircase, subplots
from analysis.figures.labels import without_idle
from analysis.intervals import MIN_SEEDS
from study.store.manifest import Manifest

KINDS = {"dense": GREY, "low rank": BLUE, "mask": ORANGE, "trade-off": "#8d4fa8", "removal": GREEN}
BITS = {0: "o", 8: "s", 4: "D", 2: "^", 1: "v"}
APART = 0.045  # of the height, at least, between two values that are written at one axis
LOGARITHMIC = (
    "stored_bytes", "inference_bytes", "parameters", "macs", "latency_seconds", "training_seconds", "training_passes",
)  # fmt: skip


def label(objective: Mapping[str, Any]) -> str:
    """An objective as an axis label: its name, budget and better direction."""
    eps = f", l∞ {round(objective['eps'] * 255, 3):g}/255" if objective.get("eps") else ""
    return f"{objective['name'].replace('_', ' ')}{eps} ({'more' if objective['maximise'] else 'less'} is better)"


def scale(ax: Axes, x: Mapping[str, Any], y: Mapping[str, Any]) -> None:
    """Labels, and logarithms for what spans decades, with ticks in plain numbers."""
    ax.set_xlabel(label(x))
    ax.set_ylabel(label(y))
    for objective, axis, change in ((x, ax.xaxis, ax.set_xscale), (y, ax.yaxis, ax.set_yscale)):
        if objective["name"] in LOGARITHMIC:
            change("log")
            plain_log(axis)


def fronts(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Every point as the search saw it, the finalists as means with intervals, and the front, pair by pair."""
    single = finalists.evaluations(frame, study)
    rerun = _acceptable(finalists.points(frame, study))
    n = int(rerun["n"].max()) if len(rerun) else 0
    tried = "validation images, the search's seed" if finalists.is_apart(study) else "first seed"
    pairs = list(itertools.combinations(finalists.objectives(study), 2))
    fig, grid = subplots(len(pairs), 1, 4.6)
    for (y, x), ax in zip(pairs, grid[:, 0], strict=True):
        for weak, edge in ((False, "#bdbdbd"), (True, "#dedede")):
            some = single[single["acceptable"] != weak]
            below = f", clean accuracy below {study.search['floor']:g}" if weak else ""
            ax.scatter(some[x["name"]], some[y["name"]], s=10, facecolors="none" if weak else edge, edgecolors=edge,
                       label=f"{tried}{below}" if len(some) else None)  # fmt: skip
        if len(pairs) == 1 and len(rerun):
            corners = rerun.loc[rerun["front"], [x["name"], y["name"]]].to_numpy()
            staircase(ax, corners, [x["maximise"], y["maximise"]], color="#333333", lw=0.9, alpha=0.6)
        if len(rerun):
            _models(ax, rerun, x["name"], y["name"])
        scale(ax, x, y)
        bars = ", bars: 95 % intervals" if n >= MIN_SEEDS else ""
        seeds = f"test images, means over {n} seeds{bars}" if n > 1 else "test images, one seed"
        count = int(rerun["front"].sum()) if len(rerun) else 0
        ax.set_title(
            f"{many(count, 'non-dominated model')} ({seeds}; crosses: dominated)" if n else "No finalist is finished"
        )
        if len(single) or len(rerun):
            ax.legend(fontsize=7.5, ncols=2)
    return fig


def _acceptable(table: pd.DataFrame) -> pd.DataFrame:
    """The finalists that keep the floor in the mean."""
    return table[table["acceptable"].astype(bool)] if len(table) else table


def _models(ax: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Points as means with intervals: colour by what compressed them, shape by bits, crosses for the dominated."""
    kinds = np.array([finalists.kind(row) for _, row in table.iterrows()], dtype=object)
    on = table["front"].to_numpy(dtype=bool)
    for name, color in KINDS.items():
        some = table[(kinds == name) & on]
        bars = some.dropna(subset=[f"{y}_low"])
        reach = np.array([bars[y] - bars[f"{y}_low"], bars[f"{y}_high"] - bars[y]])
        ax.errorbar(bars[x], bars[y], yerr=reach, fmt="none", ecolor=color, elinewidth=0.9, alpha=0.6)
        ax.scatter(table[x][(kinds == name) & ~on], table[y][(kinds == name) & ~on], s=18, marker="x", color=color,
                   alpha=0.55, lw=1)  # fmt: skip
        for bits, marker in BITS.items():
            part = some[some["bits"] == bits]
            ax.scatter(part[x], part[y], s=36, marker=marker, color=color, edgecolors="white", lw=0.5, zorder=3)
        for _, row in some[some["missing"] != ""].iterrows():
            ax.annotate(f"n = {row['n']}", (row[x], row[y]), xytext=(5, -9), textcoords="offset points", fontsize=6.5)
        if (kinds == name).any():
            ax.scatter([], [], s=36, color=color, label=name)
    unsure = table[on & (table["floor"] == "not shown").to_numpy()]
    if len(unsure):
        ax.scatter(unsure[x], unsure[y], s=110, facecolors="none", edgecolors="#b03030", lw=1,
                   label="not shown to keep the floor")  # fmt: skip
    for bits, marker in BITS.items():
        if (table["bits"][on] == bits).any():
            ax.scatter([], [], s=36, marker=marker, color="#444444", label=f"{bits} bit" if bits else "float32")


def progress(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Hypervolume against evaluations, and (for two objectives) attainment over seeds."""
    ways, names = finalists.directions(study), [o["name"] for o in finalists.objectives(study)]
    fig, grid = subplots(1, 2, 3.8, right=0.96)
    left, right = grid[0]
    single = finalists.evaluations(frame, study).dropna(subset=names)
    if len(single):
        values = log_costs(single[names], names)
        at = pareto.reference(values, ways)
        values[~single["acceptable"].to_numpy()] = np.nan
        grown = pareto.history(values, at, ways)
        left.plot(range(1, len(values) + 1), grown, color=BLUE, lw=1.6, drawstyle="steps-post")
    left.set_xlabel("evaluations (as the search saw them)")
    left.set_ylabel("hypervolume (costs in powers of ten)")
    left.set_title(f"Progress of the search: {study.search['sampler']}")
    left.set_ylim(bottom=0)
    rerun = _acceptable(finalists.points(frame, study))
    trials = " ".join(rerun["trials"]).split() if len(rerun) else []
    part = finalists.finals(frame, study).loc[trials]
    sets = [group[names].to_numpy() for _, group in part.groupby("seed")]
    if len(names) != 2 or len(sets) < 2:
        right.set_axis_off()
        why = "two objectives" if len(names) != 2 else "two seeds or more"
        right.text(0.5, 0.5, f"attainment is drawn for {why}", ha="center", color=GREY)
        return fig
    y, x = finalists.objectives(study)
    counts = {1: GREEN, -(-len(sets) // 2): BLUE, len(sets): ORANGE}
    for count, color in counts.items():
        corners = pareto.attainment(sets, ways, count / len(sets))[:, ::-1]
        words = "all seeds" if count == len(sets) else f"{count} of {len(sets)} seeds"
        staircase(right, corners, ways[::-1], color=color, lw=1.5, marker="o", ms=2.5, label=f"attained at {words}")
    scale(right, x, y)
    right.set_title("Attainment over seeds of the finalists")
    right.legend(fontsize=7.5)
    return fig


def log_costs(values: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The objectives (N, d), those that span decades as powers of ten."""
    columns = [np.log10(values[n]) if n in LOGARITHMIC else values[n] for n in names]
    return np.column_stack(columns).astype(float)


def parallel(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Parallel coordinates: knobs, then objectives; the front in colour by its first objective, the rest grey."""
    table = without_idle(_with_the_others(frame, study))
    names = [o["name"] for o in finalists.objectives(study)]
    if not len(table):
        fig, grid = subplots(1, 1, 1.5)
        grid[0, 0].set_axis_off()
        grid[0, 0].text(0.5, 0.5, "no point has its numbers yet", ha="center", color=GREY)
        return fig
    columns = [*finalists.knobs_moved(table, study), *names]
    most = max(1, table["rank"].max())
    shown = table.assign(bits=table["bits"].replace(0, 32), rank=table["rank"].replace(0, 2 * most))  # off is the top
    words = {("bits", 32): "float", ("rank", 2 * most): "full"}
    fig, grid = subplots(1, 1, 4.4, right=0.95)
    ax = grid[0, 0]
    places = np.column_stack([_place(shown[c], c in (*LOGARITHMIC, "alpha", "rank", "bits")) for c in columns])
    first, on = table[names[0]].to_numpy(), table["front"].to_numpy(dtype=bool)
    least, largest = (first[on].min(), first[on].max()) if on.any() else (0.0, 1.0)
    norm = matplotlib.colors.Normalize(least, largest)
    colors = matplotlib.colormaps["viridis"]
    for line in places[~on]:
        ax.plot(range(len(columns)), line, color="#dddddd", lw=0.7)
    for line, value in zip(places[on], first[on], strict=True):
        ax.plot(range(len(columns)), line, color=colors(norm(value)), lw=1.6, zorder=3)
    for i, column in enumerate(columns):
        ax.axvline(i, color="#999999", lw=0.7)
        for place, value in _ticks(shown[column], places[:, i]):
            ax.annotate(words.get((column, value), _word(value)), (i, place), xytext=(3, 0), zorder=4,
                        textcoords="offset points", fontsize=6.8, va="center", linespacing=0.9,
                        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.6})  # fmt: skip
    ax.set_xticks(range(len(columns)), [c.replace("_", "\n") for c in columns], fontsize=min(8, 98 / len(columns)))
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.set_title(f"What the front is made of (colour: {names[0].replace('_', ' ')}; grey: all others)")
    fig.colorbar(matplotlib.cm.ScalarMappable(norm, colors), ax=ax, pad=0.05, fraction=0.03)
    return fig


def _with_the_others(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """The finalists, and every other point as the search saw it: axes, objectives and `front`."""
    table, others = finalists.points(frame, study), finalists.evaluations(frame, study).assign(front=False)
    numbers = [o["name"] for o in finalists.objectives(study)]
    columns, others = [*study.axes_off, *numbers, "front"], others.dropna(subset=numbers)
    if not len(table):
        return others[columns]
    known = set(table[[*study.axes_off]].itertuples(index=False, name=None))
    new = [axes not in known for axes in others[[*study.axes_off]].itertuples(index=False, name=None)]
    return pd.concat([table.loc[table["n"] > 0, columns], others.loc[new, columns]])


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("_", "\n")
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _place(column: pd.Series, logarithmic: bool) -> np.ndarray:
    """Values on [0, 1]: words and small sets of numbers evenly, others by value (zero at the foot of a logarithm)."""
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        words = sorted(set(column), key=lambda word: (word != "none", word))
        return np.array([words.index(v) / max(1, len(words) - 1) for v in column])
    values = column.to_numpy(dtype=float)
    if logarithmic:
        least = values[values > 0].min() if (values > 0).any() else 1.0
        values = np.log10(np.maximum(values, least / 2))
    reach = np.nanmax(values) - np.nanmin(values)
    return (values - np.nanmin(values)) / (reach if reach > 0 else 1.0)


def _ticks(column: pd.Series, places: np.ndarray) -> list[tuple[float, Any]]:
    """Where to write which values: all of a few, else the ends and the middle; none that touches the one below it, or
    the top."""
    found = dict(sorted(zip(places, column, strict=True), key=lambda pair: pair[0]))
    keys = list(found)
    if len(keys) > 6:
        keys = [keys[0], min(keys, key=lambda p: abs(p - 0.5)), keys[-1]]
    kept = keys[:1]
    for place in keys[1:]:
        if place == keys[-1] or min(place - kept[-1], keys[-1] - place) >= APART:
            kept.append(place)
    return [(place, found[place]) for place in kept]
