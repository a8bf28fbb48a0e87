"""Axes, values and expansion."""

import pytest

from search_spaces.compressibility_sweep import STUDY
from study.spec.errors import UsageError
from study.spec.expand import expand, with_overrides
from study.spec.knobs import AXES, SETTINGS, by_strength
from study.spec.studies import Arm, Preset
from study.spec.values import parse_value

LAPTOP = STUDY.presets["laptop"]


def points(preset, settings=None):
    return expand(preset, settings or {}, preset.seeds)


def test_laptop_trains_seventy_nets_in_its_two_arms_and_shares_the_baseline():
    found = points(LAPTOP)
    arms = [p for p in found if {"neuron", "spectral"} & set(p.arms)]
    assert len(arms) == 70
    baselines = [p for p in found if p.axes == {n: k.default for n, k in AXES.items()}]
    assert len(baselines) == 5
    assert all(set(p.arms) == {"neuron", "spectral", "control_neuron", "control_spectral"} for p in baselines)


def test_every_axis_and_the_seed_stand_in_every_point():
    for p in points(LAPTOP):
        assert set(p.axes) == set(AXES)
    assert sorted({p.seed for p in points(LAPTOP)}) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("alpha", "8/255", 8 / 255),
        ("alpha", "1e-3", 1e-3),
        ("rank", "full", 0),
        ("rank", "16", 16),
        ("bits", "4", 4),
        ("keep_prob", "1", 1.0),
        ("prune_ratio", "0", 0.0),
        ("lam", "1", 1.0),
        ("finetune", "none", "none"),
    ],
)
def test_values(name, text, value):
    assert parse_value(name, AXES[name], text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("alpha", "nan"), ("alpha", "-1"), ("alpha", "inf"), ("alpha", "x"), ("alpha", "1/0"), ("rank", "2.5"),
                   ("rank", "-4"), ("frobenius", "-0.1")]
)  # fmt: skip
def test_refused_values_name_what_is_accepted(name, text):
    with pytest.raises(UsageError, match=f"--set {name}: '.*' is not accepted; give (whole )?numbers from 0"):
        parse_value(name, AXES[name], text)


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [("bits", "3", "one of 0, 16, 8, 4, 2, 1"), ("bits", "32", "one of 0, 16"),
     ("keep_prob", "0", "numbers above 0 to 1"),
     ("keep_prob", "1.1", "numbers above 0 to 1"), ("prune_ratio", "1", "numbers from 0 below 1"),
     ("lam", "1.5", "numbers from 0 to 1"), ("mask", "l0", "one of magnitude, bernoulli"),
     ("finetune", "yes", "one of none, standard, adversarial")],
)  # fmt: skip
def test_compression_axes_refuse_what_they_cannot_be(name, text, accepted):
    with pytest.raises(UsageError, match=f"--set {name}: '{text}' is not accepted; give {accepted}"):
        parse_value(name, AXES[name], text)


def test_overrides_reach_axes_and_settings():
    preset, settings = with_overrides(LAPTOP, {"alpha": "0,0.5", "epochs": "3", "eps_linf": "1/255,2/255"}, "digits")
    assert preset.arms[0].axes["alpha"] == (0.0, 0.5)
    assert settings["epochs"] == 3
    assert settings["eps_linf"] == (1 / 255, 2 / 255)
    assert settings["judged_linf"] in settings["eps_linf"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"alpa": "1"}, "no such axis or setting; did you mean alpha"),
        ({"judged_l2": "0.5,0.6"}, "one value is accepted"),
        ({"alpha": ""}, "no value given"),
        ({"plant_rows": "0.5,1", "bits": "4"}, "bits: no arm moves it, and not every arm could"),
        ({"learning_rate": "0"}, "numbers above 0"),
    ],
)
def test_bad_overrides(override, words):
    with pytest.raises(UsageError, match=words):
        with_overrides(LAPTOP, override, "digits")


def test_another_data_set_brings_its_own_settings():
    _, digits = with_overrides(LAPTOP, {}, "digits")
    _, mnist = with_overrides(LAPTOP, {}, "mnist")
    _, svhn = with_overrides(LAPTOP, {}, "svhn")
    assert (digits["width"], digits["epochs"], digits["judged_linf"]) == (200, 30, 16 / 255)
    assert (mnist["width"], mnist["epochs"], mnist["train_size"], mnist["judged_linf"]) == (400, 10, 5000, 8 / 255)
    assert svhn["judged_linf"] == 2 / 255


def test_other_data_bring_the_levels_of_an_axis_to_the_arms_that_have_it():
    arms = (Arm(name="a", family="low_rank", axes={"rank": (0, 8)}),
            Arm(name="b", family="regularization", axes={"alpha": (0.0, 0.1)}))  # fmt: skip
    asked = Preset(
        arms=arms, seeds=(0,), by_data={"mnist": {"rank": (0, 16, 32), "width": 400}, "*": {"rank": (0, 64)}}
    )

    def axes(data, **overrides):
        return [dict(arm.axes) for arm in with_overrides(asked, overrides, data)[0].arms]

    assert axes("digits") == [{"rank": (0, 8)}, {"alpha": (0.0, 0.1)}], "the preset's own data"
    assert axes("mnist") == [{"rank": (0, 16, 32)}, {"alpha": (0.0, 0.1)}]
    assert axes("svhn")[0] == {"rank": (0, 64)}
    assert axes("mnist", rank="full,4")[0] == {"rank": (0, 4)}, "what is typed goes before"
    assert with_overrides(asked, {}, "mnist")[1]["width"] == 400


def test_a_grid_is_a_product():
    preset = Preset(arms=(Arm(name="a", family="regularization", axes={"alpha": (0, 1, 2), "frobenius": (1, 2)}),),
                    seeds=(0, 1))  # fmt: skip
    assert len(points(preset)) == 12


def test_every_preset_uses_known_names():
    for preset in STUDY.presets.values():
        assert set(preset.settings) <= set(SETTINGS)
        moved = {axis for arm in preset.arms for axis in arm.axes}
        assert all(set(s) <= set(SETTINGS) | moved for s in preset.by_data.values())
        assert all(set(arm.axes) <= set(AXES) for arm in preset.arms)


@pytest.mark.parametrize(
    ("axis", "order"),
    [
        ("alpha", [0.0, 0.001, 0.1]), ("rank", [0, 64, 4]), ("keep_prob", [1.0, 0.5, 0.05]), ("bits", [0, 16, 8, 4, 1]),
        ("prune_ratio", [0.0, 0.5, 0.9]), ("lam", [0.0, 0.2, 1.0]), ("plant_spectrum", [0.0, 0.5, 1.0]),
        ("frobenius", [0.0, 1.0, 2.0]),
        ("learning_rate", [1e-4, 1e-3, 1e-2]), ("finetune", ["none", "adversarial", "standard"]), ("mine", [1, 2, 3]),
    ],
)  # fmt: skip
def test_levels_stand_off_first_and_then_towards_the_compressed_end(axis, order):
    for given in (order, order[::-1], [*order, *order]):
        assert by_strength(axis, given) == order
    assert by_strength(axis, order[1:]) == (sorted(order[1:]) if axis == "finetune" else order[1:])


def test_what_compresses_by_degrees_says_which_end_is_compressed():
    ends = {name: knob.compressed for name, knob in AXES.items() if knob.compressed}
    assert ends == {
        "alpha": "high", "rank": "low", "plant_rows": "high", "plant_spectrum": "high", "prune_ratio": "high",
        "keep_prob": "low", "lam": "high", "bits": "low",
    }  # fmt: skip


def test_any_knob_becomes_an_axis_where_every_arm_can_hold_it():
    arms = (Arm(name="a", family="compressed", axes={"bits": (0, 4)}), Arm(name="b", family="compressed", axes={}))
    asked = Preset(arms=arms, seeds=(0,))
    preset, settings = with_overrides(asked, {"alpha": "0,0.1", "width": "16,32", "epochs": "3"}, "digits")
    assert [arm.axes["alpha"] for arm in preset.arms] == [(0.0, 0.1)] * 2
    assert (settings["epochs"], settings["width"]) == (3, 200), "one value of a setting is a setting"
    found = points(preset, settings)
    assert len(found) == 2 * 2 * 2, "arm b has no more than a's points with bits 0"
    assert {p.axes["width"] for p in found} == {16, 32}
    for name, text in (("plant_rows", "0.5"), ("rows", "3,4"), ("eps_l2", "")):
        with pytest.raises(UsageError, match=f"--set {name}"):
            with_overrides(asked, {name: text}, "digits")
