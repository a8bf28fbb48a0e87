"""The hidden layers of a net that was given."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis import layers  # which asks this package for words: no name of it is there yet
from analysis.claims.judge import Judgement
from analysis.figures.drawing import BLUE, GREY, NORM, ORANGE, WIDTH, plain_log
from study.store.manifest import Manifest

LINE, LETTER = 0.24, 0.075  # inches that a layer, and a letter of its name, takes
MARGINS = 1.05  # inches above and below the layers


def figure(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> Figure:
    """Layer by layer, first layer on top: its share of the energy, the residuals of its rows and its spectrum, its two
    operator norms (dots) and the bounds that its compressibility puts on them (lines to the right)."""
    found = layers.layers(frame, study)
    height = MARGINS + LINE * max(3, len(found))
    left = min(3.0, 0.3 + LETTER * max((len(layer.name) for layer in found), default=0))
    fig = Figure(figsize=(WIDTH, height))
    place = {"left": left / WIDTH, "right": 0.985, "bottom": 0.7 / height, "top": 1 - 0.35 / height, "wspace": 0.08}
    energy, residual, norm = fig.subplots(1, 3, sharey=True, gridspec_kw=place)
    at = range(len(found))
    energy.barh(at, [100 * layer.energy for layer in found], color=GREY, height=0.6)
    energy.set_title("share of the energy, %")
    residual.plot([layer.rows for layer in found], at, "o", color=BLUE, ms=4.5, label="rows, ε of ν")
    residual.plot([layer.spectrum for layer in found], at, "s", color=ORANGE, ms=4.5, label="spectrum, ε of σ")
    residual.set_xlim(-0.02, 1.02)
    residual.set_title("residual (0: wholly compressible)")
    for name, color, shift in (("linf", BLUE, -0.14), ("l2", ORANGE, 0.14)):
        there = [(i + shift, getattr(layer, name), getattr(layer, f"{name}_bound")) for i, layer in enumerate(found)]
        there = [point for point in there if point[1] > 0]
        norm.hlines([y for y, *_ in there], [v for _, v, _ in there], [b for *_, b in there], color=color, lw=1.2)
        norm.plot([v for _, v, _ in there], [y for y, *_ in there], "o", color=color, ms=4.5, label=NORM[name])
    norm.set_title("operator norm, to its bound")
    if any(layer.l2 > 0 or layer.linf > 0 for layer in found):
        norm.set_xscale("log")
        plain_log(norm.xaxis)
    energy.set_yticks(list(at), [layer.name for layer in found], fontsize=8)
    energy.set_ylim(max(len(found), 3) - 0.5, -0.5)
    for ax in (residual, norm):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3 / (height - MARGINS) - 0.02), ncols=2, fontsize=8)
    return fig
