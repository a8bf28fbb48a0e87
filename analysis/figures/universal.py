"""Paper A, Figure 7 center: perturbations for all images, against compressibility and against scale."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis.arms import along
from analysis.claims.judge import Judgement
from analysis.claims.pairs import attacked
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, budget, curve, subplots
from analysis.tables import arm_trials, per_trial
from study.spec.attack_names import RANDOM, UNIVERSAL
from study.spec.knobs import KNOBS
from study.store.manifest import Manifest

COLORS = {"fgsm": ORANGE, "pgd": GREEN, "art": "#7a5195"}
WORDS = {"fgsm": "fooling rate, FGSM steps", "pgd": "fooling rate, PGD", "art": "fooling rate, toolbox"}


def universal(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Fooling rate, its random floor and robust accuracy along each arm (alpha, Frobenius constant), a row per norm."""
    arms = [
        (arm, axis, table)
        for arm in study.arms
        if (axis := next(iter(along(study, arm) or [a for a in arm.axes if len(arm.axes[a]) > 1]), ""))
        and len(table := arm_trials(frame, arm, study.axes_off))
    ]
    there = set(frame.loc[frame["measure"] == "fooling_rate", "norm"].dropna())
    norms = [n for n in NORM if n in there]
    fig, grid = subplots(max(1, len(norms)), max(1, len(arms)), 3.4, bottom=0.95)  # room for the legend of all
    for row, norm in zip(grid, norms, strict=False):
        for ax, (arm, axis, table) in zip(row, arms, strict=False):
            eps = float(study.settings[f"judged_{norm}"])
            where = {"norm": norm, "eps": eps, "split": "test"}
            robust = attacked(frame, study, "robust_accuracy", norm, eps)
            curve(ax, table, robust, axis, BLUE, "robust accuracy")
            for maker, attack in UNIVERSAL.items():
                rates = per_trial(frame, "fooling_rate", attack=attack, **where)
                if len(rates):
                    curve(ax, table, rates, axis, COLORS[maker], WORDS[maker])
            floor = per_trial(frame, "fooling_rate", attack=RANDOM, **where)
            curve(ax, table, floor, axis, GREY, "fooling rate, random")
            held = "" if axis in KNOBS and KNOBS[axis].compressed else ", no penalty"
            ax.set_title(f"{arm.name.replace('_', ' ')} arm{held}: {NORM[norm]} {budget(eps, norm)}")
            ax.set_ylim(0, 1.02)
        row[0].set_ylabel("share of test images")
    handles, labels = grid[0][0].get_legend_handles_labels()
    if handles:
        fig.legend(handles, labels, fontsize=8, loc="lower center", ncols=len(handles))
    return fig
