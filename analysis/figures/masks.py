"""Nets whose weights are masked (paper B): accuracy, risk and fidelity against the share that is kept."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arms import differing
from analysis.claims.judge import Judgement
from analysis.claims.statistics import by_seed
from analysis.figures.drawing import BLUE, GREEN, GREY, ORANGE, budget, key, subplots
from analysis.intervals import mean_t
from analysis.tables import arm_trials, attack_of, per_trial
from study.store.manifest import Manifest

PURPLE, BROWN = "#8d4fa8", "#8b6b3d"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY, "#c2a21d")
NEAR = 0.9  # clean accuracy, of the closer look
RULES = {"chebyshev": BLUE, "exact": GREEN, "printed": ORANGE}
LINES = {"layerwise": ("o", "-"), "uniform": ("s", ":")}


def kept(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Clean accuracy and robust accuracy under each attack against keep_prob, a column for each arm that masks (and
    each depth): means with 95 % intervals over seeds."""
    parts = dict(_masked(frame, study))
    eps = float(study.settings["judged_linf"])
    fig, grid = subplots(1, max(1, len(parts)), 3.4, bottom=0.95)
    values = {"clean": per_trial(frame, "clean_accuracy", split="test")}
    for name in attacks(frame, study):
        values[name] = per_trial(frame, "robust_accuracy", split="test", attack=name, norm="linf", eps=eps)
    for ax, (title, table) in zip(grid[0], parts.items(), strict=False):
        for color, (name, column) in zip((GREY, *COLOURS), values.items(), strict=False):
            label = "clean" if name == "clean" else f"{name.partition('/')[2].partition('@')[0]}, {budget(eps, 'linf')}"
            _along(ax, table, column, "keep_prob", color, label)
        ax.set_title(title)
        ax.set_xlabel("share of the weights kept")
        ax.set_ylim(0, 1.02)
        ax.invert_xaxis()
    _once(grid[0], "accuracy")
    _below(fig, grid)
    return fig


def risk(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """How far logits move in the judged l_2 ball, and how far they lie from the unmasked net's, with the bounds of both
    (rows), on logarithmic scales, a column as in `kept`."""
    parts = dict(_masked(frame, study))
    eps = float(study.settings["judged_l2"])
    at = {"norm": "l2", "split": "test"}
    rows = {
        f"move of the logits, l2 {budget(eps, 'l2')}": {
            "mean of random points": per_trial(frame, "risk_mean", eps=eps, **at),
            "largest of them": per_trial(frame, "risk_max", eps=eps, **at),
            "worst found": per_trial(frame, "risk_worst", eps=eps, **at),
            "bound by each weight": per_trial(frame, "risk_bound_tight", eps=eps, **at),
            "Theorem 2": per_trial(frame, "risk_bound", eps=eps, **at),
            "Theorem 1, corrected": per_trial(frame, "risk_block_bound", eps=eps, **at),
            "Theorem 1 as printed": per_trial(frame, "risk_block_bound_printed", eps=eps, **at),
        },
        "distance to the whole net": {
            "measured": per_trial(frame, "fidelity", **at),
            "bound for all masks": per_trial(frame, "fidelity_bound", **at),
            "Proposition 1": per_trial(frame, "fidelity_bound_printed", **at),
        },
    }
    fig, grid = subplots(2, max(1, len(parts)), 3.0, right=0.84)
    for line, (words, values) in zip(grid, rows.items(), strict=True):
        for ax in line[1:]:
            ax.sharey(line[0])
        for ax, (title, table) in zip(line, parts.items(), strict=False):
            for color, (name, column) in zip(COLOURS, values.items(), strict=False):
                _along(ax, table, column[column > 0], "keep_prob", color, name)
            ax.set_title(title)
            ax.set_xlabel("share of the weights kept")
            ax.set_yscale("log")
            ax.invert_xaxis()
        line[0].set_ylabel(words)
        line[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return fig


def pairs(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Robust against clean accuracy for each way of choosing the shares, beside one share for all: means over seeds, a
    point for each trade-off; left all of them, right those that keep nine tenths of clean accuracy, where there are."""
    clean = per_trial(frame, "clean_accuracy", split="test")
    eps, attack = float(study.settings["judged_linf"]), attack_of(study, "configured")
    robust = per_trial(frame, "robust_accuracy", split="test", attack=attack, norm="linf", eps=eps)
    whole_means = [_mean(clean, t) for *_, table, axis in _choices(frame, study) for _, t in table.groupby(axis)]
    fig, (axes,) = subplots(1, 2 if max(whole_means, default=0.0) > NEAR else 1, 4.2, bottom=0.7)
    for ax in axes:
        for label, color, marker, line, table, axis in _choices(frame, study):
            where = [(_mean(clean, t), _mean(robust, t)) for _, t in table.groupby(axis, sort=True)]
            points = np.array([p for p in where if not np.isnan(p).any()])
            if len(points):
                ax.plot(*points.T, marker=marker, ls=line, color=color, ms=4, lw=1.2, label=label)
        ax.set_xlabel("clean accuracy")
    for near in axes[1:]:
        seen = [y for line in near.lines for x, y in zip(*map(np.asarray, line.get_data()), strict=True) if x > NEAR]
        near.set_xlim(NEAR, 1.0)
        near.set_ylim(min(seen) - 0.03, max(seen) + 0.03)
    axes[0].set_ylabel(f"robust accuracy, l∞ {budget(eps, 'linf')}")
    key(axes[0], fontsize=8)
    return fig


def chosen(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """What each layer keeps against the trade-off lam, a panel for each way of choosing: means over seeds."""
    panels = [c for c in _choices(frame, study) if c[-1] == "lam"]
    fig, grid = subplots(1, max(1, len(panels)), 3.0, bottom=0.95)
    layers = sorted(frame.loc[frame["measure"] == "kept_share", "layer"].dropna().unique(), key=lambda n: "head" in n)
    for ax, (label, _, _, _, table, axis) in zip(grid[0], panels, strict=False):
        for color, layer in zip(COLOURS, layers, strict=False):
            _along(ax, table, per_trial(frame, "kept_share", layer=layer), axis, color, layer.rpartition(".")[0])
        ax.set_title(label)
        ax.set_xlabel("lam")
        ax.set_ylim(0, 1.05)
    _once(grid[0], "share of the layer's weights kept")
    _below(fig, grid)
    return fig


def attacks(frame: pd.DataFrame, study: Manifest) -> list[str]:
    """The attacks of a study's own measures under l_inf, its configured one first, AutoAttack last."""
    chosen = frame[(frame["measure"] == "robust_accuracy") & (frame["norm"] == "linf") & (frame["split"] == "test")]
    own = attack_of(study, "configured")
    names = [n for n in chosen["attack"].dropna().unique() if n != own and "square" not in n]
    return [n for n in (own, *sorted(names)) if n is not None]


def _masked(frame: pd.DataFrame, study: Manifest) -> Iterator[tuple[str, pd.DataFrame]]:
    """The nets of each arm that moves keep_prob, of each depth where a study moves it."""
    for arm in study.arms:
        if len(arm.axes.get("keep_prob", ())) < 2:
            continue
        table = arm_trials(frame, arm, study.axes_off)
        if "depth" in differing(study):
            for depth, part in table.groupby("depth"):
                yield f"{arm.name}, {depth + 1} layers", part
        else:
            yield arm.name, table


Choice = tuple[str, str, str, str, pd.DataFrame, str]


def _choices(frame: pd.DataFrame, study: Manifest) -> Iterator[Choice]:
    """Label, colour, marker, line, nets and axis of each way of choosing; last the plain scale of shares."""
    for arm in study.arms:
        table = arm_trials(frame, arm, study.axes_off)
        if "lam" in arm.axes:
            rule, layers = arm.axes["lam_rule"][0], arm.axes["lam_layers"][0]
            yield f"{rule}, {layers}", RULES[str(rule)], *LINES[str(layers)], table, "lam"
        elif len(arm.axes.get("keep_prob", ())) > 1:
            yield "one share for all", GREY, "x", "--", table, "keep_prob"


def _mean(column: pd.Series, table: pd.DataFrame) -> float:
    return float(column.reindex(table.index).mean())


def _along(ax: Axes, table: pd.DataFrame, column: pd.Series, axis: str, color: str, label: str) -> None:
    """Means over seeds along an axis of numbers, with t intervals where there are seeds enough; draws of a seed are
    averaged first."""
    places, found = [], []
    for value, part in table.groupby(axis, sort=True):
        values = column.reindex(part.index).dropna()
        if len(values):
            places.append(value)
            found.append(mean_t(by_seed(values.to_numpy(), part.loc[values.index, "seed"].to_numpy())))
    if not places:
        return
    ax.plot(places, [i.value for i in found], color=color, marker="o", ms=3, lw=1.3, label=label)
    if not any(np.isnan(i.low) for i in found):
        ax.fill_between(places, [i.low for i in found], [i.high for i in found], color=color, alpha=0.18, lw=0)


def _once(row: np.ndarray, words: str) -> None:
    """One label and one set of ticks for a row of panels of the same range."""
    row[0].set_ylabel(words)
    for ax in row[1:]:
        ax.tick_params(labelleft=False)


def _below(fig: Figure, grid: np.ndarray) -> None:
    named = {label: h for ax in grid.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(named.values(), named.keys(), fontsize=8, loc="lower center", ncols=6)
