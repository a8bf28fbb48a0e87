"""A net that was given, along each way of compression."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis import ladder  # which asks this package for words: no name of it is there yet
from analysis.claims.judge import Judgement
from analysis.figures.drawing import BLUE, GREY, NORM, ORANGE, budget, subplots
from analysis.figures.labels import ARMS, axis_words, short
from study.store.manifest import Manifest

WIDE = 4  # panels side by side


def figure(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Clean and robust accuracy (judged l_inf budget) on the same test images along each axis, from the net as it is;
    crosses are the second attack's, on fewer images; hollow: a robust accuracy that is not to be believed."""
    base, arms = ladder.ladder(frame, study)
    count = max(1, len(arms))
    rows = -(-count // WIDE)
    fig, grid = subplots(rows, min(count, WIDE), 3.4, bottom=1.0)
    for ax in list(grid.flat)[count:]:
        ax.set_visible(False)
    eps = budget(float(study.settings["judged_linf"]), "linf")
    for ax, (axis, rungs) in zip(grid.flat, arms.items(), strict=False):
        every: list[ladder.Rung] = [*([base] if base else []), *rungs]
        places = range(len(every))
        ax.plot(places, [r.clean for r in every], "-o", color=GREY, ms=4, lw=1.2, label="clean accuracy")
        ax.plot(places, [r.robust for r in every], "-", color=BLUE, lw=1.2)
        for trusted in (True, False):
            at = [i for i, r in enumerate(every) if bool(r.doubt) != trusted]
            words = f"robust accuracy, {NORM['linf']} {eps}" if trusted else "not to be believed: gradients mislead"
            ax.plot(
                at, [every[i].robust for i in at], "o", color=BLUE, ms=5, mfc=BLUE if trusted else "white", label=words
            )
        seconds = dict.fromkeys(name for r in every for name in r.second)
        for name, marker in zip(seconds, ("x", "+", "1"), strict=False):
            at = [i for i, r in enumerate(every) if name in r.second]
            ax.plot(
                at, [every[i].second[name][0] for i in at], marker, color=ORANGE, ms=6, label=ladder.attack_words(name)
            )
        ax.set_xticks(list(places), ["as it is" if not r.axis else short(axis, r.value) for r in every], rotation=35,
                      ha="right", rotation_mode="anchor", fontsize=8)  # fmt: skip
        ax.set_title(ARMS.get(axis, axis_words(axis)))
        ax.set_ylim(0, 1.02)
    handles = {label: h for ax in grid.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(handles.values(), handles.keys(), fontsize=8, loc="lower center", ncols=3)
    return fig
