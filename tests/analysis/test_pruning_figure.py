"""The figure of pruning curves: a row per way, a curve per level, means over seeds, its own rows alone."""

import pandas as pd
import pytest

from analysis.figures.pruning import pruning_curves
from analysis.figures.sweep import prunability
from tests.claim_cases import study, table

SETTINGS = {"eps_linf": [0.1], "eps_l2": [0.5], "judged_linf": 0.1, "judged_l2": 0.5}
SHARES = (1.0, 0.5, 0.25)
NAME = "native/apgd"


def frame(asked, ways):
    """Curves where the accuracy is share - alpha, under attack half of it; beside them the rows of Prunability."""
    base = table(lambda arm, axes: 0.9, asked, noise=0, seeds=5)
    rows = [base, base.assign(measure="pruned_accuracy", kept=0.05, value=0.77)]
    for way in ways:
        for share in SHARES:
            at = base.assign(measure="pruned_accuracy", pruning=way, kept=share, value=share - base["alpha"])
            rows.append(at)
            for norm, eps in (("linf", 0.1), ("l2", 0.5)):
                robust = {"measure": "pruned_robust_accuracy", "norm": norm, "eps": eps, "attack": NAME}
                rows.append(at.assign(**robust, value=at["value"] / 2))
    return pd.concat(rows, ignore_index=True)


def drawn(ax):
    """{label: points} of an axes."""
    return {
        c.get_label(): [(round(float(x), 4), round(float(y), 4)) for x, y in zip(*c.lines[0].get_data(), strict=True)]
        for c in ax.containers
    }


def test_a_row_per_way_and_a_curve_per_level():
    asked = study(("neuron", {"alpha": (0.0, 0.1)}), settings=SETTINGS)
    figure = pruning_curves(frame(asked, ("eps", "rows")), asked, [])
    titles = ["clean accuracy", "robust accuracy, l∞ 0.1", "robust accuracy, l2 0.5"]
    assert [ax.get_title() for ax in figure.axes] == titles * 2
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["filters or rows, by layer", "filters or rows, one ε"]
    clean, robust = drawn(figure.axes[0]), drawn(figure.axes[5])
    assert clean == {
        "strength of the penalty α 0": [(0.0, 1.0), (0.5, 0.5), (0.75, 0.25)],
        "strength of the penalty α 0.1": [(0.0, 0.9), (0.5, 0.4), (0.75, 0.15)],
    }
    assert robust["strength of the penalty α 0.1"] == [(0.0, 0.45), (0.5, 0.2), (0.75, 0.075)]


def test_one_net_has_a_curve_per_way_and_arms_are_named():
    one = study(("neuron", {"alpha": (0.1,)}), settings=SETTINGS)
    figure = pruning_curves(frame(one, ("eps", "weights")), one, [])
    assert list(drawn(figure.axes[0])) == ["weights, by layer", "filters or rows, one ε"]
    two = study(("a_first", {"alpha": (0.0,)}), ("second", {"alpha": (0.1,)}), settings=SETTINGS)
    figure = pruning_curves(frame(two, ("rows",)), two, [])
    assert list(drawn(figure.axes[0])) == ["a first", "second"]


def test_the_legend_fits_below_and_an_axis_begins_where_the_curves_do():
    axes = {"alpha": (0.0, 0.1), "rank": (0, 64)}
    asked = study(("curves", axes), ("control_rows", {"alpha": (0.0,)}), settings=SETTINGS)
    made = frame(asked, ("rows",))
    figure = pruning_curves(made[made["kept"] != 1.0], asked, [])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "strength of the penalty α 0, rank of the hidden layers full"
    box, whole = legend.get_window_extent(), figure.bbox
    assert (box.x0 >= 0) & (box.x1 <= whole.x1) & (box.y0 >= 0)
    assert all(box.y1 < ax.get_tightbbox().y0 for ax in figure.axes)
    assert figure.axes[0].get_xlim() == pytest.approx((0.48, 1.0))


@pytest.mark.parametrize("axes", [{"alpha": (0.0, 0.1)}, {"alpha": (0.1,)}])
def test_without_curves_nothing_is_drawn_and_prunability_keeps_its_own(axes):
    asked = study(("neuron", axes), settings=SETTINGS)
    assert not any(ax.containers for ax in pruning_curves(frame(asked, ()), asked, []).axes)
    swept = study(("neuron", {"alpha": (0.0, 0.1)}), settings=SETTINGS)
    ticks = prunability(frame(swept, ("rows",)), swept, []).axes[0].get_xticklabels()
    assert [t.get_text() for t in ticks] == ["all", "5 %"]
