"""Nets against the share that they keep: masks and removed rows on one scale, and every bound that a table has."""

import pandas as pd
import pytest

from analysis.figures import masks
from tests.claim_cases import study, table

SETTINGS = {"judged_linf": 0.1, "judged_l2": 0.5}
MASKED = ("magnitude", {"keep_prob": (1.0, 0.6, 0.2), "mask": ("magnitude",)})


def curves(ax):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


def test_removed_rows_stand_at_the_share_that_stays_beside_the_masks():
    asked = study(MASKED, ("removed", {"prune_ratio": (0.0, 0.4, 0.8)}), settings=SETTINGS)
    clean = table(lambda arm, axes: axes.get("keep_prob", 1.0) - axes.get("prune_ratio", 0.0) / 2, asked, noise=0)
    robust = clean.assign(measure="robust_accuracy", attack="native/apgd", norm="linf", eps=0.1, value=0.25)
    masked, removed = masks.kept(pd.concat([clean, robust]), asked, []).axes
    assert (masked.get_xlabel(), removed.get_xlabel()) == ("share of the weights kept", "share of the rows kept")
    assert [*map(pytest.approx, curves(masked)["clean"])] == [[1.0, 0.6, 0.2], [1.0, 0.6, 0.2]]
    assert [*map(pytest.approx, curves(removed)["clean"])] == [[1.0, 0.6, 0.2], [1.0, 0.8, 0.6]]
    assert curves(removed)["apgd, 0.1"][1] == pytest.approx([0.25] * 3)
    for ax in (masked, removed):
        assert ax.get_xlim()[0] > ax.get_xlim()[1], "fewer to the right"


def rows(asked, measure, value, **where):
    return table(lambda arm, axes: value, asked, noise=0).assign(measure=measure, norm="l2", **where)


def test_a_vit_has_a_row_for_its_first_block_and_the_product_beside_its_logits():
    asked = study(MASKED, settings=SETTINGS)
    whole = [("risk_worst", 2.0, None), ("risk_mean", 1.0, None), ("fidelity", 3.0, None)]
    blocks = [("risk_blocks_bound", 1e9, "blocks.0"), ("risk_blocks_bound", 1e19, "product"),
              ("risk_blocks_bound_printed", 1e2, "blocks.0"), ("risk_blocks_bound_printed", 1e4, "product"),
              ("risk_worst", 4.0, "blocks.0")]  # fmt: skip
    made = {
        (name, layer): rows(asked, name, value, layer=layer, eps=None if name == "fidelity" else 0.5)
        for name, value, layer in [*whole, *blocks]
    }
    logits, tokens, distance = masks.risk(pd.concat(made.values(), ignore_index=True), asked, []).axes
    assert {name: values[1][0] for name, values in curves(logits).items()} == {
        "mean of random points": 1.0, "worst found": 2.0, "product, corrected": 1e19, "product as printed": 1e4
    }  # fmt: skip
    assert {name: values[1][0] for name, values in curves(tokens).items()} == {
        "worst found": 4.0, "Theorem 1, corrected": 1e9, "Theorem 1 as printed": 1e2
    }  # fmt: skip
    assert curves(distance)["measured"][1] == pytest.approx([3.0] * 3)
    without = [frame for (_, layer), frame in made.items() if layer is None]
    assert len(masks.risk(pd.concat(without, ignore_index=True), asked, []).axes) == 2


def test_what_whole_nets_alone_have_is_not_drawn():
    """A ViT masked everywhere has its blocks' bounds before it is masked alone: 1e19 beside moves of 1."""
    asked = study(MASKED, settings=SETTINGS)
    worst, fidelity = rows(asked, "risk_worst", 2.0, eps=0.5), rows(asked, "fidelity", 3.0)
    bound = rows(asked, "risk_blocks_bound", 1e19, layer="product", eps=0.5)
    tokens = rows(asked, "risk_worst", 4.0, layer="blocks.0", eps=0.5)
    whole = [part[part["keep_prob"] == 1] for part in (bound, tokens)]
    logits, distance = masks.risk(pd.concat([worst, fidelity, *whole], ignore_index=True), asked, []).axes
    assert (set(curves(logits)), set(curves(distance))) == ({"worst found"}, {"measured"})
    assert logits.get_ylim()[1] < 1e3
    one = tokens[tokens["keep_prob"] == 0.6]
    assert len(masks.risk(pd.concat([worst, fidelity, one], ignore_index=True), asked, []).axes) == 3


def test_the_legend_of_a_row_names_what_any_of_its_panels_draws():
    """Removed rows have no bounds; they stand last, where the legend is."""
    asked = study(MASKED, ("removed", {"prune_ratio": (0.0, 0.4, 0.8)}), settings=SETTINGS)
    worst, bound = (rows(asked, name, 2.0, eps=0.5) for name in ("risk_worst", "risk_bound"))
    fidelity, printed = (rows(asked, name, 3.0) for name in ("fidelity", "fidelity_bound_printed"))
    masked = [part[part["prune_ratio"] == 0] for part in (bound, printed)]
    axes = masks.risk(pd.concat([worst, fidelity, *masked], ignore_index=True), asked, []).axes
    said = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in axes if ax.get_legend()]
    assert said == [["worst found", "Theorem 2"], ["measured", "Proposition 1"]]
    assert [ax.yaxis.get_tick_params()["labelleft"] for ax in axes] == [True, False, True, False]
