"""Ways of choosing what nets keep (paper B, Figures 5 and 6): pairs of accuracies, risk against fidelity, shares."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import choices
from analysis.choices import PLAIN, Points, Space, Way
from analysis.claims.judge import Judgement
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, budget, staircase, subplots
from analysis.figures.masks import COLOURS, along, below, once
from analysis.intervals import mean_t
from analysis.tables import per_trial
from study.store.manifest import Manifest

NEAR = 0.9  # clean accuracy, of the closer look
RULES = {"chebyshev": BLUE, "exact": GREEN, "printed": ORANGE}
SHAPES = {"layerwise": "o", "uniform": "s"}


def pairs(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Attacked against clean accuracy, a point for each choice: means with 95 % intervals over seeds and the front of
    the means; left all of them, right those that keep nine tenths of clean accuracy, where there are."""
    found, space = choices.ways(frame, study), choices.accuracies(frame, study)
    at = choices.points(found, space)
    x, y = _means(at)
    eps = float(study.settings["judged_linf"])
    fig, (axes,) = subplots(1, 2 if (x > NEAR).any() else 1, 4.4, bottom=0.95)
    for ax, least in zip(axes, (0.0, NEAR), strict=False):
        _cloud(ax, found, at, space, x > least)
        ax.set_xlabel("clean accuracy")
    for near in axes[1:]:
        there = y[x > NEAR]
        near.set_xlim(NEAR, min(1.0, float(x.max()) + 0.01))
        near.set_ylim(there.min() - 0.03, there.max() + 0.03)
        near.set_title(f"of them those above {NEAR:g}")
    axes[0].set_ylabel(f"attacked accuracy, {NORM['linf']} {budget(eps, 'linf')}")
    below(fig, axes)
    return fig


def risk_fidelity(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Risk gamma against fidelity zeta, both better small, a point for each choice; left as measured, right their
    bounds: means with 95 % intervals over seeds, and the front of the means."""
    found = choices.ways(frame, study)
    fig, (axes,) = subplots(1, 2, 4.4, bottom=0.95)
    words = ("measured", "bounds by each weight's probability")
    for ax, title, bounds in zip(axes, words, (False, True), strict=True):
        space = choices.risk_and_fidelity(frame, study, bounds)
        at = choices.points(found, space)
        _cloud(ax, found, at, space, np.full(len(at.on), True))
        ax.set_title(title)
        ax.set_xlabel(f"gamma: move of the logits, {NORM['l2']} {budget(float(study.settings['judged_l2']), 'l2')}")
    axes[0].set_ylabel("zeta: distance to the whole net")
    below(fig, axes)
    return fig


def chosen(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """What each layer keeps against the trade-off lam, a panel for each way of choosing: means over seeds."""
    panels = [way for way in choices.ways(frame, study) if way.axis == "lam"]
    fig, grid = subplots(1, max(1, len(panels)), 3.0, bottom=0.95)
    layers = sorted(frame.loc[frame["measure"] == "kept_share", "layer"].dropna().unique(), key=lambda n: "head" in n)
    for ax, way in zip(grid[0], panels, strict=False):
        for color, layer in zip(COLOURS, layers, strict=False):
            kept = per_trial(frame, "kept_share", layer=layer)
            along(ax, way, kept, color, layer.rpartition(".")[0])
        ax.set_title(way.label)
        ax.set_xlabel("lam")
        ax.set_ylim(0, 1.05)
    once(grid[0], "share of the layer's weights kept")
    below(fig, grid)
    return fig


def _styles(found: Sequence[Way]) -> Iterator[tuple[str, str]]:
    """Colour and shape of each way: by rule and kind of a trade-off's choice, else one colour after the other."""
    colours = iter(COLOURS)
    for way in found:
        if way.rule:
            yield RULES[way.rule], SHAPES[way.layers]
        else:
            yield (GREY, "X") if way.label == PLAIN else (next(colours), "o")


def _means(at: Points) -> tuple[np.ndarray, np.ndarray]:
    return (np.nanmean(at.x, axis=1), np.nanmean(at.y, axis=1)) if len(at.x) else (np.zeros(0), np.zeros(0))


def _cloud(ax: Axes, found: Sequence[Way], at: Points, space: Space, shown: np.ndarray) -> None:
    """The points that are `shown`, hollow where another beats them beyond seed noise, and the stairs of the front."""
    x, y = _means(at)
    for i, (way, (color, shape)) in enumerate(zip(found, _styles(found), strict=True)):
        mine = np.flatnonzero((at.way == i) & shown)
        for j in mine:
            across, up = (mean_t(values[j][~np.isnan(values[j])]) for values in (at.x, at.y))
            if not np.isnan(across.low):
                ax.hlines(y[j], across.low, across.high, color=color, lw=0.8, alpha=0.5)
                ax.vlines(x[j], up.low, up.high, color=color, lw=0.8, alpha=0.5)
        face = [color if at.unbeaten[j] else "white" for j in mine]
        ax.scatter(x[mine], y[mine], s=26, marker=shape, facecolors=face, edgecolors=color, lw=1.1, zorder=3)
        ax.scatter([], [], s=26, marker=shape, color=color, label=way.label)
    if (shown & ~at.unbeaten).any():
        ax.scatter(
            [], [], s=26, facecolors="white", edgecolors="#333333", lw=1.1, label="another beats it beyond noise"
        )
    if at.on.any():
        corners = np.column_stack([x[at.on], y[at.on]])
        staircase(ax, corners, space.maximise, color="#333333", lw=0.9, alpha=0.6)
        ax.plot([], [], color="#333333", lw=0.9, alpha=0.6, label="front of the means")
