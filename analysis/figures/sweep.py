"""The figures of a sweep: each takes the tidy table and returns a matplotlib figure."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.arms import along
from analysis.claims.judge import Judgement, correlations
from analysis.claims.pairs import attacked, pairs
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, SHADES, budget, curve, key, level, subplots
from analysis.figures.labels import axis_words
from analysis.tables import arm_trials, per_trial
from study.spec.knobs import KNOBS, by_strength
from study.store.manifest import ArmRecord, Manifest

PLANTED = ("plant_rows", "plant_spectrum")
SPECTRAL = ("rank",)  # what lowers the rank is attacked in l_2, what concentrates rows in l_inf


def _arms(frame: pd.DataFrame, study: Manifest) -> list[tuple[ArmRecord, str, pd.DataFrame]]:
    """The arms that a sweep draws, each with the axis that it is about and its trials; planted controls are left out,
    arms without a trial, and those of one level beside others."""
    found = []
    for arm in study.arms:
        axes = along(study, arm) or [a for a in arm.axes if a in KNOBS and KNOBS[a].compressed]
        if axes and not set(axes) & set(PLANTED) and len(table := arm_trials(frame, arm, study.axes_off)):
            found.append((arm, axes[0], table))
    return [(arm, axis, table) for arm, axis, table in found if table[axis].nunique() > 1] or found


def robustness(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Robust accuracy, RA/SA and compressibility against alpha and rank, at every budget of both norms."""
    arms = _arms(frame, study)
    fig, grid = subplots(max(1, len(arms)), 3, 2.9)
    settings = study.settings
    for row, (arm, axis, table) in zip(grid, arms, strict=False):
        norm = "l2" if axis in SPECTRAL else "linf"
        clean = per_trial(frame, "clean_accuracy", split="test")
        curve(row[0], table, clean, axis, GREY, "clean (SA)")
        budgets = sorted(settings[f"eps_{norm}"])
        for shade, eps in zip(SHADES(np.linspace(1.0, 0.35, len(budgets))[::-1]), budgets, strict=True):
            judged = " (judged)" if abs(eps - settings[f"judged_{norm}"]) < 1e-9 else ""
            name = f"{NORM[norm]} {budget(eps, norm)}{judged}"
            for ax, measure in ((row[0], "robust_accuracy"), (row[1], "relative_robust_accuracy")):
                curve(ax, table, attacked(frame, study, measure, norm, eps), axis, shade, name)
        curve(row[2], table, per_trial(frame, "compress_eps_nu", layer="mean"), axis, ORANGE, "ε of ν (rows)")
        curve(row[2], table, per_trial(frame, "compress_eps_sigma", layer="mean"), axis, GREEN, "ε of σ (spectrum)")
        for ax, title in zip(row, ("accuracy", "RA / SA", "residual ε, k = 10 % (low: compressible)"), strict=True):
            ax.set_title(title)
            ax.set_ylim(0, 1.02)
            key(ax, fontsize=7.5)
        row[0].set_ylabel(f"{arm.name} arm", fontweight="bold")
    return fig


def compressibility(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """RA/SA against measured compressibility, one point per net, with rho, its interval, and the planted control."""
    chosen = correlations(judgements, y="relative_robust_accuracy")
    columns = min(2, max(1, len(chosen)))
    fig, grid = subplots(max(1, math.ceil(len(chosen) / 2)), columns, 3.8)
    for ax in grid.flat[len(chosen) :]:
        ax.remove()
    for ax, judgement in zip(grid.flat, chosen, strict=False):
        claim, axis = judgement.claim, judgement.claim.rows.axis
        if claim.control and len(control := pairs(frame, study, claim, claim.control_rows)):
            ax.scatter(control["x"], control["y"], s=16, marker="x", color=GREY, lw=1, label=claim.control.name)
        table = pairs(frame, study, claim)
        order = by_strength(axis, table[axis])
        colors = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.9, len(order)))
        for color, value in zip(colors, order, strict=True):
            rows = table[table[axis] == value]
            hollow = value in judgement.unjudged
            ax.scatter(
                rows["x"], rows["y"], s=22, facecolors="none" if hollow else [color], edgecolors=[color],
                label=f"{level(axis, value)}{' (not judged)' if hollow else ''}",
            )  # fmt: skip
        structure = "rows, 1 − ε of ν" if claim.regime.structure == "compress_eps_nu" else "spectrum, 1 − ε of σ"
        norm = claim.rows.y.norm or ""
        eps = budget(study.settings[f"judged_{norm}"], norm)
        ax.set_xlabel(f"compressibility ({structure} at k = 10 %)")
        ax.set_ylabel(f"RA / SA, {NORM[norm]} {eps}")
        ax.set_title(f"{claim.rows.arm} arm: ρ = {judgement.statistic.text()}\n{judgement.verdict}")
        ax.set_ylim(bottom=0)
        ax.legend(fontsize=7, title=axis_words(axis), title_fontsize=7.5, ncols=2)
    return fig


def bounds(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """The product of Theorem 3.1's bounds over the hidden layers against the worst-point loss gap."""
    chosen = correlations(judgements, x="operator_norm_bound")
    fig, grid = subplots(1, max(1, len(chosen)), 3.8)
    for ax, judgement in zip(grid.flat, chosen, strict=False):
        claim, norm = judgement.claim, judgement.claim.rows.y.norm or ""
        control = claim.control.name if claim.control else ""
        sides = ((claim.rows, "o", BLUE, f"{claim.rows.arm} arm"), (claim.control_rows, "x", GREY, control))
        for rows, marker, color, name in sides:
            if rows and len(table := pairs(frame, study, claim, rows)):
                finite = table[np.isfinite(table["x"])]
                ax.scatter(np.exp(finite["x"]), finite["y"], s=20, marker=marker, color=color, label=name)
        eps = budget(study.settings[f"judged_{norm}"], norm)
        ax.set_xscale("log")
        ax.set_xlabel(f"product of Theorem 3.1's {NORM[norm]} bounds")
        ax.set_ylabel(f"loss gap, {NORM[norm]} {eps}")
        ax.set_title(f"{claim.rows.arm} arm: ρ = {judgement.statistic.text()}\n{judgement.verdict}")
        ax.legend(fontsize=7.5)
    return fig


def prunability(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Accuracy after keeping a share of the rows of every hidden layer, per axis value."""
    arms = _arms(frame, study)
    fig, grid = subplots(1, max(1, len(arms)), 3.6)
    own = (frame["measure"] == "pruned_accuracy") & frame["pruning"].isna()
    kept = sorted(frame.loc[own, "kept"].dropna().unique(), reverse=True)
    for ax, (arm, axis, table) in zip(grid.flat, arms, strict=False):
        order = by_strength(axis, table[axis])
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
        ax.set_title(f"{arm.name} arm")
        ax.set_ylim(0, 1.02)
        ax.legend(fontsize=7.5, title=axis_words(axis), title_fontsize=7.5)
    return fig
