"""Factorized nets through whole trials of their family: trained, factorized, rounded, tuned, attacked, measured."""

import copy

import pytest

from study.spec.config import Decompose
from study.spec.families import FAMILIES
from study.spec.knobs import AXES, SETTINGS
from study.trial.run import run
from study.trial.stages import snapshot

POINT = {n: k.default for n, k in (AXES | SETTINGS).items()} | {
    "data": "digits", "data_digest": "", "data_dir": "", "model": "fcn", "model_digest": "", "seed": 0, "sources": {},
    "train_size": 100, "test_size": 20, "epochs": 1, "batch_size": 50, "attack_iterations": 2, "gap_iterations": 2,
    "finetune": "adversarial", "finetune_epochs": 2, "train_steps": 1, "factorize_ratio": 0.5,
}  # fmt: skip
CNN = {"model": "cnn", "width_multiplier": 0.25}


def trial(**point):
    return FAMILIES["compressed"](POINT | point)


def ended(trial, resume=None):
    *_, outcome = run(trial, resume=resume)
    assert outcome.status == "ok"
    return outcome


def steady(outcome):
    return [r for r in outcome.rows if r.get("deterministic", True)]


@pytest.mark.parametrize(
    ("point", "layers"),
    [
        ({"model": "fcn", "width": 30, "depth": 3, "bits": 8}, 3),
        ({**CNN, "factorization": "svd", "pruning": ("rows", "low_rank"), "pruning_kept": (1.0, 0.5)}, 3),
        ({**CNN, "factorization": "cp", "bits": 8}, 3),
        ({**CNN, "factorization": "tucker", "pruning": ("rows",), "pruning_kept": (0.5,)}, 3),
        pytest.param(
            {"model": "resnet18", "width_multiplier": 0.0625, "factorization": "tt", "bits": 4}, 19,
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_factorized_net_goes_through_its_family(point, layers):
    found = ended(trial(**point))
    shares = {r["layer"]: r["value"] for r in found.rows if r["measure"] == "kept_share"}
    assert len(shares) == layers
    assert all(0 < share <= 0.5 for share in shares.values()), "the ratio is reached in every layer"
    values = {r["measure"]: r["value"] for r in found.rows if r.get("layer") in (None, "mean", "product")}
    plain = {"factorize_ratio": 0.0, "factorization": "svd", "finetune_epochs": 0, "bits": 0, "pruning": ()}
    dense = ended(trial(**{**point, **plain}))
    whole = {r["measure"]: r["value"] for r in dense.rows if r.get("layer") in (None, "mean", "product")}
    for cost in ("parameters", "macs", "stored_bytes"):
        assert values[cost] < whole[cost]
    assert 0 <= values["robust_accuracy"] <= values["clean_accuracy"] <= 1
    assert found.state.net is not None
    measured = {r["layer"] for r in found.rows if r["measure"] == "frobenius_norm"} - {"product"}
    assert measured == set(found.state.net.hidden), "each layer has its rows, under the name that it had"


@pytest.mark.parametrize("method", ["tt", "cp"])
def test_the_same_point_gives_the_same_bits_resumed_too(method):
    asked = trial(**CNN, factorization=method)
    assert Decompose(ratio=0.5, method=method) in asked.stages
    one = ended(asked)
    saved = None
    for outcome in run(asked):
        if len(outcome.state.trainings) == 2 and saved is None:
            saved = copy.deepcopy(snapshot(outcome.state))
    assert steady(outcome) == steady(one)
    assert saved is not None
    assert steady(ended(asked, resume=saved)) == steady(one)
