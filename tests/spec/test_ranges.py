"""What is typed after --set: ranges, names that others use, names given twice."""

import pytest

from study.spec.errors import UsageError
from study.spec.knobs import KNOBS
from study.spec.values import parse_value, spread
from study.sweep import typed
from study.sweep.plan.request import Request, make_plan


def values(name, text):
    return [parse_value(name, KNOBS[name], word) for word in spread(name, KNOBS[name], text)]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("alpha", "1e-4..1e-1:7log", [1e-4, 0.000316228, 0.001, 0.00316228, 0.01, 0.0316228, 0.1]),
        ("alpha", "0:0.1:5", [0, 0.025, 0.05, 0.075, 0.1]),
        ("alpha", "0..0.1:5", [0, 0.025, 0.05, 0.075, 0.1]),
        ("alpha", "0.1..0:3", [0.1, 0.05, 0]),
        ("eps_linf", "2/255..8/255:4", [2 / 255, 4 / 255, 6 / 255, 8 / 255]),
        ("rank", "4..64:5log", [4, 8, 16, 32, 64]),
        ("rank", "1..4:3", [1, 2, 4]),
        ("rank", "full", [0]),
        ("penalty", "parts:ridge", ["parts:ridge"]),
    ],
)
def test_a_range_has_both_ends_and_exact_steps(name, text, found):
    assert values(name, text) == found


@pytest.mark.parametrize(
    "text", ["0..1", "0..1:1", "1..1:3", "0..1:3log", "-1..1:3log", "a..1:3", "0..1:1001", "1e400..1:2", "..:2", "1:2",
             "1/0..1:2", "0..1:3 lin"]
)  # fmt: skip
def test_what_is_no_range_says_how_one_is_written(text):
    with pytest.raises(UsageError, match=r"--set alpha: .* is no range; write FIRST\.\.LAST:COUNT, as 0\.\.0\.1:5"):
        spread("alpha", KNOBS["alpha"], text)


def test_an_end_with_a_huge_exponent_costs_nothing():
    assert spread("alpha", KNOBS["alpha"], "1e-999999999..1:2") == ["0.0", "1.0"]


def test_ranges_mix_with_values_and_serve_searches_too():
    def plan(study, **overrides):
        return make_plan(Request(study=study, preset="smoke", overrides=overrides), need_data=False)

    arms = plan("compressibility_sweep", alpha="0,0.01..0.1:4log").preset.arms
    assert next(a for a in arms if a.name == "neuron").axes["alpha"] == (0, 0.01, 0.0215443, 0.0464159, 0.1)
    assert plan("pareto_search", keep_prob="0.2..0.8:4").preset.search.knobs["keep_prob"].values == (0.2, 0.4, 0.6, 0.8)
    assert plan("compressibility_sweep", eps_linf="0..8/255:3").settings["eps_linf"] == (0, 4 / 255, 8 / 255)


@pytest.mark.parametrize(
    ("typed_", "meant"), [("lr", "learning_rate"), ("LR", "learning_rate"), ("wd", "weight_decay")]
)
def test_a_name_that_others_use_gets_its_hint(typed_, meant):
    with pytest.raises(UsageError, match=f"--set {typed_}: no such axis or setting; did you mean {meant}\\?"):
        make_plan(Request(study="compressibility_sweep", preset="smoke", overrides={typed_: "1"}))


@pytest.mark.parametrize(
    ("typed_", "meant"),
    [("pruning_probability", "keep_prob"), ("retention", "keep_prob"), ("retention_probability", "keep_prob"),
     ("p", "keep_prob"), ("dropout", "keep_prob"), ("lambda", "lam")],
)  # fmt: skip
def test_the_papers_word_for_a_mask_gets_its_hint(typed_, meant):
    with pytest.raises(UsageError, match=f"--set {typed_}: no such axis or setting; did you mean {meant}\\?"):
        make_plan(Request(study="tradeoff_sweep", preset="smoke", overrides={typed_: "0.5"}))


@pytest.mark.parametrize(
    ("item", "option"),
    [("seeds=3", "--seeds 3"), ("seed=3", "--seeds 3"), ("dataset=mnist", "--data mnist"),
     ("time-budget=2h", "--time-budget 2h")],
)  # fmt: skip
def test_an_option_is_no_knob(item, option):
    with pytest.raises(UsageError, match=f"it is an option of its own; write {option}$"):
        typed.overrides((item,))


def test_an_axis_given_twice_has_the_values_of_both_and_a_setting_the_last_which_is_said(caplog):
    assert typed.overrides(("alpha=0", "alpha=0.01,0.1", "alpha=0")) == {"alpha": "0,0.01,0.1,0"}
    assert caplog.text == ""
    assert typed.overrides(("epochs=2", "epochs=2", "epochs=3")) == {"epochs": "3"}
    assert "--set epochs is given twice, 2 and 3: the last one holds" in caplog.text
