"""A trial with more than one data set, and measures on more than one split."""

import dataclasses

import pytest

from study.spec.config import Accuracy, Build, Load, Robustness, Train, Trial
from study.trial import run as trials

OWN, OTHER = Load(train_size=200, test_size=60), Load(name="again", train_size=300, test_size=50)
HALVES = Load(name="halves", binary=True, train_size=200, test_size=60)
ATTACK = Robustness(norm="linf", eps=(0.1,), iterations=3, gap_eps=(0.1,), gap_iterations=3, backend="native")


CLEAN = (Accuracy(),)


def run(*stages, measures=CLEAN):
    *_, outcome = trials.run(Trial(seed=0, stages=stages, measures=measures))
    return outcome


def deterministic(outcome, **where):
    rows = [r for r in outcome.rows if r["deterministic"]]
    return [r for r in rows if all(r.get(k) == v for k, v in where.items())]


def test_a_second_load_without_a_name_is_refused():
    with pytest.raises(ValueError, match="second data set without a name: give each Load"):
        run(OWN, Load(binary=True), Build(width=8, depth=1), Train(epochs=1))
    with pytest.raises(ValueError, match="second data set 'again'"):
        run(OWN, OTHER, OTHER)


def test_a_head_is_never_trained_on_another_number_of_classes():
    with pytest.raises(ValueError, match="data digits has 2 classes, the net's head 10"):
        run(OWN, HALVES, Build(width=8, depth=1), Train(epochs=1, on="halves"))
    with pytest.raises(ValueError, match="has 2 classes, the net's head 10"):
        run(OWN, HALVES, Build(width=8, depth=1), Train(epochs=1), measures=(Accuracy(on="halves"),))


def test_data_that_were_not_loaded_are_named_with_those_that_were():
    with pytest.raises(ValueError, match="no data named 'svhn' in this trial, loaded are: '', 'again'"):
        run(OWN, OTHER, Build(width=8, depth=1), Train(epochs=1, on="svhn"))
    with pytest.raises(ValueError, match="no data named '' in this trial, loaded are: 'again'"):
        run(OTHER, Build(width=8, depth=1))


def test_data_that_nobody_asks_for_change_nothing():
    plain = run(OWN, Build(width=8, depth=2), Train(epochs=2), measures=(Accuracy(), ATTACK))
    beside = run(OWN, OTHER, Build(width=8, depth=2), Train(epochs=2), measures=(Accuracy(), ATTACK))
    assert deterministic(plain) == deterministic(beside)
    assert not any("on" in r for r in plain.rows)


def test_training_and_measures_on_named_data_are_those_of_a_trial_of_its_own():
    """The other data as the trial's own give the same net and the same clean rows."""
    named = run(OWN, OTHER, Build(width=8, depth=2), Train(epochs=2, on="again"), measures=(Accuracy(on="again"),))
    alone = run(dataclasses.replace(OTHER, name=""), Build(width=8, depth=2), Train(epochs=2))
    found = [r | {"on": None} for r in deterministic(named, on="again")]
    assert found == [r | {"on": None} for r in deterministic(alone) if r["measure"].startswith("clean_")]
    assert deterministic(named, measure="train_loss") == deterministic(alone, measure="train_loss")


def test_rows_of_named_data_say_so_and_no_two_rows_share_their_coordinates():
    measures = (Accuracy(), ATTACK, Accuracy(on="again"), dataclasses.replace(ATTACK, on="again"))
    rows = deterministic(run(OWN, OTHER, Build(width=8, depth=2), Train(epochs=2), measures=measures))
    seen = [tuple(sorted((k, v) for k, v in r.items() if k != "value")) for r in rows]
    assert len(set(seen)) == len(seen)
    assert {r["n"] for r in rows if r.get("on") == "again" and r.get("split") == "test"} == {50}
    assert {r["n"] for r in rows if "on" not in r and r.get("split") == "test"} == {60}


def test_validation_rows_come_when_asked_and_leave_the_others_alone():
    held = dataclasses.replace(OWN, validation=0.2)
    stages = (held, Build(width=8, depth=2), Train(epochs=2))
    plain = deterministic(run(*stages, measures=(Accuracy(), ATTACK)))
    both = (Accuracy(validation=True), dataclasses.replace(ATTACK, splits=("test", "validation")))
    more = deterministic(run(*stages, measures=both))
    extra = [r for r in more if r.get("split") == "validation"]
    assert [r for r in more if r.get("split") != "validation"] == plain
    assert {r["measure"] for r in extra} == {r["measure"] for r in plain if r.get("split") == "test"}
    assert {r["n"] for r in extra} == {40}
    alone = dataclasses.replace(ATTACK, splits=("validation",))
    again = deterministic(run(*stages, measures=(alone,)), split="validation")
    assert again == [r for r in extra if not r["measure"].startswith("clean_")], "splits share a random stream"


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (Accuracy(validation=True), "data digits has no validation images"),
        (dataclasses.replace(ATTACK, splits=("validation",)), "data digits has no validation images"),
        (dataclasses.replace(ATTACK, splits=("tset",)), "split must be one of train, validation, test, got 'tset'"),
    ],
)
def test_a_split_that_is_not_there_is_named(measure, words):
    with pytest.raises(ValueError, match=words):
        run(OWN, Build(width=8, depth=1), Train(epochs=1), measures=(measure,))
