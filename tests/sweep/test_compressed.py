"""The compressed family: what a point becomes, what does not go together, and equal trials under equal names."""

import dataclasses
from types import SimpleNamespace

import pytest

from study.spec.config import (
    Cost,
    Decompose,
    Factorize,
    Prune,
    Quantize,
    Recalibrate,
    Remove,
    Robustness,
    Teacher,
    Train,
)
from study.spec.errors import UsageError
from study.spec.families import FAMILIES
from study.spec.identity import base_key, fingerprint
from study.spec.knobs import AXES, SETTINGS, off
from study.store import results
from study.sweep.plan.folder import against_folder
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.tryout import check_data_and_model
from study.sweep.preflight import check_trials, to_try

POINT = {n: k.default for n, k in (AXES | SETTINGS).items()} | {
    "data": "digits", "data_digest": "d", "data_dir": "", "model": "fcn", "model_digest": "", "seed": 0, "sources": {},
}  # fmt: skip

TUNED = {"finetune": "standard", "finetune_epochs": 2}


def trial(**point):
    return FAMILIES["compressed"](POINT | point)


def kinds(trial):
    return [type(s) for s in trial.stages[2:]]


def test_a_point_with_everything_is_compressed_in_order_and_trained_twice():
    found = trial(
        rank=8, alpha=0.01, prune_ratio=0.5, keep_prob=0.3, mask="bernoulli", bits=4, finetune="adversarial",
        finetune_epochs=3, finetune_learning_rate=1e-4, frobenius=2.0, train_eps=0.1,
    )  # fmt: skip
    assert kinds(found) == [Factorize, Train, Remove, Prune, Quantize, Train]
    assert found.stages[5] == Prune(keep_prob=0.3, mask="bernoulli")
    first, second = found.stages[3], found.stages[7]
    assert (first.alpha, first.frobenius, first.adversarial_ratio, first.epochs) == (0.01, 2.0, 0.0, 40)
    assert second == Train(epochs=3, learning_rate=1e-4, adversarial_ratio=0.5, train_eps=0.1)
    assert isinstance(found.measures[-1], Cost)


def test_a_point_at_its_defaults_is_plain_training():
    assert kinds(trial()) == [Train]
    assert trial().stages[2] == Train(frobenius=1.0)


def test_trials_without_new_knobs_are_the_ones_that_they_were():
    """Change these only knowingly: finished results are found by them."""
    old = {"prune_ratio": 0.5, "keep_prob": 0.3, "bits": 4, "finetune": "adversarial", "finetune_epochs": 3}
    assert fingerprint(trial(**old, train_eps=0.1)) == "c02610095e4e788c"
    assert fingerprint(trial(rank=8, lam=0.4)) == "8a42c27dfe7b7ff3"


def test_factors_come_after_the_training_and_before_levels():
    found = trial(
        factorize_ratio=0.5, factorization="tt", model="resnet18", bits=8, finetune="standard", finetune_epochs=1
    )
    assert kinds(found) == [Train, Decompose, Quantize, Train]
    assert found.stages[3] == Decompose(ratio=0.5, method="tt")
    assert kinds(trial(factorize_ratio=0.5, finetune="standard", finetune_epochs=1)) == [Train, Decompose, Train]
    own = trial(factorize_ratio=0.5, factorization="cp", model="mine:net", pruning=("rows",))
    assert kinds(own) == [Train, Decompose]
    assert base_key(own) == base_key(trial(model="mine:net")), "one base for all ratios and methods"


def test_statistics_are_taken_anew_after_what_changes_them_and_before_levels():
    parts = {"model": "cnn", "recalibrate": 1, "prune_ratio": 0.5, "keep_prob": 0.3, "bits": 8}
    found = trial(**parts, finetune="standard", finetune_epochs=1)
    assert kinds(found) == [Train, Remove, Prune, Recalibrate, Quantize, Train]
    assert base_key(found) == base_key(trial(model="cnn")), "one base with and without"
    assert kinds(trial(model="resnet18", factorize_ratio=0.5, recalibrate=1)) == [Train, Decompose, Recalibrate]


def test_a_whole_net_has_new_statistics_too():
    """Else masked nets would be compared with one whose statistics lag behind its training."""
    assert kinds(trial(model="cnn", recalibrate=1)) == [Train, Recalibrate]
    assert kinds(trial(model="cnn", recalibrate=1, bits=8)) == [Train, Recalibrate, Quantize]
    assert kinds(trial(model="cnn", recalibrate=1, risk_eps=(0.5,))) == [Train, Recalibrate], "no net to compare with"
    of_two = kinds(trial(model="cnn", recalibrate=1, risk_eps=(0.5,), keep_prob=0.5))
    assert of_two == [Train, Recalibrate, Teacher, Prune, Recalibrate], "the net that it is compared with has them"
    with pytest.raises(UsageError, match="is its own teacher"):
        trial(model="cnn", recalibrate=1, finetune="standard", finetune_epochs=1, distillation=0.5)


def test_curves_of_old_statistics_are_refused_beside_new_ones():
    with pytest.raises(UsageError, match="pruning does not go with recalibrate"):
        trial(model="cnn", recalibrate=1, pruning=("rows",))


@pytest.mark.parametrize("model", ["fcn", "cnn8", "vgg16", "vit"])
def test_statistics_are_refused_to_nets_that_keep_none(model):
    with pytest.raises(UsageError, match=f"recalibrate goes with model cnn, resnet18, .* got {model}"):
        trial(model=model, keep_prob=0.5, recalibrate=1)


def test_quantization_comes_before_the_first_training_where_training_knows_of_it():
    found = trial(bits=4, qat=1, rank=8, bits_granularity="channel", finetune="standard", finetune_epochs=3)
    assert kinds(found) == [Factorize, Quantize, Train, Train]
    assert found.stages[3] == Quantize(bits=4, granularity="channel", aware=True)
    assert trial(bits=1, one_bit="as_printed").stages[-1] == Quantize(bits=1, one_bit="as_printed")


def test_quantized_trials_keep_the_names_that_they_had():
    """Of the version before scales per row and training on levels."""
    assert fingerprint(trial()) == "4770ed0d812e2045"
    assert fingerprint(trial(bits=4)) == "93d1d008979330c4"
    masked = trial(bits=1, keep_prob=0.5, finetune="standard", finetune_epochs=2)
    assert (fingerprint(masked), base_key(masked)) == ("cd4179f817015784", "d7a3ea64223ea71d")


def test_what_makes_no_other_levels_makes_no_other_trial():
    assert fingerprint(trial(bits=8, one_bit="as_printed")) == fingerprint(trial(bits=8))
    printed = [trial(bits=1, one_bit="as_printed", bits_granularity=kind) for kind in ("tensor", "channel")]
    assert fingerprint(printed[0]) == fingerprint(printed[1]), "weights at the one level 0 have no scales"
    other = [{}, {"bits_granularity": "channel"}, {"one_bit": "as_printed"}, {"qat": 1}]
    assert len({fingerprint(trial(bits=1, **how)) for how in other}) == 4


def test_lam_sets_the_mask_and_brings_its_floor():
    (prune,) = [s for s in trial(lam=0.4, keep_floor=0.2).stages if isinstance(s, Prune)]
    assert prune == Prune(lam=0.4, floor=0.2)


@pytest.mark.parametrize(
    "idle",
    [{"mask": "bernoulli"}, {"penalty": "nuclear_norm"}, {"finetune": "standard"}, {"keep_floor": 0.3},
     {"finetune_learning_rate": 1.0}, {"factorization": "tt"}, {"bits_granularity": "channel"},
     {"one_bit": "as_printed"}, {"temperature": 2.0}],
)  # fmt: skip
def test_knobs_that_do_nothing_make_no_other_trial(idle):
    assert fingerprint(trial(**idle)) == fingerprint(trial())
    assert off({a: (POINT | idle)[a] for a in AXES}, {}) == {a: AXES[a].default for a in AXES}


@pytest.mark.parametrize(
    "busy",
    [{"mask": "bernoulli", "layer_keep_prob": "0.5/1/1/1"},
     {"mask": "bernoulli", "keep_prob": 0.5}, {"mask": "bernoulli", "lam": 0.5},
     {"penalty": "nuclear_norm", "alpha": 0.1}, {"finetune": "standard", "finetune_epochs": 2, "bits": 8}],
)  # fmt: skip
def test_knobs_that_do_something_stay(busy):
    axes = {a: (POINT | busy)[a] for a in AXES}
    assert off(axes, {}) == axes


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"lam": 0.5, "keep_prob": 0.5}, "leave keep_prob at 1"),
        (
            {"prune_ratio": 0.5, "model": "swin_t"},
            "prune_ratio goes with model fcn, cnn, cnn8, resnet18, .* or package:function, got swin_t",
        ),
        ({"lam": 0.5, "model": "vit"}, "lam goes with model fcn"),
        ({"finetune_epochs": 3, "bits": 4}, "finetune_epochs needs finetune"),
        ({"rank": 4, "prune_ratio": 0.5, "model": "cnn8"}, "rank goes with prune_ratio for model fcn alone, got cnn8"),
        ({"penalty": "nuclear_norm_prox", "alpha": 0.1, "rank": 4}, "leave rank at 0"),
        ({"bits": 8, "certify": 1}, "certificates do not cover"),
        ({"factorize_ratio": 0.5, "prune_ratio": 0.5}, "factorize_ratio does not go with prune_ratio"),
        ({"factorize_ratio": 0.5, "keep_prob": 0.5}, "factorize_ratio does not go with keep_prob; leave keep_prob at"),
        ({"factorize_ratio": 0.5, "lam": 0.5}, "factorize_ratio does not go with lam"),
        ({"factorize_ratio": 0.5, "rank": 4}, "factorize_ratio does not go with rank"),
        ({"factorize_ratio": 0.5, "factorization": "tt"}, "factorization tt goes with model cnn, .*, got fcn"),
        ({"factorize_ratio": 0.5, "factorization": "cp", "model": "vit"}, "factorization cp goes with .*, got vit"),
        (
            {"factorize_ratio": 0.5, "factorization": "tucker", "model": "cnn", "pruning": ("rows", "low_rank")},
            "pruning low_rank does not go with factorization tucker",
        ),
        ({"qat": 1}, "qat=1 needs bits"),
        *[
            ({"qat": 1, "bits": 8, **how}, "qat=1 does not go with prune_ratio, keep_prob, layer_keep_prob, lam or")
            for how in (
                {"prune_ratio": 0.5},
                {"keep_prob": 0.5},
                {"lam": 0.5},
                {"factorize_ratio": 0.5},
                {"layer_keep_prob": "1/1/1/0.5"},
            )
        ],
        ({"qat": 1, "bits": 8, "penalty": "nuclear_norm_prox", "alpha": 0.1}, "overwrites weights"),
        ({"bits": 8, "distillation": 0.5}, "distillation needs finetune=standard or adversarial"),
        ({"bits": 8, "distillation": 0.5, "finetune": "standard"}, "and finetune_epochs"),
        ({"distillation": 0.5, **TUNED}, "another is its own teacher"),
        ({"distillation": 0.5, "rank": 4, **TUNED}, "distillation needs a net that is compressed after its training"),
        ({"layer_keep_prob": "1/1/.5/.5", "keep_prob": 0.5}, "leave keep_prob at 1 and lam at 0"),
        ({"layer_keep_prob": "1/1/.5/.5", "lam": 0.5}, "leave keep_prob at 1 and lam at 0"),
        ({"layer_keep_prob": "1/1/.5/.5", "mask_budget": "global"}, "does not go with mask_budget=global"),
        ({"layer_keep_prob": "1/1/.5/.5", "factorize_ratio": 0.5}, "factorize_ratio does not go with layer_keep_prob"),
        ({"layer_keep_prob": "1/1/.5"}, "layer_keep_prob 1/1/.5 has shares for 3, where 4 are masked: hidden"),
        ({"layer_keep_prob": "1/.5", "depth": 2, "mask_on": "all"}, "2, where 3 are masked: hidden layers, head"),
        ({"layer_keep_prob": "1/.5", "depth": 2, "rank": 4}, "2, where 4 are masked: hidden layers of two factors"),
        ({"layer_keep_prob": "1/0", "depth": 2}, "layer_keep_prob '1/0' is not accepted; give numbers above 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(point, words):
    with pytest.raises(UsageError, match=words):
        trial(**point)


def test_a_net_that_is_not_compressed_can_be_fine_tuned_on_any_share_of_adversarial_images():
    """Paper C's Table 2: the adversarially fine-tuned baseline; its batches are adversarial as a whole."""
    tuned = {"finetune": "adversarial", "finetune_epochs": 3}
    first, second = (s for s in trial(**tuned, finetune_ratio=1.0).stages if isinstance(s, Train))
    assert (first.adversarial_ratio, second.adversarial_ratio) == (0.0, 1.0)
    assert [s.adversarial_ratio for s in trial(**tuned).stages if isinstance(s, Train)] == [0.0, 0.5]


def test_a_second_opinion_can_be_asked_of_quantized_nets_alone():
    asked = {"audit_queries": 50, "audit_on": "quantized"}
    queries = [[m.audit_queries for m in trial(**asked, **more).measures if isinstance(m, Robustness)]
               for more in ({}, {"prune_ratio": 0.5}, {"bits": 8})]  # fmt: skip
    assert queries == [[0, 0], [0, 0], [50, 50]]
    assert fingerprint(trial(**asked)) == fingerprint(trial())


def test_a_norm_without_budgets_is_not_attacked():
    (only,) = [m for m in trial(eps_l2=()).measures if isinstance(m, Robustness)]
    assert only.norm == "linf"


def test_compression_shares_the_base_of_the_net_it_compresses():
    found = [trial(), trial(bits=4), trial(keep_prob=0.5, finetune="standard", finetune_epochs=2)]
    assert len({base_key(t) for t in found}) == 1
    assert len({fingerprint(t) for t in found}) == 3
    assert base_key(trial(rank=4)) != base_key(trial())


def test_shares_by_layer_are_typed_as_an_axis_and_share_one_base(tmp_path):
    def plan(*shares):
        overrides = {"layer_keep_prob": ",".join(shares), "keep_prob": "1", "depth": "1", "mask_on": "all"}
        request = Request(study="pruning_probability_sweep", preset="smoke", seeds=(0,), overrides=overrides,
                          output=str(tmp_path / "out"))  # fmt: skip
        return make_plan(request).jobs.values()

    jobs = plan("none", "0.90/.5", "0.5/0.9")
    layers = {j.axes["layer_keep_prob"]: {s.layers for s in j.trial.stages if isinstance(s, Prune)} for j in jobs}
    assert layers == {"": set(), "0.9/0.5": {(0.9, 0.5)}, "0.5/0.9": {(0.5, 0.9)}}
    assert {"bernoulli", "magnitude"} <= {j.axes["mask"] for j in jobs if j.axes["layer_keep_prob"]}
    assert len({j.base for j in jobs}) == 1
    assert all(j.base for j in jobs)
    for bad in ("0.5/", "0.5/0", "0.5/1.1", "half/1", "0.5/nan", "0.5;1", "-1/1"):
        with pytest.raises(UsageError, match=r"layer_keep_prob: .* give numbers above 0 to 1 with / between"):
            plan(bad)


def test_a_net_of_other_layers_than_shares_is_refused_with_their_names(tmp_path):
    overrides = {"keep_prob": "1", "layer_keep_prob": "none,0.5/0.5"}
    request = Request(study="pruning_probability_sweep", preset="smoke", model="cnn", seeds=(0,), overrides=overrides,
                      output=str(tmp_path / "out"))  # fmt: skip
    with pytest.raises(
        UsageError, match=r"cannot be given layer_keep_prob: 2 shares .* of \d+ weight tensors: .*weight"
    ):
        check_trials(make_plan(request))


def test_distillation_keeps_a_teacher_and_fine_tuning_alone_learns_from_it():
    plain, taught = trial(bits=4, **TUNED), trial(bits=4, distillation=0.5, **TUNED)
    assert kinds(taught) == [Train, Teacher, Quantize, Train]
    first, second = taught.stages[2], taught.stages[5]
    assert first == plain.stages[2]
    assert second == dataclasses.replace(plain.stages[4], distillation=0.5, temperature=4.0)
    assert base_key(taught) == base_key(plain)
    assert trial(bits=4, distillation=0.5, temperature=2.0, **TUNED).stages[5].temperature == 2.0
    assert fingerprint(trial(bits=4, temperature=2.0, **TUNED)) == fingerprint(plain)
    settings = {"distillation": 0.0, "temperature": 2.0}
    assert off(settings, {}) == {"distillation": 0.0, "temperature": 4.0}


def test_the_levels_study_shares_one_base_per_seed(tmp_path):
    """A standard and a robust one, each left as it is and at six shares and five precisions, fine-tuned or not; beside
    them the robust one with its rows concentrated by hand, at four strengths."""
    plan = make_plan(Request(study="compression_level_sweep", output=str(tmp_path / "out")))
    assert len(plan.jobs) == 5 * (2 * (1 + 6 + 5) * 2 + 4)
    assert len({job.base for job in plan.jobs.values()}) == 5 * 2
    with pytest.raises(UsageError, match=r"prune_ratio goes with model fcn, cnn, cnn8, .*, got swin_t"):
        make_plan(Request(study="compression_level_sweep", model="swin_t"))


def test_the_penalty_of_a_sweep_is_an_axis_and_one_baseline_serves_all_of_its_values(tmp_path):
    request = Request(
        study="compressibility_sweep", preset="smoke", output=str(tmp_path / "out"),
        overrides={"penalty": "group_lasso,nuclear_norm", "alpha": "0,0.01"}, seeds=(0,),
    )  # fmt: skip
    plan = make_plan(request)
    found = [(j.axes["alpha"], j.axes["rank"], j.axes["penalty"]) for j in plan.jobs.values()]
    baseline = (0.0, 0, "group_lasso")
    expected = [baseline, (0.01, 0, "group_lasso"), (0.01, 0, "nuclear_norm"), (0.0, 8, "group_lasso")]
    assert sorted(found) == sorted(expected)
    assert [p.arms for p in plan.points if p.axes["alpha"] == 0 and p.axes["rank"] == 0] == [("neuron", "spectral")]


def test_the_command_line_runs_the_family_and_reports_it(tmp_path, here):
    words = ("--preset", "smoke", "--seeds", "1", "--set", "prune_ratio=0,0.5", "--set", "adversarial_ratio=0")
    done = here("compression_level_sweep", *words, "--in-process", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "MLflow did not take everything" not in done.stderr
    assert (tmp_path / "out/figures/levels.png").stat().st_size > 10_000
    assert not (tmp_path / "out/bases").exists(), "bases have served when all trials are done"
    frame = results.read(tmp_path / "out")
    assert (frame["status"] == "ok").all()
    size = frame[frame["measure"] == "stored_bytes"].set_index(["prune_ratio", "bits", "finetune"])
    assert len(size) == 6
    found = size["value"].to_dict()
    weights, biases = 9 * (8 + 64 + 128 + 256 + 512 + 1024) + 32 * 32 + 320, 2 * (8 + 16 + 32) + 32 + 10
    assert found[0.0, 0, "none"] == 4 * (weights + biases)
    assert found[0.5, 0, "none"] == 4 * (9 * (4 + 16 + 32 + 64 + 128 + 256) + 16 * 16 + 160 + biases / 2 + 5)
    assert found[0.0, 8, "none"] == weights + 4 * biases + 8 * 4 + 7 * 8, "scales of weights, ranges of activations"
    assert found[0.0, 8, "adversarial"] == found[0.0, 8, "none"]
    rounded = frame[(frame["bits"] == 8) & (frame["finetune"] == "none")]
    for measure in ("zero_gradient_share", "audit_flag"):
        assert len(rounded[rounded["measure"] == measure]) == 2
    agrees = frame.loc[frame["measure"] == "zero_eps_agrees", "value"]
    assert (agrees == 1).all()


def test_a_tune_configuration_of_the_family_is_a_trial_of_it(tmp_path):
    from study.sweep.ray.trainables import standalone_job

    job = standalone_job("compressed", {"bits": 4, "mask": "bernoulli", "epochs": 2}, str(tmp_path))
    assert kinds(job.trial) == [Train, Quantize]
    assert job.axes["mask"] == "magnitude", "no mask, no kind of mask"
    with pytest.raises(UsageError, match="does not take plant_rows"):
        standalone_job("compressed", {"plant_rows": 0.5}, str(tmp_path))


def test_a_folder_from_when_the_penalty_was_a_setting_goes_on(tmp_path):
    import json

    from study.sweep.runner import write_manifest

    request = Request(study="compressibility_sweep", preset="smoke", output=str(tmp_path / "out"))
    plan = make_plan(request)
    plan.folder.mkdir()
    write_manifest(plan, None)
    path = plan.folder / "study.json"
    found = json.loads(path.read_text())
    found["configuration"]["settings"]["penalty"] = "group_lasso"
    for arm in found["arms"]:
        arm["axes"].pop("penalty", None)
    path.write_text(json.dumps(found))
    again, _ = against_folder(plan, resume=True)
    assert set(again.jobs) == set(plan.jobs)
    found["configuration"]["settings"]["penalty"] = "nuclear_norm"
    path.write_text(json.dumps(found))
    with pytest.raises(UsageError, match="penalty"):
        against_folder(plan, resume=True)
    assert not results.failures(plan.folder)


SCALED = """
from torch import nn


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def make(shape, classes):
    return nn.Sequential(nn.Flatten(), Scaled(64, 20), nn.ReLU(), nn.Linear(20, classes))
"""


def test_a_layer_of_ones_own_is_refused_while_the_sweep_is_planned(tmp_path, monkeypatch):
    (tmp_path / "mine_scaled.py").write_text(SCALED)
    monkeypatch.syspath_prepend(tmp_path)
    plain, factorized = (trial(model="mine_scaled:make", data_digest="", factorize_ratio=r) for r in (0.0, 0.5))
    jobs = {str(i): SimpleNamespace(trial=t) for i, t in enumerate((plain, factorized))}
    assert to_try(SimpleNamespace(jobs=jobs, model="mine_scaled:make")) == [plain, factorized]
    check_data_and_model(plain)
    with pytest.raises(UsageError, match="cannot factorize 1, a layer of type Scaled"):
        check_data_and_model(factorized)
