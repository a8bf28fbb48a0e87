"""Budgets at which every net is at chance are refused, typed or in a study of one's own, and the message says what to
write instead."""

import math

import pytest

from study.spec import budgets
from study.spec.check import check_study
from study.spec.datasets import DATASETS, shape
from study.spec.domains import Choice, LogUniform
from study.spec.errors import UsageError
from study.spec.expand import with_overrides
from study.spec.studies import Arm, Preset, Search, Study
from study.sweep.plan.request import Request, make_plan

ARM = Arm(name="a", family="regularization", axes={"alpha": (0.0, 0.1)})


def study(arm=ARM, **preset):
    return Study(name="mine", question="Why?", presets={"laptop": Preset(**{"arms": (arm,), "seeds": (0,)} | preset)})


def typed(data="digits", **overrides):
    return with_overrides(Preset(arms=(ARM,), seeds=(0,)), overrides, data)[1]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"eps_linf": "8"}, "8 is not below 0.5, where every image can be made grey.* --set eps_linf=8/255$"),
        ({"eps_linf": "8,16"}, "8, 16 are not below 0.5.* --set eps_linf=8/255,16/255$"),
        ({"eps_linf": "2/255,16"}, "16 is not below 0.5.* --set eps_linf=2/255,16/255$"),
        ({"eps_linf": "0.6"}, "0.6 is not below 0.5.* --set eps_linf=8/255$"),
        ({"eps_linf": "0,0.5"}, "0.5 is not below 0.5, where every image can be made grey.* --set eps_linf=8/255$"),
        ({"judged_linf": "0.5"}, "--set judged_linf: 0.5 is not below 0.5"),
        ({"eps_linf": "200"}, "200 is not below 0.5.* --set eps_linf=8/255$"),
        ({"judged_linf": "8"}, "--set judged_linf: 8 is not below 0.5.* --set judged_linf=8/255$"),
        ({"eps_l2": "0.5,9"}, "9 is above 8, the diagonal of 1 x 8 x 8 pixels.* --set eps_l2=0.5$"),
        ({"judged_l2": "9"}, "--set judged_l2: 9 is above 8"),
        ({"train_eps": "8"}, "--set train_eps: 8 is not below 0.5.* --set train_eps=8/255$"),
        ({"train_eps": "9", "train_norm": "l2"}, "--set train_eps: 9 is above 8"),
    ],
)
def test_a_budget_at_which_every_net_is_at_chance_is_refused(overrides, words):
    with pytest.raises(UsageError, match=words):
        typed(**overrides)


def test_budgets_in_255ths_and_at_the_limits_pass():
    assert typed(eps_linf="8/255,16/255")["eps_linf"] == (8 / 255, 16 / 255)
    assert typed(eps_linf="8 / 255")["eps_linf"] == (8 / 255,)
    found = typed(eps_linf="127/255,0", judged_linf="127/255", eps_l2="8", train_eps="8", train_norm="l2")
    assert (found["eps_linf"], found["eps_l2"], found["train_eps"]) == ((127 / 255, 0.0), (8.0,), 8.0)
    assert typed("mnist", eps_l2="28")["eps_l2"] == (28.0,), "the diagonal is that of the data that are asked for"
    assert typed("mine:data", eps_l2="1000")["eps_l2"] == (1000.0,), "a shape that is known once the data are loaded"


def test_the_limits_are_those_of_the_image():
    for name, info in DATASETS.items():
        channels, height, width = shape(name)
        assert channels == len(info.mean)
        assert budgets.most("l2", shape(name)) == math.sqrt(channels * height * width)
        assert budgets.most("linf", shape(name)) == 0.5
    assert shape("imagefolder:x") == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (study(settings={"eps_linf": (8.0,)}), "mine, preset laptop: eps_linf 8 is not below 0.5.* eps_linf 8/255$"),
        (study(settings={"eps_linf": (2 / 255, 8.0), "judged_linf": 8.0}), "eps_linf 2/255, 8/255$"),
        (study(settings={"eps_l2": (20.0,)}), "preset laptop: eps_l2 20 is above 8"),
        (study(by_data={"mnist": {"eps_l2": (29.0,)}}), "preset laptop, data mnist: eps_l2 29 is above 28"),
        (study(by_data={"*": {"eps_linf": (1.0,)}}), r"preset laptop, data \*: eps_linf 1 is not below 0.5"),
        (study(settings={"train_eps": 8.0}), "train_eps 8 is not below 0.5"),
        (study(Arm(name="a", family="regularization", axes={"train_eps": (0.1, 8.0)})), "train_eps 8 is not below 0.5"),
        (study(Arm(name="a", family="regularization", axes={"train_norm": ("linf", "l2")}),
               settings={"train_eps": 1.0}), "train_eps 1 is not below 0.5"),
        (study(arms=(), search=Search(family="compressed", knobs={"train_eps": LogUniform(low=0.01, high=1.0)})),
         "train_eps 1 is not below 0.5"),
        (study(arms=(), search=Search(family="compressed", knobs={"train_norm": Choice(values=("l2",)),
                                                                  "train_eps": Choice(values=(1.0, 9.0))})),
         "train_eps 9 is above 8"),
    ],
)  # fmt: skip
def test_a_study_of_ones_own_is_told_when_it_is_loaded(wrong, words):
    with pytest.raises(UsageError, match=words):
        check_study(wrong)


def test_a_radius_of_training_is_looked_at_in_the_norm_it_is_used_in():
    l2 = Arm(name="a", family="regularization", axes={"train_norm": ("l2",), "adversarial_ratio": (0.5,)})
    assert check_study(study(l2, settings={"train_eps": 1.0}, by_data={"mnist": {"train_eps": 20.0}}))


def test_the_points_of_a_plan_are_asked_too(tmp_path):
    def plan(**overrides):
        asked = {"adversarial_ratio": "0.5", "alpha": "0", "rank": "full", "train_eps": "1"} | overrides
        wanted = Request(study="compressibility_sweep", preset="smoke", overrides=asked, output=str(tmp_path / "out"))
        return make_plan(wanted).jobs

    assert len(plan(train_norm="l2")) == 2
    with pytest.raises(UsageError, match=r"--set train_eps: 1 is not below 0\.5"):
        plan(train_norm="l2,linf")
