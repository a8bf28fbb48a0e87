"""Accuracy against what a net costs to ship."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.claims.judge import Judgement
from analysis.claims.pairs import attacked
from analysis.figures.drawing import BLUE, GREEN, GREY, NORM, ORANGE, budget, plain_log, subplots
from analysis.figures.labels import arm_words, short
from analysis.intervals import mean_t
from analysis.tables import arm_trials, per_trial
from study.store.manifest import Manifest

COLORS = {"prune_ratio": BLUE, "keep_prob": ORANGE, "bits": GREEN, "factorize_ratio": "#7a4f9a"}
STYLES = {"none": ("o", "-"), "standard": ("s", "--"), "adversarial": ("^", ":")}
# Arms of one axis and one fine-tuning, in their order: toward white or black by so much, and hollow or not.
TONES = ((0.0, False), (0.35, True), (-0.45, False), (-0.45, True), (0.55, False))


def _toned(color: str, tone: float) -> tuple[float, ...]:
    """The color, mixed with white (tone > 0) or black (< 0) by the share |tone|."""
    return tuple((1 - abs(tone)) * c + max(tone, 0.0) for c in to_rgb(color))


def stored_bytes(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Clean and robust accuracy (judged l_inf budget) against stored bytes: means over seeds, 95 % t intervals; each
    level of compression is written above its points."""
    settings = study.settings
    eps = float(settings["judged_linf"])
    robust = attacked(frame, study, "robust_accuracy", "linf", eps)
    panels = {
        "clean accuracy": per_trial(frame, "clean_accuracy", split="test"),
        f"robust accuracy, {NORM['linf']} {budget(eps, 'linf')}": robust,
    }
    size = per_trial(frame, "stored_bytes")
    fig, grid = subplots(1, 2, 5.0, bottom=1.2)  # room for the legend of both
    for ax, (title, values) in zip(grid.flat, panels.items(), strict=True):
        tops: dict[tuple[str, str], tuple[float, float]] = {}
        alike: Counter[tuple[str, str]] = Counter()
        for arm in study.arms:
            axis = next((a for a in COLORS if a in arm.axes), "")
            table = arm_trials(frame, arm, study.axes_off)
            points = [
                (size.reindex(rows.index).mean(), mean_t(values.reindex(rows.index).dropna().to_numpy()), rows.iloc[0])
                for _, rows in table[table["status"] == "ok"].groupby(list(study.axes_off))
            ]
            points = [(x, y, at) for x, y, at in points if y.n and np.isfinite(x)]
            if not points:
                continue
            x, y, _ = zip(*sorted(points, key=lambda p: p[0]), strict=True)
            bars = np.nan_to_num([[v.value - v.low for v in y], [v.high - v.value for v in y]])
            tuned = str(arm.axes.get("finetune", ("none",))[0])
            (marker, line), (tone, hollow) = STYLES[tuned], TONES[alike[axis, tuned] % len(TONES)]
            alike[axis, tuned] += 1
            color = _toned(COLORS.get(axis, GREY), tone)
            ax.errorbar(
                x, [v.value for v in y], yerr=bars, color=color, mfc="white" if hollow else color, marker=marker,
                ls=line, ms=4, capsize=2, lw=1.2, label=arm_words(arm),
            )  # fmt: skip
            for place, mean, at in points if axis else []:
                name = (axis, short(axis, at[axis]))
                top = max(mean.value, np.nan_to_num(mean.high), tops.get(name, (0, 0))[1])
                tops[name] = (place, top)
        for (axis, words), (place, top) in tops.items():
            ax.annotate(words, (place, top), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=6.5,
                        color=COLORS[axis])  # fmt: skip
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        ax.set_xlabel("stored bytes")
        ax.set_title(title)
        ax.set_ylim(0, 1.08)
    fig.legend(*grid.flat[0].get_legend_handles_labels(), fontsize=7, loc="lower center", ncols=4)
    return fig
