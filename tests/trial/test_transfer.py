"""Two trainings on two data sets: what is frozen, resumed, penalised and judged."""

import dataclasses

import numpy as np
import pytest
import torch

from study.nets import net as nets
from study.nets.build import build
from study.nets.data import load
from study.nets.heads import fresh
from study.spec.config import Accuracy, Build, Head, Interim, Load, Train, Trial
from study.spec.families import FAMILIES
from study.spec.identity import fingerprint, seed_for
from study.spec.knobs import KNOBS
from study.store.layout import trial_path
from study.store.results import read_trial, rows_digest
from study.sweep.worker.attempt import Attempt
from study.trial import run as trials
from study.trial import train as training
from tests.attempts import finish, job

OTHER = Load(name="pretraining", classes="lower", test_size=60)
OWN = Load(classes="upper", test_size=60)
BETWEEN = (Interim(on="pretraining"), Head())
FIRST = Train(epochs=3, on="pretraining", penalty="group_lasso", alpha=0.01, frobenius=1.0)
SECOND = Train(epochs=4, adversarial_ratio=0.5, train_eps=0.05, train_steps=2)


def trial(first=FIRST, second=SECOND, own=OWN, other=OTHER, **build):
    net = Build(on="pretraining", **({"width": 16, "depth": 2} | build))
    return Trial(seed=0, stages=(own, other, net, first, *BETWEEN, second), measures=(Accuracy(),))


def run(asked):
    *_, outcome = trials.run(asked)
    return outcome


@pytest.mark.parametrize("stop", [2, 3, 5, 7])
def test_killed_in_either_training_it_goes_on_as_if_it_had_not_been(tmp_path, stop):
    asked = trial()
    finish(Attempt(job(tmp_path / "whole", asked)))
    broken = job(tmp_path / "broken", asked, report_seconds=0.0, checkpoint_seconds=0.0)
    first = Attempt(broken)
    while first.step()["epoch"] < stop:
        pass
    first.close()
    second, epochs = Attempt(broken), set()
    while not (report := second.step())["done"]:
        epochs.add(report["epoch"])
    assert epochs == {3, 7} | set(range(stop + 1, 8)), "an epoch was trained twice"
    found = [read_trial(trial_path(tmp_path / d, fingerprint(asked))).rows for d in ("whole", "broken")]
    assert rows_digest(found[0], True) == rows_digest(found[1], True)


def test_early_stopping_is_each_trainings_own_and_survives_a_kill(tmp_path):
    held = {"validation": 0.2}
    stopping = {"patience": 1, "epochs": 12, "learning_rate": 0.05}
    asked = trial(
        dataclasses.replace(FIRST, **stopping), dataclasses.replace(SECOND, stop_on="adversarial_accuracy", **stopping),
        dataclasses.replace(OWN, **held), dataclasses.replace(OTHER, **held),
    )  # fmt: skip
    outcome = run(asked)
    first, second = outcome.state.trainings.values()
    for progress in (first, second):
        assert progress.epoch < 12
        assert progress.epoch == progress.best_epoch + 1, "the best epoch of another training"
    broken = job(tmp_path, asked, report_seconds=0.0, checkpoint_seconds=0.0)
    attempt = Attempt(broken)
    while attempt.step()["epoch"] <= first.epoch:
        pass
    attempt.close()
    finish(Attempt(broken))
    rows = [r for r in read_trial(trial_path(tmp_path, fingerprint(asked))).rows if r["measure"] == "clean_accuracy"]
    assert {r["value"] for r in rows} == {r["value"] for r in outcome.rows if r["measure"] == "clean_accuracy"}


def test_the_pretrained_net_is_judged_on_its_own_classes_before_the_head_goes():
    outcome = run(trial())
    *_, alone = trials.run(
        Trial(seed=0, stages=(dataclasses.replace(OTHER, name=""), Build(width=16, depth=2),
                              dataclasses.replace(FIRST, on="")), measures=(Accuracy(),))
    )  # fmt: skip
    rows = [r for r in outcome.rows if r.get("on") == "pretraining"]
    there = [r for r in alone.rows if r["measure"].startswith("clean_") and r["split"] == "test"]
    assert [r | {"on": None} for r in rows] == [r | {"on": None} for r in there]
    assert outcome.state.net is not None
    assert nets.head(outcome.state.net).weight.shape == (5, 16)


def test_a_frozen_resnet_changes_no_bit_of_its_encoder_statistics_included():
    own = load(Load(classes="upper", train_size=40, test_size=20, validation=0.25), 0)
    net = build(Build(model="resnet18"), own.shape, 7, (own.mean, own.std), 0)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
    new = fresh(net, own.shape, own.classes, 1)
    config = Train(epochs=1, batch_size=20, freeze=("encoder",), alpha=0.1, penalty="group_lasso", frobenius=2.0,
                   weight_decay=0.5, learning_rate=0.1, patience=2)  # fmt: skip
    before = {name: value.clone() for name, value in new.state_dict().items()}
    progress = training.start(new, config)
    for _ in training.epochs(new, own, config, 0, progress):
        pass
    moved = {name for name, value in new.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"body.fc.weight", "body.fc.bias"}


POINT = {n: k.default for n, k in KNOBS.items()} | {
    "data": "digits", "data_digest": "", "data_dir": "", "model": "fcn", "model_digest": "", "seed": 0, "sources": {},
    "width": 32, "depth": 2, "epochs": 4, "pretrain_epochs": 4, "test_size": 100,
}  # fmt: skip


def transferred(**point):
    asked = FAMILIES["transfer"](POINT | point)
    return run(dataclasses.replace(asked, measures=(Accuracy(),))).state


def norms(net):
    return [nets.frobenius(layer) for layer in nets.layers(net).values()]


@pytest.mark.parametrize("frobenius", [1.0, 0.5])
def test_both_trainings_hold_the_norms_that_the_first_held(frobenius):
    state = transferred(pretrain_data="other_classes", frobenius=frobenius, learning_rate=0.01)
    data = state.on()
    untrained = build(Build(width=32, depth=2), data.shape, 5, (data.mean, data.std), seed_for(0, "weights"))
    assert norms(state.net) == pytest.approx([frobenius * n for n in norms(untrained)], rel=1e-5)


def test_a_frozen_encoder_is_the_pretrained_one_and_the_head_learns():
    """Features of five digits tell the five others apart, well above chance, which is a fifth."""
    frozen = transferred(pretrain_data="other_classes", freeze="encoder", epochs=30, pretrain_epochs=15,
                         learning_rate=0.01, pretrain_learning_rate=0.001)  # fmt: skip
    weights = frozen.trained[3]
    for name, value in frozen.net.state_dict().items():
        if not name.startswith("body.head"):
            assert torch.equal(value, weights[name]), name
    right, _ = training.evaluate(frozen.net, frozen.on().test)
    assert right > 0.6


def test_without_epochs_of_pretraining_a_frozen_encoder_is_a_random_one_on_the_same_data():
    """The null of a transfer: what is asked of the pretrained encoder is asked of one that saw no image."""
    trained, null = (transferred(pretrain_data="other_classes", freeze="encoder", pretrain_epochs=n) for n in (4, 0))
    untrained = build(Build(width=32, depth=2), null.on().shape, 5, (null.on().mean, null.on().std),
                      seed_for(0, "weights"))  # fmt: skip
    for name, value in null.net.state_dict().items():
        if not name.startswith("body.head"):
            assert torch.equal(value, untrained.state_dict()[name]), name
    assert torch.equal(null.on().test.y, trained.on().test.y)
    assert nets.classes(null.net, null.on().shape) == nets.classes(trained.net, trained.on().shape) == 5


def test_a_frozen_encoder_of_shuffled_labels_serves_less():
    """A control of the pipeline: what an encoder is good for comes from the labels that it has seen. On other images of
    the same classes; of other classes it depends on depth and epochs, since an untrained encoder serves a head well."""
    found = {}
    for shuffled in (False, True):
        values = []
        for seed in range(3):
            other, own = load(Load(part="first"), seed), load(Load(part="second"), seed)
            if shuffled:
                y = other.train.y[torch.from_numpy(np.random.default_rng(seed).permutation(len(other.train.y)))]
                other = dataclasses.replace(other, train=dataclasses.replace(other.train, y=y))
            net = build(Build(width=100, depth=4), other.shape, 10, (other.mean, other.std), seed)
            for data, config in ((other, Train(epochs=25)), (own, Train(epochs=25, freeze=("encoder",)))):
                if data is own:
                    net = fresh(net, own.shape, own.classes, seed)
                for _ in training.epochs(net, data, config, seed, training.start(net, config)):
                    pass
            values.append(training.evaluate(net, own.test)[0])
        found[shuffled] = float(np.mean(values))
    assert found[False] > found[True] + 0.1, found
