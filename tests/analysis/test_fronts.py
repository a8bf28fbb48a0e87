"""Fronts, hypervolume and attainment against numbers done by hand, and the traps of the library behind them."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import finalists, pareto
from study.spec import objectives
from study.spec.knobs import AXES
from study.store.manifest import Manifest, PointRecord
from study.store.results import COLUMNS

BOTH = (True, True)


def test_a_front_by_hand_and_in_mixed_directions():
    points = [[1, 1], [2, 0], [0, 2], [0.5, 0.5], [1, 0.5]]
    assert pareto.front(points, BOTH).tolist() == [True, True, True, False, False]
    assert pareto.front([[0.9, 100], [0.9, 50], [0.5, 10]], (True, False)).tolist() == [False, True, True]


def test_a_nan_neither_stands_on_the_front_nor_pushes_anything_off():
    points = [[math.nan, 0], [0, 1], [1, math.nan], [0, 2]]
    assert pareto.front(points, (False, False)).tolist() == [False, True, False, False]
    assert pareto.front([[math.nan, 1]], BOTH).tolist() == [False]
    assert pareto.front(np.zeros((0, 2)), BOTH).tolist() == []


def test_equal_points_stand_together():
    assert pareto.front([[1, 2], [1, 2], [0, 3]], BOTH).tolist() == [True, True, True]
    assert pareto.front([[1, 2], [1, 1], [1, 2]], BOTH).tolist() == [True, False, True]


def test_hypervolume_by_hand():
    assert pareto.hypervolume([[1, 2], [2, 1]], [0, 0], BOTH) == pytest.approx(3)  # two 1 x 2 boxes less their square
    assert pareto.hypervolume([[0.5, 2]], [0, 4], (True, False)) == pytest.approx(1)
    assert pareto.hypervolume([[1, 1, 1], [2, 0.5, 1]], [0, 0, 0], (True,) * 3) == pytest.approx(1 + 2 * 0.5 - 0.5)
    assert pareto.hypervolume([[1, 2], [math.nan, 9], [9, -1]], [0, 0], BOTH) == pytest.approx(2)
    assert pareto.hypervolume([[math.nan, 1]], [0, 0], BOTH) == 0


def test_history_grows_by_what_each_point_adds():
    points = np.array([[1.0, 1.0], [0.5, 0.5], [math.nan, 3.0], [2.0, 1.0], [1.0, 2.0]])
    assert pareto.history(points, [0, 0], BOTH).tolist() == pytest.approx([1, 1, 1, 2, 3])


def test_a_reference_lies_behind_every_point():
    assert pareto.reference([[0.0, 10], [1.0, 30], [math.nan, 99]], (True, False), 0.1) == pytest.approx([-0.1, 32])
    assert pareto.reference([[2.0, 2.0]], BOTH, 0.1) == pytest.approx([1.9, 1.9])


def test_attainment_by_hand():
    a, b = np.array([[1, 3], [3, 1], [math.nan, 9]]), np.array([[2, 2]])
    assert pareto.attainment([a, b], BOTH, 1.0).tolist() == [[1, 2], [2, 1]]
    assert pareto.attainment([a, b], BOTH, 0.5).tolist() == [[1, 3], [2, 2], [3, 1]]
    assert pareto.attainment([-a, -b], (False, False), 1.0).tolist() == [[-2, -1], [-1, -2]]


def test_an_attainment_of_nothing_is_empty_and_sets_without_points_count():
    nothing, one = np.full((3, 2), np.nan), np.array([[1.0, 2.0]])
    for sets in ([nothing], [nothing, np.zeros((0, 2))], []):
        for share in (0.1, 1.0):
            assert pareto.attainment(sets, BOTH, share).shape == (0, 2)
    assert pareto.attainment([nothing, one], BOTH, 0.5).tolist() == [[1, 2]]
    assert pareto.attainment([nothing, one], BOTH, 1.0).shape == (0, 2), "half of the sets attain nothing"


@pytest.mark.parametrize("n", [1, 3, 5, 7, 12])
def test_attainment_agrees_with_counting(n):
    random = np.random.default_rng(0)
    sets = [random.random((6, 2)) for _ in range(n)]
    for share in [level / n for level in range(1, n + 1)]:
        corners = pareto.attainment(sets, (True, False), share)
        for x, y in random.random((200, 2)):
            reached = sum(any(p[0] >= x and p[1] <= y for p in points) for points in sets)
            assert any(c[0] >= x and c[1] <= y for c in corners) == (reached >= round(n * share))


def test_the_searchs_layers_agree_with_peeling_fronts():
    random = np.random.default_rng(1)
    values = np.round(random.random((40, 2)), 1)  # many ties
    points = {str(i): tuple(v) for i, v in enumerate(values)}
    left = list(points)
    for layer in objectives.layers(points, (True, False)):
        mask = pareto.front([points[n] for n in left], (True, False))
        assert layer == [n for n, on in zip(left, mask, strict=True) if on]
        left = [n for n in left if n not in layer]
    assert left == []


STUDY = Manifest(
    name="pareto_search",
    settings={},
    axes_off={name: knob.default for name, knob in AXES.items()},
    arms=(),
    seeds=(0, 1, 2, 3, 4),
    trials=(),
    search={
        "floor": 0.8,
        "sampler": "tpe",
        "objectives": [
            {"name": "robust_accuracy", "maximise": True, "measure": "robust_accuracy", "norm": "linf", "eps": 0.1,
             "split": "test"},
            {"name": "stored_bytes", "maximise": False, "measure": "stored_bytes", "norm": None, "eps": None,
             "split": None},
        ],
    },
)  # fmt: skip


def table(points):
    """A tidy table of {bits: ([robust accuracy per seed], bytes, clean accuracy)} and its study."""
    rows, order = [], []
    for bits, (robust, size, clean) in points.items():
        for seed, value in enumerate(robust):
            trial = f"b{bits}s{seed}"
            base = {c: None for c in COLUMNS} | STUDY.axes_off
            base |= {"trial": trial, "seed": seed, "status": "ok", "bits": bits, "deterministic": True}
            rows += [
                base
                | {
                    "measure": "robust_accuracy",
                    "attack": "native/apgd",
                    "norm": "linf",
                    "eps": 0.1,
                    "split": "test",
                    "value": value,
                },
                base | {"measure": "clean_accuracy", "split": "test", "value": clean},
                base | {"measure": "stored_bytes", "value": size},
            ]
            order.append(PointRecord(trial=trial, family="compressed", seed=seed, axes={"bits": bits}))
    frame = pd.DataFrame(rows)
    frame[["eps", "step", "kept"]] = frame[["eps", "step", "kept"]].astype(float)
    return frame, replace(STUDY, points=tuple(order))


def test_the_front_is_that_of_the_means_over_all_seeds_and_keeps_the_floor(tmp_path):
    frame, study = table(
        {
            8: ([0.5, 0.6, 0.7, 0.6, 0.6], 800, 0.9),
            4: ([0.4, 0.4, 0.5, 0.4, 0.3], 400, 0.9),
            2: ([0.9, 0.1, 0.1, 0.1, 0.1], 500, 0.9),  # luck at the first seed; dominated in the mean
            1: ([0.5, 0.5, 0.5, 0.5, 0.5], 100, 0.7),  # below the floor
            0: ([0.99], 1600, 0.95),  # not run at every seed
        }
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "b8s0.safetensors").write_bytes(b"")
    found = finalists.models(tmp_path, frame, study)
    assert list(found["trial"]) == ["b8s0", "b4s0"]
    best = found.iloc[0]
    assert best["robust_accuracy"] == pytest.approx(0.6)
    half = 2.776 * 0.0707107 / math.sqrt(5)  # Student's t at 4 degrees of freedom, standard deviation of the five
    assert best["robust_accuracy_low"] == pytest.approx(0.6 - half, abs=1e-4)
    assert best["stored_bytes_low"] == best["stored_bytes_high"] == 800
    assert best["n"] == 5
    assert best["trials"] == "b8s0 b8s1 b8s2 b8s3 b8s4"
    assert list(found["weights"]) == ["models/b8s0.safetensors", ""]
    assert found["command"].iloc[1] == f"python -m study.launch evaluate {tmp_path} b4s0"


@pytest.mark.parametrize("few", [False, True])
def test_every_picture_of_a_search_can_be_drawn(few):
    from analysis.figures import FIGURES
    from analysis.report import BEFORE

    points = {8: ([0.5, 0.6], 800, 0.9), 4: ([0.4, 0.4], 400, 0.9)}
    frame, study = table({8: ([0.5], 800, 0.2)} if few else points)
    for name in (*BEFORE["pareto_search"][1], "plain"):
        assert FIGURES[name][1](frame, study, []).get_axes()
