"""What no point of a study may be: asked of its axes and recipes too, before anything is trained."""

import pytest

from study.spec.errors import UsageError
from study.sweep.plan.request import Request, make_plan


def plan(tmp_path, study="compressibility_sweep", **overrides):
    return make_plan(Request(study=study, preset="smoke", overrides=overrides, output=str(tmp_path / "out")))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"patience": "2"}, "--set patience: early stopping needs a validation share"),
        ({"patience": "0,2"}, "--set patience: early stopping needs a validation share"),
        ({"recipe": "paper_a", "validation": "0"}, "--set patience: early stopping needs"),
        ({"validation_rows": "0,1"}, "there are no validation images"),
        ({"schedule": "multistep"}, "multistep needs milestones"),
        ({"train_size": "100,100000"}, "100000 is more than the 1437 images of digits"),
        ({"binary": "0,1", "attack": "apgd_dlr"}, "apgd_dlr uses the DLR loss"),
        ({"certify": "0,1", "attack": "pgd"}, "certificates go with attack=apgd"),
        ({"momentum": "0,0.9"}, "momentum 0 and 0.9 are the same trial"),
        ({"penalty": "nuclear_norm", "alpha": "0"}, "penalty nuclear_norm does nothing at any of its points; it goes"),
        ({"train_eps": "0.1,0.2"}, "train_eps 0.1 does nothing at any of its points; it goes with adversarial_ratio"),
    ],
)  # fmt: skip
def test_a_point_that_could_not_be_is_refused_in_the_plan(overrides, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        plan(tmp_path, **overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"finetune_patience": "2"}, "--set finetune_patience: early stopping needs"),
        ({"finetune_recipe": "paper_a"}, "--set finetune_patience: early stopping needs"),
        ({"finetune_schedule": "multistep"}, "multistep needs finetune_milestones"),
    ],
)
def test_fine_tuning_is_asked_the_same(overrides, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        plan(tmp_path, "compression_levels", **overrides)


def trained(tmp_path, **overrides):
    jobs = plan(tmp_path, alpha="0", rank="full", **overrides).jobs.values()
    return sorted({(t.optimizer, t.epochs, t.schedule) for j in jobs for t in j.trial.stages if hasattr(t, "epochs")})


def test_what_is_said_beside_a_recipe_overrides_it_where_recipes_are_an_axis_too(tmp_path):
    both = {"recipe": "paper_b,paper_c"}
    assert trained(tmp_path, **both) == [("adam", 30, ""), ("sgd", 20, "multistep")]
    assert trained(tmp_path, **both, epochs="3") == [("adam", 3, ""), ("sgd", 3, "multistep")]
    assert trained(tmp_path, recipe="paper_c", schedule="constant") == [("sgd", 20, "")]


def test_a_validation_share_lets_early_stopping_be_an_axis(tmp_path):
    assert len(plan(tmp_path, alpha="0", rank="full", validation="0.05,0.1", patience="2").jobs) == 4
