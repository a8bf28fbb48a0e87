"""Trials on levels: one that is interrupted, or measured again from its weights, comes to the same numbers."""

import pytest
import torch

from study.spec.config import Accuracy, Build, Cost, Load, Quantize, Robustness, Train, Trial
from study.spec.identity import base_key, fingerprint
from study.store.layout import trial_path
from study.store.results import read_trial, rows_digest
from study.sweep.worker import weights
from study.sweep.worker.attempt import Attempt
from study.trial.run import run
from tests.attempts import finish, job

AWARE = Quantize(bits=4, granularity="channel", aware=True)
MEASURES = (Accuracy(), Robustness(norm="linf", eps=(0.05,), iterations=3, gap_eps=(0.05,), gap_iterations=3), Cost())


def trial(quantization=AWARE, **first):
    """Two trainings, the first of them on levels."""
    stages = (
        Load(test_size=60, validation=0.1), Build(width=24, depth=2), quantization,
        Train(**({"epochs": 3, "frobenius": 1.0} | first)), Train(epochs=2, adversarial_ratio=0.5, train_steps=2),
    )  # fmt: skip
    return Trial(seed=0, stages=stages, measures=MEASURES)


def rows_of(folder, trial):
    return rows_digest(read_trial(trial_path(folder, fingerprint(trial))).rows, True)


@pytest.mark.parametrize(("stop", "how"), [(1, {}), (3, {}), (4, {}), (2, {"patience": 1, "learning_rate": 0.1})])
def test_a_trial_that_trains_on_levels_goes_on_from_its_epoch(tmp_path, stop, how):
    whole = trial(**how)
    finish(Attempt(job(tmp_path / "whole", whole)))
    broken = job(tmp_path / "broken", whole, report_seconds=0.0, checkpoint_seconds=0.0)
    first = Attempt(broken)
    while first.step()["epoch"] < stop:
        pass
    first.close()
    finish(Attempt(broken))
    assert rows_of(tmp_path / "whole", whole) == rows_of(tmp_path / "broken", whole)


def test_a_base_that_was_trained_on_levels_is_shared_by_what_follows(tmp_path):
    both = [trial(), Trial(seed=0, stages=trial().stages[:-1], measures=MEASURES)]
    assert base_key(both[0]) == base_key(both[1]) != base_key(trial(Quantize(bits=4, aware=True)))
    for each in both:
        finish(Attempt(job(tmp_path / "alone", each)))
        finish(Attempt(job(tmp_path / "shared", each, base=base_key(each))))
        assert rows_of(tmp_path / "alone", each) == rows_of(tmp_path / "shared", each)
    assert len(list((tmp_path / "shared/bases").iterdir())) == 1


def test_saved_weights_are_the_measured_net_with_its_ranges(tmp_path):
    found = trial()
    finish(Attempt(job(tmp_path, found, weights=True)))
    tensors, snapshot = weights.load(tmp_path / weights.name_of(fingerprint(found)))
    ranges = {name: value for name, value in tensors.items() if name.endswith((".low", ".high"))}
    assert len(ranges) == 2 * 2
    *_, again = run(found, resume=snapshot)
    assert all(torch.equal(tensors[name], value) for name, value in again.state.net.state_dict().items())
    first = snapshot["trainings"][0]["weights"]
    assert all(torch.equal(first[name], value) for name, value in ranges.items()), "fixed after the first training"


@pytest.mark.parametrize("bits", [16, 8, 4, 2])
def test_the_loss_of_training_on_levels_falls(bits):
    *_, outcome = run(Trial(seed=0, stages=trial(Quantize(bits=bits, aware=True), epochs=8).stages[:-1], measures=()))
    losses = [value for _, name, value in outcome.state.curves() if name == "train_loss"]
    assert losses[-1] < 0.75 * losses[0]
    assert outcome.status == "ok"
