"""The figure of feature maps from rows alone, and its claims on tables whose answer is known."""

import pandas as pd
import pytest

from analysis.claims import find, judge
from analysis.figures.features import feature_maps
from study.spec.attack_names import RANDOM
from tests.claim_cases import study, table

ASKED = study(
    ("none", {"adversarial_ratio": (0.0, 1.0)}),
    (
        "pruned_standard",
        {"adversarial_ratio": (0.0,), "prune_ratio": (0.8,), "finetune": ("standard",), "finetune_epochs": (3,)},
    ),
    (
        "pruned_adversarial",
        {"adversarial_ratio": (0.0,), "prune_ratio": (0.8,), "finetune": ("adversarial",), "finetune_epochs": (3,)},
    ),
    settings={"eps_linf": [0.1], "eps_l2": [], "judged_linf": 0.1},
    model="cnn8",
)
BY = "native/apgd"
LAYERS = ("last", "input", "last-1", "last-2")


def rows(measure, value, attack=BY, layer="last-1", **at):
    """One row per net of the study, value(arm, axes)."""
    at = {"attack": attack, "layer": layer, "norm": "linf", "eps": 0.1, "split": "test"} | at
    return table(value, ASKED, noise=at.pop("noise", 0)).assign(measure=measure, **at)


def pictured():
    """Three images and their worst points on every plane, and the two numbers of each."""
    parts = []
    for layer in LAYERS:
        for draw in range(3):
            for k in (0, 1):
                clean = {"attack": None, "norm": None, "eps": None, "split": None, "draw": draw, "k": k}
                parts.append(rows("feature_point", lambda arm, axes, d=draw: float(d), layer=layer, **clean))
                moved = {"split": None, "draw": draw, "k": k}
                parts.append(rows("feature_point", lambda arm, axes, d=draw: d + 0.5, layer=layer, **moved))
        parts.append(rows("feature_shift", lambda arm, axes: 1.5 - axes["adversarial_ratio"], layer=layer))
        parts.append(rows("feature_shift", lambda arm, axes: 0.1, attack=RANDOM, layer=layer))
        parts.append(rows("feature_overlap", lambda arm, axes: 0.25, layer=layer))
    return pd.concat(parts, ignore_index=True)


def test_a_row_per_net_and_a_column_per_layer_from_rows_alone():
    figure = feature_maps(pictured(), ASKED, [])
    assert len(figure.axes) == 4 * 4
    tops = [ax.get_title().split("\n")[0] for ax in figure.axes[:4]]
    assert tops == ["input", "layer 6", "layer 7", "layer 8 (logits)"]
    assert [ax.get_ylabel() for ax in figure.axes[::4]] == [
        "standard",
        "robust",
        "standard\n80 % of rows removed\nfine-tuned",
        "standard\n80 % of rows removed\nfine-tuned adversarially",
    ]
    assert figure.axes[4].get_title() == "shift 0.50 (noise 0.10), overlap 0.25"
    *ways, clean, worst = figure.axes[5].lines
    assert [line.get_xydata().tolist() for line in ways] == [[[d, d], [d + 0.5, d + 0.5]] for d in range(3)]
    assert clean.get_xydata().tolist() == [[d, d] for d in range(3)]
    assert worst.get_xydata().tolist() == [[d + 0.5, d + 0.5] for d in range(3)]
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["clean", "adversarial, l∞ 0.1"]


def test_a_table_without_feature_maps_and_a_shift_that_is_missing_are_drawn_all_the_same():
    assert feature_maps(table(lambda arm, axes: 0.9, ASKED), ASKED, []).axes
    frame = pictured()
    figure = feature_maps(frame[frame["measure"] != "feature_shift"], ASKED, [])
    assert figure.axes[5].get_title() == "overlap 0.25"


def judged(name, standard=1.5, robust=0.4, noise=0.1, measure="feature_shift", images=0.3):
    """The verdict on made nets: under attack `standard` and `robust` ones, the former under noise, pixels."""

    def under_attack(arm, axes):
        return robust if axes["adversarial_ratio"] or arm == "pruned_adversarial" else standard

    parts = [
        table(lambda arm, axes: 0.97, ASKED),
        rows(measure, under_attack, noise=0.02),
        rows(measure, lambda arm, axes: noise, attack=RANDOM, noise=0.02),
        rows(measure, lambda arm, axes: 2 * standard, layer="last", noise=0.02),
        rows(measure, lambda arm, axes: images, layer="input", noise=0.02),
    ]
    (claim,) = find([name])
    return judge.judge(pd.concat(parts, ignore_index=True), ASKED, claim)


SHIFTS = ("C-features-robust", "C-features-pruned")


@pytest.mark.parametrize("name", SHIFTS)
def test_less_movement_of_robust_features_is_seen_with_its_sign_and_size(name):
    assert judged(name).verdict == "supported"
    assert judged(name).statistic.value == pytest.approx(-1.1, abs=0.05)
    assert judged(name, robust=1.4).verdict == "not supported", "a tenth is not worth speaking of"
    assert judged(name, standard=0.4, robust=1.5).verdict == "opposite"


@pytest.mark.parametrize("name", SHIFTS)
def test_no_verdict_where_noise_moves_features_as_the_attack_does(name):
    found = judged(name, noise=1.5)
    assert found.verdict == "regime not reached"
    assert found.reasons == ("the noise control was not detected",)


def test_mixing_and_depth():
    mixed = {"standard": 0.1, "robust": 0.9, "noise": 0.95, "measure": "feature_overlap"}
    assert judged("C-features-mix", **mixed).verdict == "supported"
    assert judged("C-features-depth").verdict == "supported"
    assert judged("C-features-depth", images=1.4).verdict == "not supported"
    assert judged("C-features-depth", images=2.5).verdict == "opposite"
