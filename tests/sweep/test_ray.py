"""Tune's own view: named axes in config and result grid, actors reused, fractional GPUs packed."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


class Listener:
    """Keeps what the back end tells."""

    def __init__(self):
        self.begun, self.reports = [], []

    def started(self, job):
        self.begun.append(job)

    def reported(self, job, report):
        self.reports.append(report)

    def finished(self, job, report):
        self.reports.append(report)

    def died(self, job, cause, log):
        raise AssertionError(f"{cause}: {log}")


@pytest.fixture(scope="module")
def cluster():
    from study.sweep.ray import backend

    backend.ray.init(address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False,
                     _node_ip_address="127.0.0.1", logging_level="ERROR")  # fmt: skip
    yield backend
    backend.disconnect()


def test_four_half_gpu_trials_are_packed_two_to_a_gpu(cluster, tmp_path):
    from study.sweep.plan.request import Request, make_plan
    from study.sweep.plan.source import FixedList
    from study.sweep.worker.listener import Options

    request = Request(
        study="compressibility_sweep", preset="smoke", output=str(tmp_path / "out"), seeds=(0, 1),
        overrides={"epochs": "40"},
    )  # fmt: skip
    jobs = make_plan(request).jobs
    options = Options(cpus_per_trial=0.5, gpus_per_trial=0.5)
    assert cluster.concurrency(options) == 4
    listener = Listener()
    grid = cluster.run(FixedList(jobs), options, listener)
    finished = [r for r in listener.reports if r["done"]]
    assert len(finished) == len(jobs) == 6
    gpu_of = {r["pid"]: r["gpus"] for r in finished}
    assert sorted(gpu_of.values()) == ["0", "0", "1", "1"], "four workers, two on each GPU"
    points = {pid: {r["trial_id"] for r in finished if r["pid"] == pid} for pid in gpu_of}
    assert max(len(p) for p in points.values()) > 1, "one worker process serves several points"

    assert not grid.errors
    frame = grid.get_dataframe()
    for axis in ("alpha", "rank", "frobenius", "seed"):
        assert f"config/{axis}" in frame.columns
    assert sorted(frame["config/alpha"].unique()) == [0.0, 0.03]
    assert sorted(frame["config/rank"].unique()) == [0, 8]
    assert frame["clean_accuracy"].between(0, 1).all()
    assert frame["robust_accuracy/linf_16_255"].between(0, 1).all()
    held = [(t.config, t.metric_analysis) for t in grid._experiment_analysis.trials]
    assert held == [({}, {})] * 6, "what a driver holds of a trial that is over does not add up to gigabytes"


def test_a_client_with_another_token_is_refused(cluster):
    address = cluster.ray.get_runtime_context().gcs_address
    code = f"import ray; ray.init(address={address!r}, log_to_driver=False)"
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 32}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "token is missing or incorrect" in done.stderr


def test_too_large_a_trial_is_refused(cluster):
    from study.spec.errors import UsageError
    from study.sweep.worker.listener import Options

    with pytest.raises(UsageError, match="a trial wants 1 CPUs and 3 GPUs, the cluster has 4 CPUs and 2 GPUs"):
        cluster.concurrency(Options(gpus_per_trial=3))
    assert cluster.concurrency(Options(max_concurrent=1)) == 1


def test_machines_that_the_autoscaler_may_start_count(cluster, tmp_path, monkeypatch):
    from study.sweep.ray import nodes
    from study.sweep.worker.listener import Options

    file = tmp_path / "ray_bootstrap_config.yaml"
    assert nodes.startable(str(file)) == []
    assert not nodes.workers_to_come(str(file))
    file.write_text(
        "max_workers: 3\nhead_node_type: head\navailable_node_types:\n"
        "  head: {max_workers: 0, resources: {CPU: 0}}\n"
        "  gpu: {max_workers: 5, resources: {CPU: 8, GPU: 2}}\n"
    )
    assert nodes.startable(str(file)) == [({"CPU": 0}, 1), ({"CPU": 8, "GPU": 2}, 3)]
    assert nodes.workers_to_come(str(file))
    monkeypatch.setattr(nodes.machines, "__defaults__", (str(file),))
    assert nodes.total("GPU") == 6
    assert cluster.concurrency(Options(cpus_per_trial=1, gpus_per_trial=0.25)) == 24
    assert cluster.concurrency(Options(cpus_per_trial=2, gpus_per_trial=0.25)) == 12


@pytest.mark.parametrize(
    ("machine", "cpus", "gpus", "trials"),
    [
        ({"CPU": 4, "GPU": 1}, 1, 0.25, 4),
        ({"CPU": 4, "GPU": 1}, 1, 0.3, 3),
        ({"CPU": 2, "GPU": 1}, 1, 0.25, 2),
        ({"CPU": 8, "GPU": 4}, 0.5, 0.6, 4),
        ({"CPU": 8, "GPU": 4}, 1, 2, 2),
        ({"CPU": 0}, 1, 0, 0),
        ({"CPU": 3}, 0.5, 0, 6),
    ],
)
def test_trials_that_fit_on_a_machine(machine, cpus, gpus, trials):
    from study.sweep.ray.nodes import fits

    assert fits(machine, cpus, gpus) == trials


GREEDY = """
import os, torch
from torch import nn
class Net(nn.Sequential):
    counted = False
    def forward(self, x):
        if self.training and not self.counted:  # it knows nothing of its share: the first four attempts fail
            self.counted = True
            with open({attempts!r}, "a") as stream:
                stream.write("x")
            if os.path.getsize({attempts!r}) <= 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(x)
def build(shape, classes):
    return Net(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""


@pytest.mark.slow
def test_what_ran_out_of_memory_is_tried_once_more_after_all_others(cluster, tmp_path, monkeypatch):
    from study.store import results
    from study.sweep.plan.request import Request, make_plan
    from study.sweep.plan.source import FixedList
    from study.sweep.worker.listener import Options

    (tmp_path / "greedy.py").write_text(GREEDY.format(attempts=str(tmp_path / "attempts")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    request = Request(
        study="compressibility_sweep", preset="smoke", output="out", seeds=(0, 1), model="greedy:build",
        overrides={"alpha": "0,0.03", "rank": "full"}, gpus_per_trial=0.25,
    )  # fmt: skip
    jobs = {n: replace(job, device="cpu") for n, job in make_plan(request).jobs.items()}
    listener = Listener()
    cluster.run(FixedList(jobs), Options(cpus_per_trial=0.5, gpus_per_trial=0.25, max_concurrent=1), listener)
    assert len(jobs) == 4
    shares = [job.gpu_fraction for job in listener.begun]
    assert shares == [0.25] * len(jobs) + [0.5] * len(jobs), "each once more, and that after all others"
    assert [r["status"] for r in listener.reports if r["done"]] == ["ok"] * len(jobs)
    assert set(results.scan(tmp_path / "out")) == set(jobs)
    assert results.failures(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("family", "axis", "values"),
    [
        ("Regularization", "alpha", [0.0, 0.01]),
        ("Transfer", "pretrain_data", ["none", "other_classes"]),
        pytest.param("LowRank", "rank", [0, 4], marks=pytest.mark.slow),
        pytest.param("Pareto", "bits", [0, 4], marks=pytest.mark.slow),
    ],
)
def test_a_family_is_a_plain_tune_trainable(family, axis, values, cluster, tmp_path):
    from ray import tune
    from ray.tune.logger import JsonLoggerCallback

    from study.spec.studies import Arm
    from study.sweep.ray import trainables as base

    small = {"width": 16, "depth": 1, "epochs": 3, "test_size": 50, "gap_iterations": 2, "attack_iterations": 2}
    os.chdir(tmp_path)
    grid = tune.Tuner(
        getattr(base, family),
        param_space=base.to_tune(Arm(name="one", family=family, axes={axis: tuple(values)})) | small,
        tune_config=tune.TuneConfig(metric="clean_accuracy", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0,
                                  callbacks=[JsonLoggerCallback()]),
    ).fit()  # fmt: skip
    assert not grid.errors
    assert {r.config[axis] for r in grid} == set(values)
    assert 0 < grid.get_best_result().metrics["clean_accuracy"] <= 1
    assert all("epoch" in r.metrics_dataframe.columns for r in grid), "epochs are reported, so that schedulers work"


def test_an_unknown_key_of_a_family_is_refused():
    from study.spec.errors import UsageError
    from study.sweep.ray.trainables import standalone_job

    with pytest.raises(UsageError, match="did you mean alpha"):
        standalone_job("regularization", {"alpa": 1}, "/tmp")
    with pytest.raises(UsageError, match="low_rank does not take alpha; it takes rank, frobenius"):
        standalone_job("low_rank", {"alpha": 1}, "/tmp")
