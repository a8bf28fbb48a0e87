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
        ({"binary": "0,1", "attack": "apgd_dlr", "attack_backend": "art"}, "apgd_dlr uses the DLR loss"),
        ({"attack": "fgsm", "attack_iterations": "40"}, "--set attack_iterations: attack=fgsm is one step and"),
        ({"attack": "fgsm", "attack_iterations": "10,40"}, "attack=fgsm is one step"),
        ({"attack": "fgsm", "attack_restarts": "2"}, "attack=fgsm begins at the image and takes no attack_restarts"),
        ({"attack": "cw", "attack_restarts": "2", "attack_backend": "art"}, "attack=cw begins at the image"),
        ({"attack": "cw", "attack_iterations": "20"}, "at 20 attack=cw has its own number, 10 steps in l_inf and 100"),
        ({"attack": "square", "attack_iterations": "20"}, "attack=square has its own number, 1000 queries"),
        ({"certify": "0,1", "attack": "pgd"}, "certificates go with attack=apgd"),
        ({"momentum": "0,0.9"}, "momentum 0 and 0.9 are the same trial"),
        ({"penalty": "nuclear_norm", "alpha": "0"}, "penalty nuclear_norm does nothing at any of its points; it goes"),
        ({"train_eps": "0.1,0.2"}, "train_eps 0.1 does nothing at any of its points; it goes with adversarial_ratio"),
    ],
)  # fmt: skip
def test_a_point_that_could_not_be_is_refused_in_the_plan(overrides, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        plan(tmp_path, **overrides)


@pytest.mark.parametrize("attack", ["apgd", "apgd_dlr", "pgd", "autoattack", "cw", "square"])
def test_settings_that_an_attack_takes_are_accepted(attack, tmp_path):
    more = {} if attack == "cw" else {"attack_restarts": "2"}
    jobs = plan(tmp_path, attack=attack, attack_iterations="40", **more, alpha="0", rank="full").jobs.values()
    assert {m.iterations for job in jobs for m in job.trial.measures if hasattr(m, "restarts")} == {40}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"finetune_patience": "2"}, "--set finetune_patience: early stopping needs"),
        ({"finetune_recipe": "paper_a"}, "--set finetune_patience: early stopping needs"),
        ({"finetune_schedule": "multistep", "recipe": "none"}, "multistep needs finetune_milestones"),
    ],
)
def test_fine_tuning_is_asked_the_same(overrides, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        plan(tmp_path, "finetuning_sweep", **overrides)


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
