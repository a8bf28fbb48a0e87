"""summary.json on tables whose numbers are known: baseline and best of a grid, planted controls aside."""

import json

import pandas as pd
import pytest

from analysis import summary
from study.spec.knobs import AXES
from study.store.manifest import Manifest

OFF = {name: knob.default for name, knob in AXES.items()}
ARMS = [
    {"name": "neuron", "family": "regularization", "axes": {"alpha": [0.0, 0.01, 0.1]}},
    {"name": "control", "family": "regularization", "axes": {"plant_rows": [0.0, 0.5]}},
]
STUDY = Manifest.of({
    "configuration": {"study": "s", "data": "digits", "settings": {"judged_linf": 16 / 255, "judged_l2": 0.5}},
    "arms": ARMS, "seeds": [0, 1], "trials": [], "axes_off": OFF,
})  # fmt: skip
ATTACK = {"measure": "robust_accuracy", "attack": "native/apgd", "norm": "linf", "eps": 16 / 255}
# axes, and robust accuracy at the two seeds; clean accuracy is .1 above
POINTS = [
    ({}, (0.4, 0.6)),
    ({"alpha": 0.01}, (0.7, 0.5)),
    ({"alpha": 0.1}, (0.2, 0.8)),
    ({"plant_rows": 0.5}, (0.9, 0.9)),
]


def table():
    rows = []
    for i, (moved, values) in enumerate(POINTS):
        for seed, value in enumerate(values):
            trial = OFF | moved | {"trial": f"{i}{seed}", "seed": seed, "status": "ok", "split": "test"}
            rows += [trial | ATTACK | {"value": value}, trial | {"measure": "clean_accuracy", "value": value + 0.1}]
    columns = ("attack", "layer", "norm", "eps", "kept", "k", "draw", "on", "step")
    return pd.DataFrame(rows).reindex(columns=list(dict.fromkeys([*rows[0], *columns])))


def test_baseline_and_best_are_means_over_seeds():
    found = json.loads(summary.of(table(), STUDY, []))
    name = "robust_accuracy/linf_16_255"
    assert found["metrics"] == {
        f"baseline/{name}": pytest.approx(0.5), "baseline/clean_accuracy": pytest.approx(0.6),
        f"best/{name}": pytest.approx(0.6), "best/clean_accuracy": pytest.approx(0.7),
    }  # fmt: skip
    assert found["words"] == {"best": "alpha 0.01"}


def test_a_study_without_accuracies_has_no_numbers_and_no_traceback():
    frame = table().assign(measure="operator_norm")
    assert json.loads(summary.of(frame, STUDY, [])) == {"metrics": {}, "words": {}}
