"""Paper A, Figure 4: what an attack does inside the net; and Figure 2: classes on planes of principal components."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from analysis.arms import along
from analysis.claims.judge import Judgement
from analysis.claims.pairs import attacked
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, SHADES, budget, curve, level, subplots
from analysis.figures.labels import axis_words
from analysis.tables import arm_trials, attack_of, per_trial
from study.spec.attack_names import RANDOM
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

NORM_OF = ("l2", "linf")  # the spectral story first


def _norm(frame: pd.DataFrame, measure: str) -> str:
    there = set(frame.loc[frame["measure"] == measure, "norm"].dropna())
    return next((n for n in NORM_OF if n in there), "l2")


def _arm(frame: pd.DataFrame, study: Manifest) -> tuple[str, pd.DataFrame] | None:
    """The first arm that moves something, its axis and its trials."""
    for arm in study.arms:
        axes = along(study, arm)
        if axes and len(table := arm_trials(frame, arm, study.axes_off)):
            return axes[0], table[table["status"] == "ok"]
    return None


def representations(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Compressibility, accuracy after pruning, robust accuracy, growth and alignment along the first arm."""
    fig, grid = subplots(1, 4, 3.3, right=0.96)
    if (found := _arm(frame, study)) is None:
        return fig
    axis, table = found
    norm = _norm(frame, "representation_growth")
    eps = float(study.settings[f"judged_{norm}"])
    at = {"norm": norm, "eps": eps, "split": "test"}
    shown, pruned, robust, inside = grid.flat
    curve(shown, table, per_trial(frame, "compress_eps_sigma", layer="mean"), axis, GREEN, "ε of σ")
    curve(pruned, table, per_trial(frame, "clean_accuracy", split="test"), axis, GREY, "all rows")
    plain = frame[(frame["measure"] == "pruned_accuracy") & frame["pruning"].isna()]  # of no pruning curve
    kept = sorted(plain["kept"].dropna().unique(), reverse=True)
    for shade, share in zip(SHADES(np.linspace(0.9, 0.35, len(kept))), kept, strict=True):
        values = per_trial(plain, "pruned_accuracy", kept=float(share), split="test")
        curve(pruned, table, values, axis, shade, f"{100 * share:g} %")
    curve(robust, table, attacked(frame, study, "robust_accuracy", norm, eps), axis, BLUE, "RA")
    by = attack_of(study, "gap")
    curve(inside, table, per_trial(frame, "representation_growth", attack=by, **at), axis, ORANGE, "growth")
    curve(inside, table, per_trial(frame, "representation_growth", attack=RANDOM, **at), axis, GREY, "growth, random")
    other = inside.twinx()
    other.grid(visible=False)
    other.spines["right"].set_visible(True)
    other.tick_params(labelsize=7)
    for attack, color, name in ((by, GREEN, "top / rest"), (RANDOM, "#b9c9bd", "top / rest, random")):
        values = per_trial(frame, "direction_ratio", attack=attack, **at)
        if len(values):
            curve(other, table, values, axis, color, name)
    other.set_ylim(bottom=0)
    titles = ("ε of σ (low: compressible)", "clean accuracy, rows kept",
              f"robust accuracy, {NORM[norm]} {budget(eps, norm)}", "growth (left), top / rest (right)")  # fmt: skip
    for ax, title in zip(grid.flat, titles, strict=True):
        ax.set_title(title, fontsize=8.5)
        ax.set_ylim(0, None if ax is inside else 1.02)
        ax.set_xlabel(axis_words(axis), fontsize=8)
        ax.tick_params(labelsize=7)
    pruned.legend(fontsize=7)
    handles = [h for a in (inside, other) for h in a.get_legend_handles_labels()[0]]
    inside.set_ylim(0, 1.6 * inside.get_ylim()[1])
    other.set_ylim(0, 1.6 * other.get_ylim()[1])
    inside.legend(handles=handles, fontsize=7, loc="upper left")
    return fig


def boundaries(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Classes on both planes for the least and the most compressible level at the first seed: a dot is a clean image,
    the line leads to its worst point."""
    rows = frame[frame["measure"].str.startswith("boundary_")]
    found = _arm(frame[frame["trial"].isin(rows["trial"])], study)
    if found is None:
        return subplots(1, 2, 3.6)[0]
    axis, table = found
    seed = table["seed"].min()
    order = by_strength(axis, table[axis])
    chosen = list(dict.fromkeys((order[0], order[-1])))
    fig, grid = subplots(len(chosen), 2, 3.8)
    norm = _norm(frame, "boundary_point")
    eps = study.settings.get(f"judged_{norm}")
    attack = f", {NORM[norm]} {budget(float(eps), norm)}" if eps is not None else ""
    for line, value in zip(grid, chosen, strict=True):
        trial = table.index[(table[axis] == value) & (table["seed"] == seed)]
        if len(trial):
            for ax, layer in zip(line, ("input", "representation"), strict=True):
                own = rows[rows["trial"] == trial[0]]
                _plane(ax, own[own["layer"].isin((layer, "true", "predicted"))], layer, norm)
                ax.set_title(f"{axis_words(axis)} {level(axis, value)}: {layer} space{attack}", fontsize=9)
    return fig


def _plane(ax: Axes, rows: pd.DataFrame, layer: str, norm: str) -> None:
    plane = rows[rows["layer"] == layer]
    if plane.empty:
        return
    ends = plane[plane["measure"] == "boundary_extent"].set_index("k")["value"]
    runs = plane[plane["measure"] == "boundary_class"].sort_values("k")
    cells = int(runs["n"].iloc[0])
    side = round(cells**0.5)
    lengths = np.diff([*runs["k"].astype(int), cells])
    classes = np.repeat(runs["value"].to_numpy(), lengths).reshape(side, side)
    colors = ListedColormap(colormaps["tab20"](np.arange(20)))
    extent = (ends[0], ends[1], ends[2], ends[3])
    ax.imshow(classes, origin="lower", extent=extent, aspect="auto", cmap=colors, vmin=-0.5, vmax=19.5, alpha=0.45,
              interpolation="nearest")  # fmt: skip
    for name in np.unique(classes):
        across, up = _inside(classes == name)
        x = ends[0] + (across + 0.5) / side * (ends[1] - ends[0])
        y = ends[2] + (up + 0.5) / side * (ends[3] - ends[2])
        ax.text(x, y, f"{name:g}", color="#555555", fontsize=11, ha="center", va="center")
    points = plane[plane["measure"] == "boundary_point"]
    labels = rows[(rows["measure"] == "boundary_label")]
    true = labels[labels["layer"] == "true"].set_index("draw")["value"]
    adversarial = labels[(labels["layer"] == "predicted") & (labels["norm"] == norm)].set_index("draw")["value"]
    clean = points[points["attack"].isna()].pivot(index="draw", columns="k", values="value")
    worst = points[points["norm"] == norm].pivot(index="draw", columns="k", values="value")
    for i in clean.index:
        fooled = adversarial.get(i) != true.get(i)
        color = "#b0182b" if fooled else "black"
        ax.plot([clean.loc[i, 0], worst.loc[i, 0]], [clean.loc[i, 1], worst.loc[i, 1]], color=color, lw=1.2)
        ax.plot(clean.loc[i, 0], clean.loc[i, 1], "o", ms=3.2, color=color)
    ax.grid(visible=False)
    ax.set_xlabel("first principal component", fontsize=8)
    ax.set_ylabel("second principal component", fontsize=8)


def _inside(cells: np.ndarray) -> tuple[int, int]:
    """Column and row of the cell of a region that lies nearest to the middle of it."""
    rows, columns = np.nonzero(cells)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return int(columns[nearest]), int(rows[nearest])
