"""The transfer family: what a point becomes, what is refused while it is planned, other data's digest, costs."""

import dataclasses

import pytest

from study.nets import data as loading
from study.nets import sources
from study.spec.config import Head, Interim, Load, Plant, Train
from study.spec.datasets import DATASETS
from study.spec.errors import UsageError
from study.spec.families import FAMILIES
from study.spec.identity import fingerprint
from study.spec.knobs import KNOBS
from study.spec.studies import Arm, Preset, Study
from study.sweep.plan import costs, pretraining, request, tryout
from study.sweep.plan.request import Request, make_plan
from study.sweep.preflight import to_try

POINT = {n: k.default for n, k in KNOBS.items()} | {
    "data": "cifar10", "data_digest": "d", "data_dir": "/data", "model": "fcn", "model_digest": "", "seed": 0,
    "sources": {"cifar100": "e", "mine:data": "f"},
}  # fmt: skip


def trial(**point):
    return FAMILIES["transfer"](POINT | point)


def parts(asked):
    loads = {s.name: s for s in asked.stages if isinstance(s, Load)}
    return loads.get(""), loads.get("pretraining"), [s for s in asked.stages if isinstance(s, Train)]


def test_without_pretraining_it_is_the_regularization_familys_trial():
    named = {"alpha": 0.01, "adversarial_ratio": 0.5}
    assert trial(**named) == FAMILIES["regularization"](POINT | named)


def test_plants_come_after_both_trainings_and_leave_what_is_not_planted_as_it_is():
    at = {"pretrain_data": "own", "pretrain_epochs": 2}
    plain, planted = trial(**at), trial(plant_rows=0.3, **at)
    assert planted.stages == (*plain.stages, Plant(structure="rows", strength=0.3))
    assert trial(plant_rows=0.3) == FAMILIES["regularization"](POINT | {"plant_rows": 0.3})


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [
        ("own", {}, {}),
        ("other_classes", {"classes": "upper"}, {"classes": "lower"}),
        ("other_images", {"part": "second"}, {"part": "first"}),
        ("cifar100", {}, {"data": "cifar100", "digest": "e"}),
        ("mine:data", {}, {"data": "mine:data", "digest": "f", "root": ""}),
    ],
)
def test_what_is_loaded(kind, own, other):
    asked = trial(pretrain_data=kind, train_size=4000, test_size=500, validation=0.1)
    here, before, (first, second) = parts(asked)
    base = Load(data="cifar10", digest="d", root="/data", train_size=4000, test_size=500, validation=0.1)
    assert here == dataclasses.replace(base, **own)
    sizes = {"train_size": 4000 if kind == "own" else 0, "test_size": 0 if ":" in kind else 500}
    assert dataclasses.replace(before, root="") == dataclasses.replace(
        base, name="pretraining", **(other | sizes | {"root": ""})
    )
    assert (first.on, second.on) == ("pretraining", "")
    between = asked.stages[4:-1]
    assert between == ((Interim(on="pretraining"),) if kind == "own" else (Interim(on="pretraining"), Head()))


def test_the_two_trainings():
    asked = trial(
        pretrain_data="cifar100", pretrain_epochs=7, pretrain_ratio=0.5, train_eps=0.03, adversarial_ratio=0.0,
        pretrain_learning_rate=0.1, pretrain_optimizer="sgd", pretrain_momentum=0.9, epochs=3, patience=2,
        validation=0.1, pretrain_patience=0, learning_rate=0.01,
    )  # fmt: skip
    first, second = parts(asked)[2]
    assert first == Train(epochs=7, learning_rate=0.1, optimizer="sgd", momentum=0.9, adversarial_ratio=0.5,
                          train_eps=0.03, frobenius=1.0, on="pretraining")  # fmt: skip
    assert second == Train(epochs=3, learning_rate=0.01, patience=2, frobenius=1.0)


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        ({}, (0.1, 0.5), (0.1, 1.0)),  # where the pretraining holds it
        ({"penalised_in": "pretraining"}, (0.1, 0.5), (0.0, 0.0)),
        ({"penalised_in": "training"}, (0.0, 0.0), (0.1, 0.5)),
        ({"freeze": "encoder"}, (0.1, 0.5), (0.0, 0.0)),
        ({"frobenius": 0.0}, (0.1, 0.0), (0.1, 0.0)),
    ],
)
def test_where_alpha_acts_and_norms_are_held(given, first, second):
    trainings = parts(trial(**({"pretrain_data": "other_images", "alpha": 0.1, "frobenius": 0.5} | given)))[2]
    assert [(t.alpha, t.frobenius) for t in trainings] == [first, second]
    assert trainings[1].freeze == (("encoder",) if "freeze" in given else ())


def test_an_alignment_penalty_is_not_asked_of_a_head_alone():
    first, second = parts(trial(pretrain_data="other_images", freeze="encoder", alignment_penalty=0.1))[2]
    assert (first.alignment_penalty, second.alignment_penalty) == (0.1, 0.0)


@pytest.mark.parametrize("idle", [{"pretrain_epochs": 3}, {"pretrain_ratio": 0.5}, {"penalised_in": "pretraining"},
                                  {"pretrain_size": 10}, {"pretrain_patience": 2}])  # fmt: skip
def test_what_is_said_of_no_pretraining_does_nothing(idle):
    assert fingerprint(trial(alpha=0.1, **idle)) == fingerprint(trial(alpha=0.1))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pretrain_data": "mnist"}, "pretrain_data=mnist has images of shape (1, 28, 28) and data cifar10 of (3, 32"),
        ({"pretrain_data": "cifar10"}, "is the data of the trial itself; write own, other_images or other_classes"),
        ({"pretrain_data": "other_classes", "binary": 1}, "needs data of four classes or more, half of which are two"),
        ({"pretrain_data": "own", "pretrain_size": 9}, "pretrain_size does not go with pretrain_data=own"),
        ({"pretrain_data": "other_images", "alpha": 0.1, "freeze": "encoder", "penalised_in": "training"},
         "alpha has nothing to act on"),
        ({"alpha": 0.1, "freeze": "encoder"}, "alpha has nothing to act on"),
        ({"alpha": 0.1, "freeze": "encoder", "pretrain_data": "own", "pretrain_epochs": 0}, "alpha has nothing to act"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(given, words):
    with pytest.raises(UsageError) as said:
        trial(**given)
    assert words in str(said.value)


def study_of(*kinds, data="digits", **settings):
    arm = Arm(name="t", family="transfer", axes={"pretrain_data": kinds})
    small = {"width": 8, "depth": 1, "epochs": 1, "pretrain_epochs": 1, "test_size": 40, "attack_iterations": 2,
             "gap_iterations": 2}  # fmt: skip
    preset = Preset(arms=(arm,), seeds=(0,), data=data, settings=small | settings)
    return Study(name="t", question="?", presets={"laptop": preset})


@pytest.fixture
def planned(monkeypatch):
    def make(*kinds, **settings):
        asked = study_of(*kinds, **settings)
        monkeypatch.setattr(request, "find_study", lambda name: asked)
        return make_plan(Request(study="t", data_dir="nowhere", output="out"), need_data=settings.get("data") is None)

    return make


def test_the_digest_of_other_data_is_part_of_the_identity_and_each_worker_checks_it(planned, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before.py").write_text(
        "import numpy as np\ndef data():\n    x = np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32)\n"
        "    y = np.arange(60) % 3\n    return x[:40], y[:40], x[40:], y[40:]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = planned("before:data")
    (job,) = found.jobs.values()
    before = parts(job.trial)[1]
    assert before.digest == sources.digest("before:data", "") == found.sources["before:data"] != ""
    assert found.configuration()["sources"] == {"before:data": before.digest}
    other = dataclasses.replace(before, digest="0123456789abcdef")
    assert fingerprint(job.trial) != fingerprint(
        dataclasses.replace(job.trial, stages=tuple(other if s == before else s for s in job.trial.stages))
    )
    assert loading.load(before, 0).classes == 3
    with pytest.raises(UsageError, match="data before:data are not those that were planned with"):
        loading.load(other, 0)
    tryout.check_data_and_model(job.trial)


def test_each_choice_of_data_is_tried_out_before_a_sweep(planned, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grey.py").write_text(
        "import numpy as np\ndef small():\n    x = np.random.default_rng(0).random((60, 1, 4, 4), dtype=np.float32)\n"
        "    y = np.arange(60) % 3\n    return x[:40], y[:40], x[40:], y[40:]\n"
        "def two():\n    x = np.random.default_rng(0).random((60, 1, 4, 4), dtype=np.float32)\n"
        "    y = np.arange(60) % 2\n    return x[:40], y[:40], x[40:], y[40:]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tried = to_try(planned("none", "own", "other_images", "other_classes", "grey:small"))
    assert len(tried) == 5
    for asked in tried[:-1]:
        assert tryout.check_data_and_model(asked) == (1, 8, 8)
    with pytest.raises(UsageError, match=r"pretrained on images of shape \(1, 4, 4\) \(grey:small\) and trained on"):
        tryout.check_data_and_model(tried[-1])
    (asked,) = to_try(planned("other_classes", test_size=0))
    halved = tuple(dataclasses.replace(s, data="grey:two") if isinstance(s, Load) else s for s in asked.stages)
    halved = tuple(dataclasses.replace(s, digest="") if isinstance(s, Load) else s for s in halved)
    with pytest.raises(UsageError, match="grey:two cannot be split as asked: half of 2 classes is a single one"):
        tryout.check_data_and_model(dataclasses.replace(asked, stages=halved))


def test_other_data_that_are_not_there_are_named_with_what_to_do(planned):
    assert pretraining.names(study_of("none", "own", "cifar100").presets["laptop"], {"pretrain_data": "none"}) == [
        "cifar100"
    ]
    with pytest.raises(UsageError, match=r"data cifar100: no file .*--download"):
        pretraining.digests(["cifar100"], "nowhere")
    assert planned("cifar100", data="cifar10").sources == {"cifar100": ""}, "a plan without the data is provisional"


def test_patience_of_the_pretraining_needs_validation(planned):
    with pytest.raises(UsageError, match="pretrain_patience: early stopping needs a validation share"):
        planned("own", pretrain_patience=3)


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, 40 * 1400),
        ({"pretrain_data": "own"}, 80 * 1400),
        ({"pretrain_data": "other_classes"}, 80 * 700),
        ({"pretrain_data": "cifar100", "train_size": 700}, 40 * (1400 + 700)),
        ({"pretrain_data": "cifar100", "pretrain_size": 100, "pretrain_epochs": 10}, 40 * 1400 + 10 * 100),
        ({"pretrain_data": "other_images", "pretrain_ratio": 0.5, "train_steps": 4}, 40 * 700 * (1 + 3)),
    ],
)
def test_the_estimate_counts_both_trainings(given, passes, monkeypatch):
    """In images; the rest of a trial costs nothing here, and 1400 images are all there are."""
    info = dataclasses.replace(DATASETS["cifar10"], images=(1400, 100))
    for name in ("cifar10", "cifar100"):
        monkeypatch.setitem(DATASETS, name, info)
    only = {"trial": 0.0, "step": 0.0, "step_flop": 1.0, "pass": 0.0, "pass_flop": 0.0}
    monkeypatch.setitem(costs.SECONDS, "cpu", only)
    one = 6 * costs.multiplications("fcn", "cifar10", {"width": 8, "depth": 1})
    settings = {n: k.default for n, k in KNOBS.items()} | {"width": 8, "depth": 1} | given
    assert costs.trial_seconds("cifar10", "fcn", settings, False) / one == pytest.approx(passes)
