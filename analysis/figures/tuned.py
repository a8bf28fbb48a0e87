"""What fine-tuning gives to compressed nets, standard and robust ones side by side."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims.judge import Judgement
from analysis.claims.pairs import attacked
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, budget, subplots
from analysis.figures.labels import short
from analysis.intervals import Interval, mean_t
from analysis.tables import arm_trials, per_trial
from study.spec.knobs import KNOBS
from study.store.manifest import ArmRecord, Manifest

WAYS = {"none": (GREY, "not fine-tuned"), "standard": (ORANGE, "fine-tuned on clean images"),
        "adversarial": (BLUE, "fine-tuned adversarially")}  # fmt: skip
BASES = {0.0: "trained on clean images", 1.0: "trained adversarially"}
MARGIN = 0.05
APART = 0.16


def tuned(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Robust accuracy at the judged l_inf budget (filled) and clean accuracy (hollow) of each kind of compressed net by
    how it was fine-tuned: means over seeds, 95 % t intervals. A panel for nets trained on clean images, one for those
    trained adversarially; the line is the robust accuracy of the uncompressed robust net, the band 5 points below it.
    """
    eps = float(study.settings["judged_linf"])
    values = {
        "robust": attacked(frame, study, "robust_accuracy", "linf", eps),
        "clean": per_trial(frame, "clean_accuracy", split="test"),
    }
    arms = [arm for arm in study.arms if not arm.name.startswith("control") and "adversarial_ratio" in arm.axes]
    kinds = list(dict.fromkeys(_kind(arm) for arm in arms))
    names = {
        _kind(arm): f"{arm.name.partition('_')[0]}\n{_kind(arm)}" if _kind(arm) else "uncompressed" for arm in arms
    }
    bases = sorted({float(v) for arm in arms for v in arm.axes["adversarial_ratio"] if isinstance(v, int | float)})
    fig, grid = subplots(1, max(1, len(bases)), 4.2, bottom=1.0)
    whole = [_of(frame, study, arm, 1.0, values["robust"]) for arm in arms if _way(arm) == "none" and not _kind(arm)]
    for ax, base in zip(grid.flat, bases, strict=False):
        for arm in arms:
            place = kinds.index(_kind(arm)) + APART * (list(WAYS).index(_way(arm)) - 1)
            for name, column in values.items():
                _point(ax, place, _of(frame, study, arm, base, column), WAYS[_way(arm)][0], name == "robust")
        if whole and whole[0].n:
            ax.axhspan(whole[0].value - MARGIN, whole[0].value, color=GREEN, alpha=0.15, lw=0)
            ax.axhline(whole[0].value, color=GREEN, lw=1)
        ax.set_xticks(range(len(kinds)), [names[kind] for kind in kinds])
        ax.set_xlim(-0.5, len(kinds) - 0.5)
        ax.set_ylim(0, 1.02)
        ax.set_title(f"Nets {BASES.get(base, f'trained on {base:g} of adversarial images')}")
    grid.flat[0].set_ylabel("accuracy on test images")
    fig.legend(handles=_legend(eps), fontsize=8, loc="lower center", ncols=3)
    return fig


def _way(arm: ArmRecord) -> str:
    return str(arm.axes.get("finetune", ("none",))[0])


def _kind(arm: ArmRecord) -> str:
    """What compresses the nets of an arm, in short words; nothing for uncompressed ones."""
    knobs = [a for a, values in arm.axes.items() if KNOBS[a].compressed and set(values) != {0}]
    return ", ".join(", ".join(short(axis, v) for v in arm.axes[axis]) for axis in knobs)


def _of(frame: pd.DataFrame, study: Manifest, arm: ArmRecord, base: float, column: pd.Series) -> Interval:
    """The mean of a number over the seeds of an arm's nets from one kind of base."""
    nets = arm_trials(frame, arm, study.axes_off)
    nets = nets[(nets["status"] == "ok") & (nets["adversarial_ratio"] == base)]
    return mean_t(column.reindex(nets.index).dropna().groupby(nets["seed"]).mean().to_numpy())


def _point(ax: Axes, place: float, found: Interval, color: str, filled: bool) -> None:
    if not found.n:
        return
    bars = np.nan_to_num([[found.value - found.low], [found.high - found.value]])
    ax.errorbar(
        [place], [found.value], yerr=bars, fmt="o", color=color, mfc=color if filled else "white", ms=5.5, capsize=2.5,
        lw=1.2,
    )  # fmt: skip


def _legend(eps: float) -> list[Line2D]:
    named = [(color, "o", color, words) for color, words in WAYS.values()]
    named += [(GREY, "o", "white", "hollow: clean accuracy"),
              (GREY, "o", GREY, f"filled: robust accuracy, {NORM['linf']} {budget(eps, 'linf')}")]  # fmt: skip
    lines = [Line2D([], [], color=c, marker=m, mfc=f, ls="none", label=words) for c, m, f, words in named]
    return [
        *lines,
        Line2D([], [], color=GREEN, label="robust accuracy of the uncompressed robust net, and 5 points less"),
    ]
