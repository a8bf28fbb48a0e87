"""Slips in a study, each refused with one message when the study is loaded."""

import dataclasses

import pytest

from study.spec.check import check_study
from study.spec.domains import Choice, Uniform
from study.spec.errors import UsageError
from study.spec.studies import Arm, Preset, Search, Study
from study.sweep.plan.catalogue import find_study, study_names


def study(arm=None, **preset):
    axes = {"alpha": (0.0, 0.1)}
    arms = (Arm(name="neuron", family="regularization", axes=axes if arm is None else arm),)
    whole = {"arms": arms, "seeds": (0,)} | preset
    return Study(name="mine", question="Why?", presets={"laptop": Preset(**whole)})


def search(**knobs):
    return {"arms": (), "search": Search(family="compressed", knobs=knobs)}


@pytest.mark.parametrize("name", study_names())
def test_every_study_of_the_project_is_sound(name):
    assert find_study(name).name == name


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (study({"alhpa": (0.0, 0.1)}), "preset laptop, arm neuron: no knob 'alhpa'; did you mean alpha"),
        (study({"rank": (0, 8)}), "the family regularization does not take rank; it takes alpha, frobenius"),
        (study({"alpha": (0.0, -1.0)}), "alpha -1.0 is not accepted; give numbers from 0"),
        (study({"alpha": (0.0, float("nan"))}), "alpha nan is not accepted"),
        (study({"alpha": (0.1, 0.1)}), "alpha needs some values, each once"),
        (study({"alpha": ()}), "alpha needs some values"),
        (study({"penalty": ("lasso",)}), "penalty 'lasso' is not accepted; give one of group_lasso, group_lasso_"),
        (study({"depth": (2.5,)}), "depth 2.5 is not accepted; give whole numbers from 1"),
        (study({"eps_linf": (0.1, 0.2)}), "eps_linf is of the whole study and no axis"),
        (study(settings={"epocs": 3}), "preset laptop: no knob 'epocs'; did you mean epochs"),
        (study(settings={"epochs": -1}), "epochs -1 is not accepted; give whole numbers from 0"),
        (study(settings={"epochs": (1, 2)}), "epochs takes one value, got"),
        (study(settings={"eps_linf": 0.1}), "eps_linf takes a tuple, got 0.1"),
        (study(settings={"alpha": 0.1}), "alpha is a column of the table; give it to the arms as an axis"),
        (study(settings={"ascent_steps": 5}), "none of its families takes the setting ascent_steps"),
        (study(by_data={"mnist": {"wdith": 3}}), "preset laptop, data mnist: no knob 'wdith'; did you mean width"),
        (study(by_data={"mnist": {"alpha": ()}}), "preset laptop, data mnist: alpha needs some values, each once"),
        (study(by_data={"*": {"alpha": (0.0, -1.0)}}), r"preset laptop, data \*: alpha -1.0 is not accepted"),
        (study(by_data={"mnist": {"alpha": 0.1}}), "alpha is a column of the table; give it to the arms as an axis"),
        (study(by_data={"mnist": {"rank": (0, 8)}}), "rank is a column of the table; give it to the arms as an axis"),
        (study(settings={"eps_l2": (0.5,), "judged_l2": 0.25}), "judged_l2 0.25 is none of the budgets"),
        (study(seeds=()), "its seeds must be some, each once"),
        (study(arms=()), "it needs arms or a search, and not both"),
        (study(arms=(Arm(name="a", family="regularisation", axes={}),)), "no family 'regularisation'; did you mean"),
        (study(arms=(Arm(name="a", family="low_rank", axes={}),) * 2), "two arms have one name"),
        (study(**search(bit=Choice(values=(0, 4)))), "no knob 'bit'; did you mean bits"),
        (study(**search(bitz=Uniform(low=0, high=1))), "no knob 'bitz'; did you mean bits"),
        (study(**search(plant_rows=Choice(values=(0.0,)))), "the family compressed does not take plant_rows"),
        (study(**search(bits=Choice(values=(3,)))), "bits 3 is not accepted; give one of 0, 16, 8, 4, 2, 1"),
        (study(**search(bits=Choice(values=(4,), when=({"finetune": ("standard",)},)))), "no knob 'finetune'"),
        (study(**search(bits=Choice(values=(0, 4)), rank=Choice(values=(4,), when=({"bits": (8,)},)))), "rank waits"),
        (dataclasses.replace(study(), reproduces=("fig5",)), "write A.fig5, B.tab2 or A.fig5.top"),
        (dataclasses.replace(study(), baseline={"alfa": 0.0}), "the baseline: no knob 'alfa'; did you mean alpha"),
    ],
)  # fmt: skip
def test_a_slip_is_one_message(wrong, words):
    with pytest.raises(UsageError, match=words):
        check_study(wrong)


def test_any_knob_of_one_value_can_be_an_axis():
    assert check_study(study({"width": (16, 32), "train_attack": ("pgd", "free"), "learning_rate": (1e-3, 1e-2)}))
