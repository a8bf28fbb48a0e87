"""Finalists and their front: numbers done by hand, and all that must change nothing."""

import math
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import finalists, optimism, report, sections
from analysis.figures import FIGURES
from study.spec.knobs import AXES
from study.store.manifest import Manifest, PointRecord
from study.store.results import COLUMNS

OWN, SEEDS = 1000, (0, 1, 2, 3, 4)
ATTACKS = ("native/apgd", "native/autoattack", "native/square")
STUDY = Manifest(
    name="pareto_search",
    settings={},
    axes_off={name: knob.default for name, knob in AXES.items()},
    arms=(),
    seeds=SEEDS,
    trials=(),
    search={
        "floor": 0.8,
        "sampler": "tpe",
        "search_seed": OWN,
        "final_attacks": list(ATTACKS),
        "final_iterations": 50,
        "final_queries": 1000,
        "objectives": [
            {"name": "robust_accuracy", "maximise": True, "measure": "robust_accuracy", "norm": "linf", "eps": 0.1,
             "split": "validation", "attack": "native/apgd"},
            {"name": "stored_bytes", "maximise": False, "measure": "stored_bytes", "norm": None, "eps": None,
             "split": None, "attack": None},
        ],
    },
)  # fmt: skip


def net(bits, seed, robust, size, clean=0.9, status="ok"):
    """Rows of one trial. `robust` is a number on validation images at the search's seed; else one per attack."""
    base = dict.fromkeys(COLUMNS) | STUDY.axes_off | {"trial": f"b{bits}s{seed}", "seed": seed, "bits": bits}
    base |= {"status": status, "deterministic": True}
    if status != "ok":
        return [base | {"measure": "train_loss", "value": 1.0, "step": 0}]
    split = "validation" if seed == OWN else "test"
    numbers = dict.fromkeys(ATTACKS[:1], robust) if seed == OWN else robust
    if not isinstance(numbers, dict):
        numbers = dict.fromkeys(ATTACKS, numbers)
    rows = [base | {"measure": "clean_accuracy", "split": split, "value": clean}]
    rows += [base | {"measure": "stored_bytes", "value": size}]
    at = {"measure": "robust_accuracy", "norm": "linf", "eps": 0.1, "split": split}
    return rows + [base | at | {"attack": attack, "value": value} for attack, value in numbers.items()]


def folder(*nets):
    """The tidy table of some trials, and their study."""
    frame = pd.DataFrame([row for rows in nets for row in rows])
    frame[["eps", "step", "kept"]] = frame[["eps", "step", "kept"]].astype(float)
    points = [PointRecord(trial=r["trial"], family="compressed", seed=r["seed"], axes={"bits": r["bits"]})
              for r in frame.drop_duplicates("trial").to_dict("records")]  # fmt: skip
    return frame, replace(STUDY, points=tuple(points))


def model(bits, robust, size, clean=0.9, found=None):
    """A point and its five finalists' trials; `found` is what the search saw."""
    tried = net(bits, OWN, robust if found is None else found, size, clean)
    return [tried, *(net(bits, seed, robust, size, clean) for seed in SEEDS)]


def on_front(frame, study):
    table = finalists.points(frame, study)
    return sorted(table.loc[table["front"], "bits"]) if len(table) else []


def test_the_lowest_attack_of_each_net_counts_and_every_number_stands_beside():
    found = [dict(zip(ATTACKS, values, strict=True)) for values in ((0.8, 0.7, 0.75), (0.6, 0.6, 0.5))]
    nets = [net(8, OWN, 0.9, 800), *(net(8, seed, found[seed % 2], 800) for seed in SEEDS)]
    frame, study = folder(*nets, *model(0, 0.9, 1600))
    row = finalists.points(frame, study).set_index("bits").loc[8]
    assert row["robust_accuracy"] == pytest.approx((3 * 0.7 + 2 * 0.5) / 5), "net by net, not mean by mean"
    assert row["robust_accuracy/native-apgd"] == pytest.approx((3 * 0.8 + 2 * 0.6) / 5)
    assert row["robust_accuracy/native-autoattack"] == pytest.approx((3 * 0.7 + 2 * 0.6) / 5)
    assert row["robust_accuracy/native-square"] == pytest.approx((3 * 0.75 + 2 * 0.5) / 5)
    assert row["robust_accuracy/validation"] == 0.9
    assert all(row["robust_accuracy"] <= row[finalists.by_attack(a)] for a in ATTACKS)


def test_a_net_that_one_of_the_attacks_never_met_has_no_number():
    half = {"native/apgd": 0.99, "native/square": 0.99}
    frame, study = folder(*model(8, 0.5, 800)[:5], net(8, 4, half, 800))
    row = finalists.points(frame, study).iloc[0]
    assert (row["n"], row["missing"]) == (4, "seed 4 without a number")
    assert row["robust_accuracy"] == pytest.approx(0.5)


def test_what_was_not_chosen_stands_nowhere_whatever_it_showed():
    """A point is a finalist by what the plan asked for, and its numbers are those of the fresh seeds alone."""
    frame, study = folder(*model(8, 0.5, 800, found=0.55), net(4, OWN, 0.99, 100), net(2, OWN, 0.4, 900))
    assert on_front(frame, study) == [8]
    assert finalists.points(frame, study)["robust_accuracy"].tolist() == [pytest.approx(0.5)]
    assert finalists.evaluations(frame, study)["robust_accuracy"].tolist() == [0.55, 0.99, 0.4]


def test_a_failed_seed_drops_nobody_without_a_word():
    """Where only points with all their seeds counted, a dominated model was the whole front."""
    best = [net(8, OWN, 0.9, 400), *(net(8, s, 0.9, 400) for s in (0, 1, 2)), net(8, 3, 0, 0, status="failed"),
            net(8, 4, 0, 0, status="diverged")]  # fmt: skip
    frame, study = folder(*best, *model(4, 0.5, 800))
    assert on_front(frame, study) == [8]
    row = finalists.points(frame, study).iloc[0]
    assert (row["n"], row["missing"]) == (3, "seed 3 failed, seed 4 diverged")
    assert row["floor"] == "not shown", "three seeds give no interval"
    said = "\n".join(optimism.sentences(frame, study))
    assert "Finalist b8s0 counts with 3 of 5 seeds: seed 3 failed, seed 4 diverged." in said


def test_a_finalist_without_any_seed_is_named_and_beats_nobody():
    lost = [net(8, OWN, 0.99, 1), *(net(8, s, 0, 0, status="failed") for s in SEEDS)]
    frame, study = folder(*lost, *model(4, 0.5, 800))
    assert on_front(frame, study) == [4]
    assert "Finalist b8s0 counts with 0 of 5 seeds" in "\n".join(optimism.sentences(frame, study))


@pytest.mark.parametrize(
    ("clean", "word", "stands"),
    [
        ([0.85, 0.86, 0.85, 0.86, 0.85], "kept", True),
        ([0.95, 0.75, 0.9, 0.7, 0.8], "not shown", True),
        ([0.79, 0.79, 0.79, 0.79, 0.79], "missed", False),
        ([0.8, 0.8, 0.8, 0.8, 0.8], "kept", True),
    ],
)
def test_a_model_whose_lower_end_is_under_the_floor_is_marked(clean, word, stands):
    nets = [net(8, OWN, 0.9, 800), *(net(8, seed, 0.6, 800, c) for seed, c in zip(SEEDS, clean, strict=True))]
    frame, study = folder(*nets)
    table = finalists.points(frame, study)
    assert table["floor"].tolist() == [word]
    assert table["front"].tolist() == [stands]
    assert ("1 of the front's 1 model is not shown to keep the floor of 0.8" in "\n".join(
        optimism.sentences(frame, study))) == (word == "not shown")  # fmt: skip


def several(seed=0):
    stream = random.Random(seed)
    nets = []
    for bits, size in ((0, 1600), (8, 800), (4, 400), (2, 200), (1, 100)):
        values = [round(stream.uniform(0.3, 0.9), 2) for _ in SEEDS]
        nets += [net(bits, OWN, stream.uniform(0.3, 0.9), size)]
        nets += [net(bits, s, v, size, stream.uniform(0.7, 1)) for s, v in zip(SEEDS, values, strict=True)]
    return nets


@pytest.mark.parametrize("seed", range(5))
def test_order_and_monotone_costs_and_hopeless_points_change_no_front(seed):
    nets = several(seed)
    frame, study = folder(*nets)
    front, table = on_front(frame, study), finalists.points(frame, study)
    shuffled = random.Random(seed).sample(nets, len(nets))
    other, mixed = folder(*shuffled)
    assert on_front(other, mixed) == front
    pd.testing.assert_frame_equal(
        finalists.points(other, mixed).sort_index(), table.sort_index(), check_like=True, check_dtype=False
    )
    costs = frame["measure"] == "stored_bytes"
    assert on_front(frame.assign(value=frame["value"].where(~costs, np.exp(frame["value"] / 100))), study) == front
    hopeless = [
        net(3, OWN, math.nan, 50), *(net(3, s, math.nan, 50) for s in SEEDS),
        net(5, OWN, 0.9, 1), *(net(5, s, 0.99, 1, clean=0.1) for s in SEEDS),
        net(6, OWN, 0.9, 1), *(net(6, s, 0, 0, status="failed") for s in SEEDS),
    ]  # fmt: skip
    assert on_front(*folder(*nets, *hopeless)) == front


def test_a_twin_of_a_model_stands_beside_it():
    frame, study = folder(*model(8, 0.5, 800), *model(4, 0.5, 800), *model(2, 0.4, 900))
    assert on_front(frame, study) == [4, 8]


def test_shrinkage_by_hand():
    """Two finalists, chosen at .8 and .6; at fresh seeds they show .1 and .2 less, .01 more a seed."""
    nets = [net(8, OWN, 0.8, 800, 0.95), net(4, OWN, 0.6, 400, 0.95), net(2, OWN, 0.99, 900)]
    for seed in SEEDS:
        nets += [net(8, seed, {a: 0.7 - 0.01 * seed - 0.1 * (a != ATTACKS[0]) for a in ATTACKS}, 800)]
        nets += [net(4, seed, {a: 0.4 - 0.01 * seed - 0.1 * (a != ATTACKS[0]) for a in ATTACKS}, 400)]
    frame, study = folder(*nets)
    found = optimism.change(frame, study, "robust_accuracy")
    half = 2.776 * 0.01 * math.sqrt(2.5) / math.sqrt(5)
    assert (found.value, found.n) == (pytest.approx(-0.17), 5), "-.1 and -.2, and .02 less in the mean over seeds"
    assert (found.low, found.high) == (pytest.approx(-0.17 - half, abs=1e-4), pytest.approx(-0.17 + half, abs=1e-4))
    assert optimism.change(frame, study, "clean_accuracy").value == pytest.approx(-0.05)
    said = "\n".join(optimism.sentences(frame, study))
    assert "3 points were tried at seed 1000 and chosen by validation images; 2 finalists" in said
    assert "by native/apgd, native/autoattack (50 iterations, 1000 queries), native/square (the lowest" in said
    assert "robust accuracy (native/apgd) -0.170 [-0.190, -0.150] (n = 5 seeds), clean accuracy -0.050 [" in said
    assert "The other attacks take 0.100 more than native/apgd in the mean over finalists, 0.100 at most." in said


def test_a_seed_that_had_no_say_shows_what_the_front_owes_to_luck():
    """Six nets of one size that differ by luck alone: each seed's noise is its own, and the best mean flatters."""
    stream = np.random.default_rng(0)
    gains = []
    for _ in range(20):
        nets = [
            net(b, s, float(v), 100) for b in range(6) for s, v in zip(SEEDS, stream.normal(0.5, 0.1, 5), strict=True)
        ]
        frame, study = folder(*nets, *(net(b, OWN, 0.5, 100) for b in range(6)))
        gains.append(optimism.left_out(frame, study).value)
    best_of_six = 1.267 * 0.1 / 2  # of means over four seeds
    assert np.mean(gains) == pytest.approx(-best_of_six, abs=0.02)
    frame, study = folder(*model(8, 0.5, 800), *model(4, 0.4, 400))
    assert optimism.left_out(frame, study).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "nets",
    [
        [net(8, OWN, 0.5, 800)],  # no finalist yet
        [net(8, OWN, 0, 0, status="diverged")],
        [net(8, OWN, 0.5, 800), net(8, 0, 0, 0, status="failed")],
        [*model(8, 0.5, 800)[:3], *model(4, math.nan, 400)],
        [*model(8, 0.5, 800, clean=0.1)],
        several(),
    ],
    ids=["none yet", "diverged", "failed", "nan", "below the floor", "several"],
)
def test_every_picture_and_sentence_of_any_search_can_be_had(nets, tmp_path):
    frame, study = folder(*nets)
    for name in report.BEFORE["pareto_search"][1]:
        assert FIGURES[name][1](frame, study, []).get_axes()
    assert sections.front(tmp_path, frame, study, "out", "") is not None
    assert (tmp_path / "front.csv").exists()
    assert optimism.sentences(frame, study)


def test_the_models_of_a_front_say_what_they_are_marked_with(tmp_path):
    frame, study = folder(*model(8, 0.5, 800)[:5])
    (found,) = sections.front(tmp_path, frame, study, "out", "")
    assert found["marks"] == ["floor not shown"]
    assert found["beside"]["robust_accuracy/native-autoattack"] == 0.5
    assert found["objectives"]["robust_accuracy"]["n"] == 4
    printed = pd.read_csv(tmp_path / "front.csv")
    assert list(printed.columns)[-6:] == ["floor", "n", "missing", "trials", "weights", "command"]
    assert printed["command"].tolist() == ["python -m study.launch evaluate out b8s0"]
