"""The figures of a sweep: each takes the tidy table and returns a matplotlib figure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("agg")

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.claims import Judgement, correlations, pairs
from analysis.intervals import mean_t
from analysis.tables import arm_trials, per_trial

BLUE, ORANGE, GREEN, GREY = "#2a5d9f", "#d1662b", "#3b8553", "#8a8a8a"
SHADES = matplotlib.colormaps["Blues"]
NORM = {"linf": "l∞", "l2": "l2"}
matplotlib.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110, "axes.grid": True,
     "grid.alpha": 0.25, "legend.frameon": False, "axes.titlesize": 10}
)  # fmt: skip

ARMS = {"neuron": ("alpha", "compress_eps_nu", "linf"), "spectral": ("rank", "compress_eps_sigma", "l2")}


def budget(eps: float, norm: str) -> str:
    """A budget as people write it: 16/255 (l_inf), 0.5 (l_2)."""
    whole = eps * 255 if norm == "linf" else 0.0
    return f"{round(whole)}/255" if abs(whole - round(whole)) < 1e-6 and round(whole) else f"{eps:g}"


def level(axis: str, value: float) -> str:
    """An axis value as a tick: `full` for rank 0."""
    return "full" if axis == "rank" and value == 0 else f"{value:g}"


def subplots(rows: int, columns: int, height: float, right: float = 0.99) -> tuple[Figure, np.ndarray]:
    """A figure 10.5 inches wide with axes at fixed places (a layout engine would draw everything twice)."""
    whole = height * rows
    fig = Figure(figsize=(10.5, whole))
    place = {"left": 0.065, "right": right, "bottom": 0.65 / whole, "top": 1 - 0.5 / whole}
    return fig, fig.subplots(rows, columns, squeeze=False, gridspec_kw=place | {"wspace": 0.2, "hspace": 1.3 / height})


def ordered(values: Sequence[float], axis: str) -> list[float]:
    return sorted(set(values), key=lambda v: (v != 0, v if axis == "alpha" else -v))


def curve(ax: Axes, table: pd.DataFrame, column: pd.Series, axis: str, color: Any, label: str) -> None:
    """Mean with t intervals over seeds at each axis value (points alone where seeds are too few)."""
    order = ordered(table[axis], axis)
    means, lows, highs = [], [], []
    for value in order:
        interval = mean_t(column.reindex(table.index[table[axis] == value]).dropna().to_numpy())
        means.append(interval.value)
        lows.append(interval.value - interval.low)
        highs.append(interval.high - interval.value)
    errors = None if any(math.isnan(v) for v in lows) else np.array([lows, highs])
    ax.errorbar(
        range(len(order)), means, yerr=errors, color=color, marker="o", ms=3.5, capsize=2.5, lw=1.4, label=label
    )
    slant: dict[str, Any] = (
        {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": 8} if len(order) > 7 else {}
    )
    ax.set_xticks(range(len(order)), [level(axis, v) for v in order], **slant)
    ax.set_xlabel({"alpha": "group lasso strength α", "rank": "rank of the hidden layers"}[axis])


def robustness(frame: pd.DataFrame, study: Mapping[str, Any], judgements: Sequence[Judgement]) -> Figure:
    """Robust accuracy, RA/SA and compressibility against alpha and rank, at every budget of both norms."""
    arms = [a for a in study["arms"] if a["name"] in ARMS]
    fig, grid = subplots(len(arms), 3, 2.9)
    settings = study["configuration"]["settings"]
    for row, arm in zip(grid, arms, strict=True):
        axis, _structure, norm = ARMS[arm["name"]]
        table = arm_trials(frame, arm, study["axes_off"])
        clean = per_trial(frame, "clean_accuracy", split="test")
        curve(row[0], table, clean, axis, GREY, "clean (SA)")
        budgets = sorted(settings[f"eps_{norm}"])
        for shade, eps in zip(SHADES(np.linspace(0.35, 1.0, len(budgets))), budgets, strict=True):
            judged = " (judged)" if abs(eps - settings[f"judged_{norm}"]) < 1e-9 else ""
            name = f"{NORM[norm]} {budget(eps, norm)}{judged}"
            where = {"norm": norm, "eps": float(eps), "split": "test"}
            curve(row[0], table, per_trial(frame, "robust_accuracy", **where), axis, shade, name)
            curve(row[1], table, per_trial(frame, "relative_robust_accuracy", **where), axis, shade, name)
        curve(row[2], table, per_trial(frame, "compress_eps_nu", layer="mean"), axis, ORANGE, "ε of ν (rows)")
        curve(row[2], table, per_trial(frame, "compress_eps_sigma", layer="mean"), axis, GREEN, "ε of σ (spectrum)")
        for ax, title in zip(row, ("accuracy", "RA / SA", "residual ε, k = 10 % (low: compressible)"), strict=True):
            ax.set_title(title)
            ax.set_ylim(0, 1.02)
            ax.legend(fontsize=7.5)
        row[0].set_ylabel(f"{arm['name']} arm", fontweight="bold")
    return fig


def compressibility(frame: pd.DataFrame, study: Mapping[str, Any], judgements: Sequence[Judgement]) -> Figure:
    """RA/SA against measured compressibility, one point per net, with rho, its interval, and the planted control."""
    chosen = correlations(judgements, y="relative_robust_accuracy")
    fig, grid = subplots(math.ceil(len(chosen) / 2), 2, 3.8)
    for ax in grid.flat[len(chosen) :]:
        ax.remove()
    for ax, (judgement, claim) in zip(grid.flat, chosen, strict=False):
        control = pairs(frame, study, claim, claim.control)
        if len(control):
            ax.scatter(control["x"], control["y"], s=16, marker="x", color=GREY, lw=1, label="planted control")
        table = pairs(frame, study, claim, claim.arm)
        order = ordered(table[claim.axis], claim.axis)
        colors = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.9, len(order)))
        for color, value in zip(colors, order, strict=True):
            rows = table[table[claim.axis] == value]
            hollow = value in judgement.unjudged
            ax.scatter(
                rows["x"], rows["y"], s=22, facecolors="none" if hollow else [color], edgecolors=[color],
                label=f"{level(claim.axis, value)}{' (not judged)' if hollow else ''}",
            )  # fmt: skip
        structure = "rows, 1 − ε of ν" if claim.axis == "alpha" else "spectrum, 1 − ε of σ"
        settings = study["configuration"]["settings"]
        ax.set_xlabel(f"compressibility ({structure} at k = 10 %)")
        ax.set_ylabel(f"RA / SA, {NORM[claim.norm]} {budget(settings[f'judged_{claim.norm}'], claim.norm)}")
        ax.set_title(f"{claim.arm} arm: ρ = {judgement.statistic.text()}\n{judgement.verdict}")
        ax.set_ylim(bottom=0)
        ax.legend(fontsize=7, title=claim.axis, title_fontsize=7.5, ncols=2)
    return fig


def bounds(frame: pd.DataFrame, study: Mapping[str, Any], judgements: Sequence[Judgement]) -> Figure:
    """The product of Theorem 3.1's bounds over the hidden layers against the worst-point loss gap."""
    chosen = correlations(judgements, x="operator_norm_bound")
    fig, grid = subplots(1, max(1, len(chosen)), 3.8)
    for ax, (judgement, claim) in zip(grid.flat, chosen, strict=False):
        for arm, marker, color in ((claim.arm, "o", BLUE), (claim.control, "x", GREY)):
            table = pairs(frame, study, claim, arm)
            if len(table):
                finite = table[np.isfinite(table["x"])]
                ax.scatter(
                    np.exp(finite["x"]), finite["y"], s=20, marker=marker, color=color, label=arm.replace("_", " ")
                )
        eps = budget(study["configuration"]["settings"][f"judged_{claim.norm}"], claim.norm)
        ax.set_xscale("log")
        ax.set_xlabel(f"product of Theorem 3.1's {NORM[claim.norm]} bounds")
        ax.set_ylabel(f"loss gap, {NORM[claim.norm]} {eps}")
        ax.set_title(f"{claim.arm} arm: ρ = {judgement.statistic.text()}\n{judgement.verdict}")
        ax.legend(fontsize=7.5)
    return fig


def prunability(frame: pd.DataFrame, study: Mapping[str, Any], judgements: Sequence[Judgement]) -> Figure:
    """Accuracy after keeping a share of the rows of every hidden layer, per axis value."""
    arms = [a for a in study["arms"] if a["name"] in ARMS]
    fig, grid = subplots(1, len(arms), 3.6)
    kept = sorted(frame["kept"].dropna().unique(), reverse=True)
    for ax, arm in zip(grid.flat, arms, strict=True):
        axis = ARMS[arm["name"]][0]
        table = arm_trials(frame, arm, study["axes_off"])
        order = ordered(table[axis], axis)
        colors = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.9, len(order)))
        clean = per_trial(frame, "clean_accuracy", split="test")
        curves = [clean, *(per_trial(frame, "pruned_accuracy", kept=float(k), split="test") for k in kept)]
        for color, value in zip(colors, order, strict=True):
            index = table.index[table[axis] == value]
            means = [c.reindex(index).mean() for c in curves]
            ax.plot(range(len(curves)), means, marker="o", ms=3.5, color=color, label=level(axis, value))
        ax.set_xticks(range(len(curves)), ["all", *(f"{100 * k:g} %" for k in kept)])
        ax.set_xlabel("rows kept in every hidden layer (largest l1 norm)")
        ax.set_ylabel("clean accuracy (mean over seeds)")
        ax.set_title(f"{arm['name']} arm")
        ax.set_ylim(0, 1.02)
        ax.legend(fontsize=7.5, title=axis, title_fontsize=7.5)
    return fig
