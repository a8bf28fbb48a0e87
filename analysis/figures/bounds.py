"""The figures of bound_validation: paper A's Figures 3 and 10."""

from collections.abc import Sequence
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.claims.judge import Judgement, correlations
from analysis.claims.model import Term
from analysis.claims.pairs import pairs, term
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, budget, curve, level, subplots
from analysis.figures.labels import axis_words
from analysis.tables import arm_trials, per_trial
from study.spec.knobs import by_strength
from study.store.manifest import Manifest


def _scatter(ax: Axes, table: pd.DataFrame, axis: str) -> None:
    """One point per net, coloured along the arm's axis."""
    values = by_strength(axis, table[axis])
    for color, value in zip(matplotlib.colormaps["viridis"](np.linspace(0.05, 0.9, len(values))), values, strict=True):
        rows = table[table[axis] == value]
        ax.scatter(rows["x"], rows["y"], s=22, color=[color], label=level(axis, value))
    ax.legend(fontsize=7, title=axis_words(axis), title_fontsize=7.5, ncols=2)


def gap(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Corollary 3.3's bound against the measured gap, both definitions and both norms; y = x where it is in sight."""
    chosen = correlations(judgements, x="gap_bound")
    fig, grid = subplots(1, max(1, len(chosen)), 3.8)
    for ax, judgement in zip(grid.flat, chosen, strict=False):
        rows = judgement.claim.rows
        norm = rows.y.norm or ""
        _scatter(ax, pairs(frame, study, judgement.claim), rows.axis)
        eps = budget(study.settings[f"judged_{norm}"], norm)
        definition = "the toolbox's points" if rows.y.attack == "configured" else "worst points"
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 5, 7)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(axis="x", labelsize=7.5, rotation=35)
        ax.set_xlabel(f"Corollary 3.3's {NORM[norm]} bound of the gap at {eps}")
        ax.set_ylabel(f"measured loss gap, {definition}")
        ax.set_ylim(bottom=0)
        ax.set_title(f"ρ = {judgement.statistic.text()}\n{judgement.verdict}")
    return fig


def anatomy(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """How loose each bound is; maximal against mean local sensitivity; alignment beside the product of norms."""
    arm = next(a for a in study.arms if a.name == "spectral")
    table = arm_trials(frame, arm, study.axes_off)
    eps = float(study.settings["judged_l2"])
    bound = Term(measure="gap_bound", norm="l2", judged=True)
    measured = Term(measure="loss_gap", attack="gap", norm="l2", split="test", judged=True)
    fig, grid = subplots(1, 3, 3.8, right=0.945)
    left, center, right = grid.flat
    curves = (
        (bound, ORANGE, "Corollary 3.3"),
        (replace(bound, measure="gap_bound_product"), BLUE, "product of norms"),
        (measured, GREY, "measured, worst points"),
    )
    for wanted, color, name in curves:
        curve(left, table, term(frame, study, wanted), "rank", color, name)
    left.set_yscale("log")
    left.set_ylim(top=30 * left.get_ylim()[1])
    left.set_ylabel("cross-entropy (mean, 95 % over seeds)")
    left.set_title(f"bounds of the l2 {budget(eps, 'l2')} gap, and the gap")
    left.legend(fontsize=7.5)
    for judgement in correlations(judgements, x="local_sensitivity_max"):
        _scatter(center, pairs(frame, study, judgement.claim), judgement.claim.rows.axis)
        center.set_title(f"local sensitivity: ρ = {judgement.statistic.text()}\n{judgement.verdict}")
    center.set_xlabel("maximal local sensitivity (l2)")
    center.set_ylabel("mean local sensitivity (l2)")
    _alignment(right, frame, table)
    return fig


def _alignment(right: Axes, frame: pd.DataFrame, table: pd.DataFrame) -> None:
    """Both alignment terms over the rank, beside the product of norms; older tables have the certified one alone."""
    names = {
        "alignment": (GREEN, "alignment, certified bound"),
        "alignment_greedy": (BLUE, "alignment, search (B.5)"),
    }
    for measure, (color, name) in names.items():
        terms = per_trial(frame, measure, layer="mean", norm="l2")
        if len(terms):
            curve(right, table, terms, "rank", color, name)
    right.set_ylim(0, 1.05)
    right.set_ylabel("alignment term")
    twin = right.twinx()
    norms = per_trial(frame, "operator_norm", layer="product", norm="l2")
    curve(twin, table, norms, "rank", ORANGE, "product of spectral norms")
    twin.set_ylim(bottom=0)
    twin.grid(False)
    twin.set_ylabel("product of spectral norms")
    twin.spines["right"].set_visible(True)
    handles = [h for ax in (right, twin) for h in ax.get_legend_handles_labels()[0]]
    right.legend(handles=handles, fontsize=7.5, loc="lower right")
    right.set_title("between and within the layers")
