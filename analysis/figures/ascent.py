"""The figure of operator_norm_study: paper A's Figure 9."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.claims.judge import Judgement
from analysis.claims.needs import many
from analysis.figures.drawing import BLUE, GREEN, NORM, ORANGE, subplots
from analysis.tables import arm_trials, paths
from study.store.manifest import Manifest


def _band(ax: Axes, table: pd.DataFrame, color: str, label: str) -> None:
    """Mean over seeds (columns) along the steps (index), with their range; the second line drawn is dashed."""
    style = "--" if ax.lines else "-"  # the two often lie on each other
    ax.plot(table.index, table.mean(axis=1), color=color, lw=1.8, ls=style, label=label)
    ax.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=color, alpha=0.2, lw=0)


def ascent(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Both operator norms over the ascent, as shares of their largest value at this Frobenius norm, and the energy."""
    arms = [a for a in study.arms if a.name.startswith("ascend")]
    fig, grid = subplots(len(arms), 2, 3.3)
    columns = int(study.settings["columns"])
    for row, arm in zip(grid, arms, strict=True):
        trials = list(arm_trials(frame, arm, study.axes_off).index)
        pushed = str(arm.axes["ascended_norm"][0])
        n = len(trials)
        norms = frame[frame["trial"].isin(trials)]
        frobenius = norms[norms["measure"] == "frobenius_norm"].drop_duplicates("trial").set_index("trial")["value"]
        for norm, color in (("linf", BLUE), ("l2", ORANGE)):
            most = frobenius * (np.sqrt(columns) if norm == "linf" else 1.0)
            _band(row[0], paths(frame, "ascent_operator_norm", trials, norm=norm) / most, color, NORM[norm])
        row[0].set_ylabel(f"{NORM[pushed]} norm pushed", fontweight="bold")
        row[0].set_title("operator norm / its largest value at this Frobenius norm")
        _band(row[1], paths(frame, "largest_row_energy", trials), GREEN, "in the largest row")
        _band(row[1], paths(frame, "largest_singular_energy", trials), ORANGE, "in the largest singular value")
        row[1].set_title("share of the squared Frobenius norm")
        for ax in row:
            ax.set_ylim(0, 1.03)
            ax.set_xlabel(f"ascent steps (mean and range over {many(n, 'seed')})")
            ax.legend(fontsize=7.5)
    return fig
