"""Nets whose BatchNorms have new statistics, through whole trials: what they see, what distances are measured to."""

import copy

import pytest

from study.spec.families import FAMILIES
from study.spec.knobs import AXES, SETTINGS
from study.trial import stages
from study.trial.run import run
from study.trial.stages import snapshot

POINT = {n: k.default for n, k in (AXES | SETTINGS).items()} | {
    "data": "digits", "data_digest": "", "data_dir": "", "model": "cnn", "model_digest": "", "seed": 0, "sources": {},
    "width_multiplier": 0.125, "train_size": 100, "test_size": 20, "epochs": 1, "batch_size": 20, "recalibrate": 1,
    "attack_iterations": 1, "gap_iterations": 1, "risk_eps": (0.5,), "risk_points": 2, "risk_images": 20,
}  # fmt: skip


def ended(resume=None, **point):
    *_, outcome = run(FAMILIES["compressed"](POINT | point), resume=resume)
    assert outcome.status == "ok"
    return outcome


def steady(outcome):
    return [r for r in outcome.rows if r.get("deterministic", True)]


def value(outcome, measure):
    (found,) = [r["value"] for r in outcome.rows if r["measure"] == measure]
    return found


def test_a_net_that_lost_next_to_nothing_lies_next_to_the_whole_one():
    """Else the distance of old statistics from new ones would stand in for that of a mask."""
    near, far = (value(ended(keep_prob=share), "fidelity") for share in (0.999, 0.5))
    assert near < 0.1 * far


def test_batches_are_of_one_size(monkeypatch):
    sizes = []

    def spy(net, images):
        sizes.extend(len(batch) for batch in images)
        return net

    monkeypatch.setattr(stages.recalibrate, "recalibrate", spy)
    ended(train_size=1100, epochs=0, risk_eps=())
    assert sizes == [550, 550]


def test_the_order_is_the_seeds():
    kept = {"epochs": 1, "risk_eps": ()}
    assert steady(ended(**kept)) == steady(ended(**kept))


@pytest.mark.parametrize("point", [{"keep_prob": 0.5}, {"prune_ratio": 0.5, "bits": 8}])
def test_a_trial_that_goes_on_after_its_training_ends_the_same(point):
    whole, kept = ended(**point), None
    for outcome in run(FAMILIES["compressed"](POINT | point)):
        if outcome.phase == "recalibrate":
            kept = copy.deepcopy(snapshot(outcome.state))
            break
    assert kept is not None
    assert steady(ended(resume=kept, **point)) == steady(whole)
