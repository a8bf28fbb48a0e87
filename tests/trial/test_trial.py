"""The pure trial: deterministic, complete, and a divergence is a result."""

import dataclasses
import io
import math

import pytest
import torch

from study.spec.config import (
    Accuracy,
    Ascend,
    Cost,
    Gaussian,
    Prune,
    Quantize,
    Remove,
    Robustness,
    Structure,
    Train,
    Trial,
)
from study.spec.identity import base_key, fingerprint
from study.spec.names import summary
from study.store.layout import trial_path
from study.store.results import decode, encode, read_trial, rows_digest
from study.sweep.worker.attempt import Attempt
from study.trial.run import run
from tests.attempts import finish, job
from tests.helpers import tiny_trial


def last(trial):
    *_, outcome = run(trial)
    return outcome


def deterministic(outcome):
    return [r for r in outcome.rows if r["deterministic"]]


def test_the_same_trial_twice_gives_the_same_rows():
    trial = tiny_trial(penalty="group_lasso", alpha=0.01)
    assert deterministic(last(trial)) == deterministic(last(trial))
    assert deterministic(last(trial)) != deterministic(last(tiny_trial(seed=1, penalty="group_lasso", alpha=0.01)))


def test_every_measure_of_the_protocol_is_there():
    numbers = summary(last(tiny_trial(rank=2)).rows)
    for name in (
        "clean_accuracy", "clean_accuracy/train", "robust_accuracy/linf_16_255_art-apgd-r2",
        "relative_robust_accuracy/linf_16_255_art-apgd-r2", "loss_gap/l2_0.5", "loss_gap/linf_16_255_art-apgd-r2",
        "compress_eps_nu",
        "compress_eps_sigma", "spread_nu", "spread_sigma", "operator_norm/linf", "operator_norm/l2", "frobenius_norm",
        "operator_norm_bound/linf", "operator_norm_bound_tight/linf", "operator_norm_bound/l2", "parameters",
        "pruned_accuracy/kept_0.5", "pruned_accuracy/kept_0.05",
    ):  # fmt: skip
        assert math.isfinite(numbers[name]), name
    assert numbers["relative_robust_accuracy/l2_0.5_art-apgd-r2"] == pytest.approx(
        numbers["robust_accuracy/l2_0.5_art-apgd-r2"] / numbers["clean_accuracy"]
    )
    assert numbers["operator_norm/l2"] <= numbers["operator_norm_bound/l2"]
    assert (
        numbers["operator_norm/linf"]
        <= numbers["operator_norm_bound_tight/linf"]
        <= numbers["operator_norm_bound/linf"]
    )


def test_a_budget_asked_for_twice_is_measured_once():
    trial = tiny_trial()
    measures = [dataclasses.replace(m, eps=m.eps * 2) if isinstance(m, Robustness) else m for m in trial.measures]
    twice = last(dataclasses.replace(trial, measures=tuple(measures))).rows
    assert len(twice) == len(last(trial).rows)
    identity = {"study": "s", "family": "f", "trial": "t", "seed": 0, "status": "ok"}
    assert len(decode(encode([identity | r for r in twice], {})).rows) == len(twice), "nothing stands twice"


def test_two_attacks_in_one_norm_stand_side_by_side_where_one_leaves_the_checks_out():
    trial = tiny_trial()
    second = Robustness(norm="l2", eps=(0.5,), attack="fgsm", backend="native", checks=False)
    rows = last(dataclasses.replace(trial, measures=(*trial.measures, second))).rows
    own = {r["measure"] for r in rows if "native/fgsm" in str(r.get("attack"))}
    assert {"robust_accuracy", "relative_robust_accuracy"} <= own
    assert not own & {"zero_eps_agrees", "loss_gap"}
    identity = {"study": "s", "family": "f", "trial": "t", "seed": 0, "status": "ok"}
    assert len(decode(encode([identity | r for r in rows], {})).rows) == len(rows), "nothing stands twice"


def test_bounds_of_the_whole_net_stand_beside_those_of_its_layers():
    rows = last(tiny_trial()).rows
    found = {(r["measure"], r.get("layer"), r.get("norm")): r["value"] for r in rows if r.get("step") is None}
    for norm in ("linf", "l2"):
        for layer in ("layer1", "layer2"):
            low, exact, high = (
                found[m, layer, norm] for m in ("operator_norm_lower", "operator_norm", "operator_norm_bound")
            )
            assert low <= exact * (1 + 1e-9) <= high * (1 + 2e-9)
        assert 0 < found["alignment_greedy", "layer2*layer1", norm] <= found["alignment", "layer2*layer1", norm] <= 1
        assert found["alignment_greedy", "mean", norm] == found["alignment_greedy", "layer2*layer1", norm]
        assert found["lipschitz_bound", None, norm] <= found["operator_norm_bound", "product", norm] * (1 + 1e-9)


@pytest.mark.parametrize("rank", [0, 3])
def test_on_two_classes_no_attack_opens_more_than_the_corollary_allows(rank):
    trial = tiny_trial(rank=rank, epochs=8)
    load = dataclasses.replace(trial.stages[0], binary=True)
    measures = [dataclasses.replace(m, sensitivity=True) if isinstance(m, Robustness) else m for m in trial.measures]
    rows = last(dataclasses.replace(trial, stages=(load, *trial.stages[1:]), measures=tuple(measures))).rows
    own = [r for r in rows if not r.get("attack", "").startswith("art/")]
    found = {(r["measure"], r.get("norm")): r for r in own if r.get("layer") is None and r.get("split") != "train"}
    assert found["clean_accuracy", None]["value"] > 0.7
    for norm in ("linf", "l2"):
        gap, product, bound = (found[m, norm]["value"] for m in ("loss_gap", "gap_bound_product", "gap_bound"))
        assert 0 < gap <= min(product, bound)
        mean, most = (found[f"local_sensitivity_{m}", norm]["value"] for m in ("mean", "max"))
        assert 0 < mean <= most
        share = found["local_sensitivity_max", norm]
        assert 0 < share["n"] <= 60
    assert not any(r["measure"].startswith("gap_bound") for r in last(tiny_trial()).rows), (
        "ten classes have no such bound"
    )


def test_a_matrix_can_be_a_trial():
    trial = Trial(seed=1, stages=(Gaussian(rows=6, columns=5), Ascend(norm="l2", steps=3)), measures=(Structure(),))
    rows = last(trial).rows
    assert [r["step"] for r in rows if r["measure"] == "largest_row_energy"] == [0, 1, 2, 3]
    grown = {r["norm"]: r["value"] for r in rows if r["measure"] == "operator_norm_growth"}
    assert grown["l2"] > 1
    path = [r["value"] for r in rows if r["measure"] == "ascent_operator_norm" and r["norm"] == "l2"]
    assert path[-1] / path[0] == pytest.approx(grown["l2"])
    assert {r["layer"] for r in rows if r["measure"] == "compress_eps_sigma"} == {"matrix", "mean"}


def test_curves_have_a_row_per_epoch():
    rows = last(tiny_trial(measures=False, epochs=4)).rows
    assert [r["step"] for r in rows if r["measure"] == "train_loss"] == [1, 2, 3, 4]


def test_a_divergence_is_a_result():
    outcome = last(tiny_trial(learning_rate=1e30, epochs=6))
    assert outcome.status == "diverged"
    assert {r["measure"] for r in deterministic(outcome)} == {"train_loss"}


def test_an_interrupted_attempt_goes_on_from_its_epoch(tmp_path):
    trial = tiny_trial(epochs=5)
    whole = job(tmp_path / "whole", trial)
    finish(Attempt(whole))
    broken = job(tmp_path / "broken", trial, report_seconds=0.0, checkpoint_seconds=0.0)
    first = Attempt(broken)
    while first.step()["epoch"] < 3:
        pass
    first.close()
    second = Attempt(broken)
    report = second.step()
    while report["phase"] != "train":
        report = second.step()
    assert report["epoch"] == 4
    finish(second)
    tables = [read_trial(trial_path(tmp_path / d, whole.fingerprint)).rows for d in ("whole", "broken")]
    assert rows_digest(tables[0], True) == rows_digest(tables[1], True)
    assert not second.checkpoint.exists()


def test_a_damaged_checkpoint_means_a_start_from_the_beginning(tmp_path, caplog):
    broken = job(tmp_path, tiny_trial(measures=False), report_seconds=0.0, checkpoint_seconds=0.0)
    first = Attempt(broken)
    while first.step()["epoch"] < 2:
        pass
    content = first.checkpoint.read_bytes()
    first.checkpoint.write_bytes(content[:-10] + b"0123456789")
    assert finish(Attempt(broken))["status"] == "ok"
    assert "is damaged" in caplog.text


def test_a_checkpoint_of_another_version_of_the_code_is_left_alone(tmp_path, monkeypatch):
    from study.sweep.worker import attempt

    begun = job(tmp_path, tiny_trial(measures=False), report_seconds=0.0, checkpoint_seconds=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(attempt, "code_version", lambda: "00000000")
        old = Attempt(begun)
        old.step()
        old.close()
        old.checkpoint.write_bytes(attempt._encode({"trainings": "kept in another way then"}))
        assert finish(Attempt(begun))["status"] == "failed", "the file was no threat, so this test shows nothing"
    assert finish(Attempt(begun))["status"] == "ok"
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [f"{begun.fingerprint}-00000000.pt"]


def test_a_shared_base_gives_the_rows_of_training_anew(tmp_path):
    from study.spec.config import Plant

    plain = tiny_trial()
    planted = Trial(seed=0, stages=(*plain.stages, Plant(structure="rows", strength=1.0)), measures=plain.measures)
    assert base_key(plain) == base_key(planted)
    alone = job(tmp_path / "alone", planted)
    finish(Attempt(alone))
    base = job(tmp_path / "shared", plain, base=base_key(plain))
    finish(Attempt(base))
    assert len(list((tmp_path / "shared/bases").iterdir())) == 1
    shared = Attempt(job(tmp_path / "shared", planted, base=base_key(plain)))
    finish(shared)
    tables = [read_trial(trial_path(tmp_path / d, alone.fingerprint)).rows for d in ("alone", "shared")]
    assert rows_digest(tables[0], True) == rows_digest(tables[1], True)


def compressed_trial(seed=0, **last_stage):
    """Two trainings with removal, mask and quantization between them."""
    plain = tiny_trial(seed, measures=False)
    tuning = {"epochs": 4, "adversarial_ratio": 0.5, "train_eps": 0.05, "train_steps": 2} | last_stage
    between = (Remove(ratio=0.25), Prune(keep_prob=0.5, mask="bernoulli"), Quantize(bits=4))
    measures = (Accuracy(), Structure(), Cost(repeats=2))
    return Trial(seed=seed, stages=(*plain.stages, *between, Train(**tuning)), measures=measures)


def rows_of(folder, trial):
    return rows_digest(read_trial(trial_path(folder, fingerprint(trial))).rows, True)


@pytest.mark.parametrize("stop", [2, 3, 5, 7])
def test_a_trial_killed_in_either_training_goes_on_from_its_epoch(tmp_path, stop):
    trial = compressed_trial()
    finish(Attempt(job(tmp_path / "whole", trial)))
    broken = job(tmp_path / "broken", trial, report_seconds=0.0, checkpoint_seconds=0.0)
    first = Attempt(broken)
    while first.step()["epoch"] < stop:
        pass
    first.close()
    second = Attempt(broken)
    epochs = set()
    while not (report := second.step())["done"]:
        epochs.add(report["epoch"])
    assert epochs == {3, 7} | set(range(stop + 1, 8)), "an epoch was trained twice"
    assert rows_of(tmp_path / "whole", trial) == rows_of(tmp_path / "broken", trial)
    rows = read_trial(trial_path(tmp_path / "broken", fingerprint(trial))).rows
    assert [r["step"] for r in rows if r["measure"] == "train_loss"] == [1, 2, 3, 4, 5, 6, 7]
    assert [r["value"] for r in rows if r["measure"] == "training_passes"] == [
        3 * 1437 + 4 * (1437 + 2 * (14 * 50 + 18))
    ]


def test_trials_that_begin_alike_share_one_trained_base(tmp_path):
    trials = [compressed_trial(), compressed_trial(epochs=2, adversarial_ratio=0.0), tiny_trial()]
    assert len({base_key(t) for t in trials}) == 1
    assert base_key(compressed_trial(seed=1)) != base_key(trials[0])
    stamps = set()
    for i, trial in enumerate(trials):
        finish(Attempt(job(tmp_path / "alone", trial)))
        shared = Attempt(job(tmp_path / "shared", trial, base=base_key(trial), report_seconds=0.0))
        assert shared.step()["epoch"] == (1 if i == 0 else 3), "only the first one trains the base"
        finish(shared)
        (base,) = (tmp_path / "shared/bases").iterdir()
        stamps.add(base.stat().st_mtime_ns)
        assert rows_of(tmp_path / "alone", trial) == rows_of(tmp_path / "shared", trial)
    assert len(stamps) == 1


def test_a_cached_base_carries_its_seconds(tmp_path):
    trial = compressed_trial(epochs=1, adversarial_ratio=0.0)
    spent = []
    for again in (trial, dataclasses.replace(trial, measures=(Cost(),))):
        finish(Attempt(job(tmp_path, again, base=base_key(trial))))
        rows = read_trial(trial_path(tmp_path, fingerprint(again))).rows
        (base,) = (tmp_path / "bases").iterdir()
        saved = torch.load(io.BytesIO(base.read_bytes()[64:]), weights_only=True)["seconds"]["train_seconds"]
        spent += [r["value"] - saved for r in rows if r["measure"] == "training_seconds"]
    assert min(spent) > 0


def test_a_damaged_base_is_trained_and_kept_anew(tmp_path, caplog):
    trial = compressed_trial(epochs=1)
    first = Attempt(job(tmp_path, trial, base=base_key(trial)))
    first.base.parent.mkdir()
    first.base.write_bytes(b"0" * 200)
    finish(first)
    assert first.base.read_bytes() == b"0" * 200, "whoever was first stays"
    again = dataclasses.replace(trial, measures=())
    finish(Attempt(job(tmp_path, again, base=base_key(trial))))
    assert "is damaged" in caplog.text
    assert len(first.base.read_bytes()) > 200
    caplog.clear()
    third = dataclasses.replace(trial, measures=(Accuracy(),))
    assert Attempt(job(tmp_path, third, base=base_key(trial), report_seconds=0.0)).step()["epoch"] == 3
    assert not caplog.text


def test_provenance_says_where_the_numbers_come_from(tmp_path):
    finish(Attempt(job(tmp_path, tiny_trial(measures=False), commit="abc")))
    (path,) = (tmp_path / "trials").iterdir()
    found = read_trial(path).provenance
    assert found["commit"] == "abc"
    assert found["threads"] == 1
    assert found["configuration"]["seed"] == 0
    assert found["versions"]["torch"].startswith("2.")
    assert found["wall_seconds"] > 0
    measures = {r["measure"] for r in read_trial(path).rows}
    assert {"system/process_cpu_percentage", "system/system_memory_usage_megabytes", "train_seconds"} <= measures
