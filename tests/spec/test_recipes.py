"""Recipes by name, their parts overridden, for both trainings; and what families really read of a point."""

import dataclasses

import pytest

from study.spec.config import Train
from study.spec.errors import UsageError
from study.spec.expand import expand, knob_values, with_overrides
from study.spec.families import FAMILIES, common, compressed, transfer
from study.spec.identity import canonical_trial
from study.spec.knobs import AXES, KNOBS, SETTINGS, TRAINING, takes
from study.spec.recipes import OF_THE_DATA, PREFIXES, RECIPES, parts
from study.spec.studies import Arm, Preset
from study.spec.values import refusal

SHARED = {"data": "digits", "data_digest": "d", "data_dir": "", "model": "fcn", "model_digest": "", "sources": {}}
COMPRESSED = Arm(name="a", family="compressed", axes={"bits": (4,), "finetune": ("standard",), "finetune_epochs": (2,)})


def preset(*arms, **settings):
    return Preset(arms=arms or (COMPRESSED,), seeds=(0,), settings=settings)


def trainings(asked, **overrides):
    """The training stages of every point of a preset after --set."""
    asked, settings = with_overrides(asked, overrides, "digits")
    points = expand(asked, settings, (0,))
    trials = [FAMILIES[p.family]({**knob_values(p), **SHARED, "seed": 0}) for p in points]
    return [[s for s in t.stages if isinstance(s, Train)] for t in trials]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("knob", PREFIXES)
def test_every_part_is_a_knob_at_a_value_that_it_takes(knob, recipe):
    found = parts({knob: recipe})
    expected = set(RECIPES[recipe]) - (set(OF_THE_DATA) if PREFIXES[knob] else set())
    assert {name.removeprefix(PREFIXES[knob]) for name in found} == expected
    for name, value in found.items():
        for one in value if KNOBS[name].several else (value,):
            assert refusal(KNOBS[name], one) == "", name


def test_paper_c_trains_and_fine_tunes_as_printed():
    """C, section 4 and its code: SGD without momentum, .1 for four of 20 epochs, then .01; three epochs afterwards."""
    arm = Arm(name="a", family="compressed", axes={"bits": (4,), "finetune": ("standard",)})
    ((first, second),) = trainings(preset(arm, recipe="paper_c", finetune_recipe="paper_c_finetune_quantized"))
    common = Train(batch_size=64, optimizer="sgd", weight_decay=0.0)
    schedule = {"schedule": "multistep", "milestones": (4,), "gamma": 0.1}
    assert first == dataclasses.replace(common, epochs=20, learning_rate=0.1, frobenius=1.0, **schedule)
    assert second == dataclasses.replace(common, epochs=3, learning_rate=0.01, momentum=0.9)


def test_paper_a_trains_adversarially_as_printed():
    """A, C.3 and its code: cosine to 0 over 60 epochs, none after them, PGD of 10 steps on half of each batch."""
    arm = Arm(name="a", family="regularization", axes={"adversarial_ratio": (0.0, 0.5)})
    (standard,), (adversarial,) = trainings(preset(arm, recipe="paper_a_adversarial"))
    common = Train(epochs=60, schedule="cosine", augment="crop_flip", patience=10, frobenius=1.0)
    assert standard == common, "AdamW 1e-3, decay .01, batches of 100 are the defaults"
    assert (common.learning_rate, common.weight_decay, common.batch_size, common.optimizer) == (1e-3, 0.01, 100, "")
    assert adversarial == dataclasses.replace(common, adversarial_ratio=0.5, train_eps=8 / 255)
    assert (adversarial.train_attack, adversarial.train_steps, adversarial.stop_on) == ("pgd", 10, "")
    asked, settings = with_overrides(preset(arm, recipe="paper_a_adversarial"), {}, "digits")
    (load,) = {knob_values(p)["validation"] for p in expand(asked, settings, (0,))}
    assert load == 0.1, "a tenth of the training images, attacked, decides when to stop"


def test_what_is_said_beside_a_recipe_overrides_it_and_a_typed_recipe_the_preset():
    asked = preset(recipe="paper_c", epochs=7)
    assert trainings(asked)[0][0].epochs == 7
    typed = trainings(asked, recipe="paper_a", patience="0")[0][0]
    assert (typed.epochs, typed.optimizer, typed.batch_size, typed.patience) == (100, "", 100, 0)
    for order in (("recipe", "epochs"), ("epochs", "recipe")):
        words = {"recipe": "paper_c", "epochs": "3"}
        assert trainings(preset(), **{name: words[name] for name in order})[0][0].epochs == 3


def test_fine_tuning_is_as_the_training_unless_something_else_is_said():
    ((first, second),) = trainings(preset(batch_size=32, augment="crop_flip"))
    assert (second.batch_size, second.augment, second.learning_rate) == (32, "crop_flip", 1e-3)
    said = {f"finetune_{n}": v for n, v in {"batch_size": 16, "augment": "none", "optimizer": "sgd"}.items()}
    ((first, second),) = trainings(preset(batch_size=32, augment="crop_flip", finetune_freeze="encoder", **said))
    assert (first.batch_size, first.augment, first.optimizer, first.freeze) == (32, "crop_flip", "", ())
    assert (second.batch_size, second.augment, second.optimizer, second.freeze) == (16, "", "sgd", ("encoder",))


def test_a_recipe_can_be_an_axis():
    arm = Arm(name="a", family="regularization", axes={"recipe": ("", "paper_b", "paper_c")})
    found = [stages[0] for stages in trainings(preset(arm))]
    assert [(t.optimizer, t.epochs, t.learning_rate) for t in found] == [
        ("", 40, 1e-3),
        ("adam", 30, 1e-3),
        ("sgd", 20, 0.1),
    ]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"recipe": "paper_d"}, "'paper_d' is not accepted; give one of paper_a, .*did you mean paper_"),
        ({"momentum": "0.9"}, "momentum: it goes with optimizer=sgd, got adamw"),
        ({"milestones": "3"}, "milestones: it goes with schedule=multistep, got constant"),
        ({"finetune_momentum": "0.9"}, "finetune_momentum: it goes with finetune_optimizer=sgd, got adamw"),
        ({"rows": "3"}, "no family of this study takes it"),
        ({"optimizer": "adamm"}, "give one of adamw, adam, sgd; did you mean adam"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(overrides, words):
    with pytest.raises(UsageError, match=words):
        with_overrides(preset(), overrides, "digits")


ACTIVE = {
    "alpha": 0.1, "penalty": "nuclear_norm", "rank": 4, "keep_prob": 0.5, "prune_ratio": 0.5, "bits": 4, "finetune":
    "adversarial", "finetune_epochs": 1, "adversarial_ratio": 0.5, "schedule": "multistep", "finetune_momentum": 0.1,
    "finetune_milestones": (1,), "plant_rows": 0.5, "ascended_norm": "l2", "pretrain_data": "other_images",
    "pretrain_momentum": 0.1, "pretrain_milestones": (1,), "l1": 0.1, "alignment_penalty": 0.1, "universal": 1,
    "pruning": ("rows",), "distillation": 0.5, "second_attack": "pgd", "feature_maps": 1,
    "more_attacks": ("pgd",), "risk_eps": (0.5,),
}  # fmt: skip
SGD = {
    "optimizer": "sgd",
    "patience": 3,
    "finetune_optimizer": "sgd",
    "finetune_patience": 3,
    "pretrain_optimizer": "sgd",
    "pretrain_patience": 3,
}
OTHERS = (
    {"keep_prob": 1.0, "lam": 0.5},
    {"lam": 0.0, "layer_keep_prob": "0.5"},
    {"factorize_ratio": 0.5},
    {"bits": 1},
    {"bits": 0, "audit_queries": 5},
    SGD,
)
CONTEXTS = ({"validation": 0.2}, ACTIVE, *(ACTIVE | other for other in OTHERS))
BEFORE = {"recipe", "finetune_recipe", "pretrain_recipe"}  # resolved before a family sees the point


def others(knob):
    """Some values of a knob."""
    given = [
        *knob.choices,
        *(["own:function"] if knob.functions else []),
        *(["0.5/1"] if knob.shares else []),
        0,
        1,
        2,
        0.5,
        0.25,
    ]
    return [(v,) if knob.several else v for v in given if not refusal(knob, v)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_trials_of_two_seeds_differ_in_the_seed_alone(family):
    """A plan builds a grid's point once and gives it each seed."""
    point = {n: k.default for n, k in KNOBS.items()} | SHARED | {"sources": {}}
    one, other = (FAMILIES[family](point | {"validation": 0.2, "seed": seed}) for seed in (0, 1))
    assert dataclasses.replace(one, seed=1) == other


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_takes_the_knobs_that_the_table_says(family, monkeypatch):
    """A knob is taken where another value of it gives another trial, and the table says which they are."""
    monkeypatch.setattr(compressed, "check", lambda point: None)
    monkeypatch.setattr(transfer, "check", lambda point: None)
    monkeypatch.setattr(common, "revisions", lambda *_: {"revision": 1})

    def trial(point):
        return canonical_trial(FAMILIES[family](point))

    taken = set()
    for context in CONTEXTS:
        point = {n: k.default for n, k in KNOBS.items()} | SHARED | {"seed": 0, "sources": {"own:function": "d"}}
        point |= context
        for name, knob in KNOBS.items():
            if any(trial(point) != trial(point | {name: value}) for value in others(knob)):
                taken.add(name)
    assert taken | (BEFORE & set(takes(family))) == set(takes(family))


def test_the_table_splits_into_columns_and_settings_and_names_parts_of_both_trainings():
    assert set(AXES) | set(SETTINGS) == set(KNOBS)
    assert not set(AXES) & set(SETTINGS)
    assert {f"finetune_{name}" for name in TRAINING} <= set(KNOBS)
    assert all(set(knob.only_with) <= set(KNOBS) for knob in KNOBS.values())
    assert all(set(knob.families) <= set(FAMILIES) and knob.families for knob in KNOBS.values())
