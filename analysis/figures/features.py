"""Paper C, Figure 2: features of clean images and of their worst points on t-SNE planes, a net a row."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims.judge import Judgement
from analysis.figures.drawing import BLUE, NORM, ORANGE, WIDTH, budget, subplots
from analysis.figures.labels import said
from analysis.tables import arm_trials
from study.spec.attack_names import RANDOM
from study.store.manifest import ArmRecord, Manifest

COUNTED = {"cnn8": 8}  # models whose layers are known by number
MOST = 12  # nets in one figure
HEIGHT, MARGIN = 1.9, 0.45  # of a row, and above and below all of them, in inches
UNSAID = ("finetune_epochs", "finetune_recipe")  # axes that the name of a net does without


def feature_maps(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """A row per net of the first seed, in the order of the study's arms, a column per layer: a dot is an image, a line
    leads from it to its worst point; above it how far the features move and how far both kinds mix."""
    rows = frame[frame["measure"].str.startswith("feature_")]
    nets = _nets(rows, study)[:MOST]
    layers = sorted(rows["layer"].dropna().unique(), key=_from_the_end)
    if not nets:
        return subplots(1, 1, HEIGHT)[0]
    whole = HEIGHT * len(nets) + 2 * MARGIN
    fig = Figure(figsize=(WIDTH, whole))
    place = {"left": 0.07, "right": 0.99, "bottom": MARGIN / whole, "top": 1 - MARGIN / whole}
    grid = fig.subplots(len(nets), len(layers), squeeze=False, gridspec_kw=place | {"wspace": 0.04, "hspace": 0.15})
    for line, (trial, words) in zip(grid, nets, strict=True):
        own = rows[rows["trial"] == trial]
        line[0].set_ylabel(words, fontsize=8)
        for ax, layer in zip(line, layers, strict=True):
            _panel(ax, own[own["layer"] == layer])
    for ax, layer in zip(grid[0], layers, strict=True):
        ax.set_title(f"{_layer(layer, study.model)}\n{ax.get_title()}", fontsize=8)
    marks = [Line2D([], [], color=c, marker="o", ls="none", ms=4) for c in (BLUE, ORANGE)]
    eps = rows["eps"].dropna()
    at = f", {NORM['linf']} {budget(float(eps.iloc[0]), 'linf')}" if len(eps) else ""
    fig.legend(marks, ["clean", f"adversarial{at}"], loc="lower center", ncols=2, fontsize=8)
    return fig


def _nets(rows: pd.DataFrame, study: Manifest) -> list[tuple[str, str]]:
    """Each net of the first seed that has such rows: its trial and its name, once."""
    seed = rows["seed"].min()
    found: dict[str, str] = {}
    for arm in study.arms:
        table = arm_trials(rows[rows["seed"] == seed], arm, study.axes_off)
        axes = [axis for axis in arm.axes if axis in table]
        for trial, net in table[table["status"] == "ok"].sort_values(axes).iterrows():
            found.setdefault(str(trial), _words(arm, net))
    return list(found.items())


def _words(arm: ArmRecord, net: pd.Series) -> str:
    """A net by what was done to it, a line each: `standard`, `8 bit`, `fine-tuned`."""
    ratio = net["adversarial_ratio"]
    first = {0.0: "standard", 1.0: "robust"}.get(ratio, f"adversarial share {ratio:g}")
    axes = [axis for axis in arm.axes if axis not in (*UNSAID, "adversarial_ratio", "frobenius") and net.get(axis)]
    return "\n".join([first, *(said(axis, net[axis]) for axis in axes if net[axis] != "none")])


def _from_the_end(layer: str) -> tuple[int, int]:
    """Pixels first, then the layers in the order in which an image meets them."""
    return (0, 0) if layer == "input" else (1, -_place(layer))


def _place(layer: str) -> int:
    return int(layer.partition("-")[2] or 0)


def _layer(layer: str, model: str) -> str:
    if layer == "input":
        return "input"
    place, of = _place(layer), COUNTED.get(model)
    number = f"layer {of - place}" if of else "last layer" if not place else f"last layer but {place}"
    return f"{number} (logits)" if not place else number


def _panel(ax: Axes, rows: pd.DataFrame) -> None:
    """The plane of one layer of one net."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set(visible=True, color="#cccccc")
    points = rows[rows["measure"] == "feature_point"]
    if points.empty:
        return
    chosen = points["attack"].isna()
    clean, worst = (points[c].pivot(index="draw", columns="k", values="value") for c in (chosen, ~chosen))
    ax.plot([clean[0], worst[0]], [clean[1], worst[1]], color="#bbbbbb", lw=0.5, zorder=1)
    for places, color in ((clean, BLUE), (worst, ORANGE)):
        ax.plot(places[0], places[1], "o", ms=2.6, color=color, alpha=0.8, mew=0, zorder=2)
    ax.set_title(_numbers(rows), fontsize=7)


def _numbers(rows: pd.DataFrame) -> str:
    """What stands above a panel; a shift that could not be taken (all clean images are one point) is left out."""
    by_chance = rows["attack"] == RANDOM
    attacked, noise = (rows[chosen].set_index("measure")["value"] for chosen in (~by_chance, by_chance))
    told = []
    if "feature_shift" in attacked:
        told.append(f"shift {attacked['feature_shift']:.2f} (noise {noise.get('feature_shift', 0.0):.2f})")
    if "feature_overlap" in attacked:
        told.append(f"overlap {attacked['feature_overlap']:.2f}")
    return ", ".join(told)
