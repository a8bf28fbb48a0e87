"""Nets whose weights are masked (paper B): accuracy, risk and fidelity against the share that is kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import choices
from analysis.choices import Way
from analysis.claims.judge import Judgement
from analysis.figures.drawing import BLUE, GREEN, GREY, ORANGE, budget, plain_log, subplots
from analysis.intervals import mean_t
from analysis.tables import attack_of, per_trial
from study.store.manifest import Manifest

PURPLE, BROWN = "#8d4fa8", "#8b6b3d"
TOKENS = "move of the first block's tokens"  # a row of its own where nets have one
PRINTED = ("Theorem", "Proposition", "product")
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY, "#c2a21d")


def kept(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Clean accuracy and robust accuracy under each attack against the share that is kept, a column for each arm that
    masks or removes (and each depth): means with 95 % intervals over seeds."""
    found = _by_shares(frame, study)
    eps = float(study.settings["judged_linf"])
    fig, grid = subplots(1, max(1, len(found)), 3.4, bottom=0.95)
    values = {"clean": per_trial(frame, "clean_accuracy", split="test")}
    for name in attacks(frame, study):
        values[name] = per_trial(frame, "robust_accuracy", split="test", attack=name, norm="linf", eps=eps)
    for ax, way in zip(grid[0], found, strict=False):
        for color, (name, column) in zip((GREY, *COLOURS), values.items(), strict=False):
            label = "clean" if name == "clean" else f"{name.partition('/')[2].partition('@')[0]}, {budget(eps, 'linf')}"
            along(ax, way, column, color, label)
        _share_axis(ax, way)
        ax.set_ylim(0, 1.02)
    once(grid[0], "accuracy")
    below(fig, grid)
    return fig


def risk(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """How far logits move in the judged l_2 ball (and, of a ViT, the tokens of its first block), and how far they lie
    from the unmasked net's, with the bounds of each (rows), on logarithmic scales, a column as in `kept`."""
    found = _by_shares(frame, study)
    eps = float(study.settings["judged_l2"])
    at = {"norm": "l2", "split": "test"}
    first = {"mean of random points": "mean", "largest of them": "max", "worst found": "worst"}
    first |= {"Theorem 1, corrected": "blocks_bound", "Theorem 1 as printed": "blocks_bound_printed"}
    early = {words: per_trial(frame, f"risk_{name}", eps=eps, layer="blocks.0", **at) for words, name in first.items()}
    rows = {
        f"move of the logits, l2 {budget(eps, 'l2')}": {
            "mean of random points": per_trial(frame, "risk_mean", eps=eps, **at),
            "largest of them": per_trial(frame, "risk_max", eps=eps, **at),
            "worst found": per_trial(frame, "risk_worst", eps=eps, **at),
            "bound by each weight": per_trial(frame, "risk_bound_tight", eps=eps, **at),
            "Theorem 2": per_trial(frame, "risk_bound", eps=eps, **at),
            "Theorem 1, corrected": per_trial(frame, "risk_block_bound", eps=eps, **at),
            "Theorem 1 as printed": per_trial(frame, "risk_block_bound_printed", eps=eps, **at),
            "product, corrected": per_trial(frame, "risk_blocks_bound", eps=eps, layer="product", **at),
            "product as printed": per_trial(frame, "risk_blocks_bound_printed", eps=eps, layer="product", **at),
        },
        TOKENS: early,
        "distance to the whole net": {
            "measured": per_trial(frame, "fidelity", **at),
            "bound for all masks": per_trial(frame, "fidelity_bound", **at),
            "Proposition 1": per_trial(frame, "fidelity_bound_printed", **at),
        },
    }
    rows = {words: {name: c for name, c in values.items() if _masked(c, found)} for words, values in rows.items()}
    rows = {words: values for words, values in rows.items() if values or words != TOKENS}
    fig, grid = subplots(len(rows), max(1, len(found)), 3.0, right=0.84)
    for line, (words, values) in zip(grid, rows.items(), strict=True):
        for ax in line[1:]:
            ax.sharey(line[0])
        for ax, way in zip(line, found, strict=False):
            there = {name: column[column > 0] for name, column in values.items()}
            for color, (name, column) in zip(COLOURS, there.items(), strict=False):
                along(ax, way, column, color, name)
            _share_axis(ax, way)
            ax.set_yscale("log")
        low, high = line[0].get_ylim()
        if high < 100 * low:  # powers of ten are too few ticks, and their multiples too wide
            plain_log(line[0].yaxis)
        once(line, words)
        named = _named(line)
        line[-1].legend(named.values(), named.keys(), fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return fig


def attacks(frame: pd.DataFrame, study: Manifest) -> list[str]:
    """The attacks of a study's own measures under l_inf, its configured one first, AutoAttack last."""
    chosen = frame[(frame["measure"] == "robust_accuracy") & (frame["norm"] == "linf") & (frame["split"] == "test")]
    own = attack_of(study, "configured")
    names = [n for n in chosen["attack"].dropna().unique() if n != own and "square" not in n]
    return [n for n in (own, *sorted(names)) if n is not None]


def _by_shares(frame: pd.DataFrame, study: Manifest) -> list[Way]:
    """The nets of each arm that masks or removes by shares, of each depth where a study moves it."""
    return [way for way in choices.ways(frame, study) if way.axis != "lam"]


def _share_axis(ax: Axes, way: Way) -> None:
    what = "rows" if way.axis == "prune_ratio" else "weights"
    place = ax.get_subplotspec()
    narrow = place is not None and place.get_gridspec().ncols > 5
    ax.set_title(way.label.replace(", ", "\n") if narrow else way.label)
    ax.set_xlabel(f"{what} kept" if narrow else f"share of the {what} kept")
    places = _places(way, way.levels())
    room = 0.04 * max(0.1, np.ptp(places))
    ax.set_xlim(places.max() + room, places.min() - room)


def _places(way: Way, levels: Sequence[float]) -> np.ndarray:
    """Where levels of a way stand: at the share that stays, or at lam."""
    return 1 - np.asarray(levels) if way.axis == "prune_ratio" else np.asarray(levels)


def _masked(column: pd.Series, found: Sequence[Way]) -> bool:
    """Whether any net that lost something has the number: of a whole net's alone the scale would hide the others."""
    tables = [(way, way.by_seed(column).dropna(how="all")) for way in found] if len(column) else []
    return any((_places(way, table.index) < 1).any() for way, table in tables)


def along(ax: Axes, way: Way, column: pd.Series, color: str, label: str) -> None:
    """Means over seeds along the axis of a way, what it removes as the share that stays, with t intervals where there
    are seeds enough; draws of a seed are averaged first."""
    table = way.by_seed(column).dropna(how="all")
    if table.empty:
        return
    places = _places(way, table.index)
    found = [mean_t(values[~np.isnan(values)]) for values in table.to_numpy()]
    line = "--" if label.startswith(PRINTED) else "-"  # where two bounds are equal both are seen
    ax.plot(places, [i.value for i in found], line, color=color, marker="o", ms=3, lw=1.3, label=label)
    if not any(np.isnan(i.low) for i in found):
        ax.fill_between(places, [i.low for i in found], [i.high for i in found], color=color, alpha=0.18, lw=0)


def once(row: np.ndarray, words: str) -> None:
    """One label and one set of ticks for a row of panels of the same range."""
    row[0].set_ylabel(words)
    for ax in row[1:]:
        ax.tick_params(labelleft=False)


def below(fig: Figure, grid: np.ndarray) -> None:
    """One legend for all panels, under them."""
    named = _named(grid)
    fig.legend(named.values(), named.keys(), fontsize=8, loc="lower center", ncols=6)


def _named(panels: np.ndarray) -> dict[str, Any]:
    """What the panels draw, by its label."""
    return {label: h for ax in panels.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
