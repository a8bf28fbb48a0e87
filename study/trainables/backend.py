"""The Ray back end: starts or joins a Ray cluster and runs a sweep's jobs through Ray Tune."""

import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

# Every listener of a local run on loopback; must stand before ray is imported (see SECURITY.md).
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "60")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import tune
    from ray.tune.logger import JsonLoggerCallback
    from ray.tune.search import BasicVariantGenerator

from study.config import UsageError
from study.job import Job
from study.listener import Listener, Options, larger_share
from study.trainables import nodes
from study.trainables.base import FamilyTrainable

MAX_WORKER_DEATHS = 3
FULL = "No space left on device"


def connect(address: str) -> None:
    """Join the cluster at `address`, or start a local Ray. UsageError when no Ray answers."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    for name in ("ray", "ray.tune", "ray.air", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # causes of failures are told by the sweep itself
    if not address:
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"--address {address}: no Ray answers there ({str(error).splitlines()[0]})") from None


class _Relay(tune.Callback):
    """Tells the sweep's listener what happens to Tune's trials."""

    def __init__(
        self, jobs: Mapping[str, Job], listener: Listener, starved: dict[str, dict[str, Any]] | None = None
    ) -> None:
        self.jobs, self.listener, self.starved = jobs, listener, starved
        self.dead: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its run configuration for a restore that is never asked for; the listener stays here."""
        return _Relay, ({}, None)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.listener.started(self.jobs[trial.config["trial"]])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        job = self.jobs[trial.config["trial"]]
        if result.get("out_of_memory") and self.starved is not None:
            self.starved[job.fingerprint] = result  # tried again with more; its failure is noted meanwhile
        elif result.get("done"):
            self.listener.finished(job, result)
        else:
            self.listener.reported(job, result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        log = Path(trial.error_file).read_text() if trial.error_file and Path(trial.error_file).exists() else ""
        self.dead[trial.config["trial"]] = log


def param_space(jobs: Mapping[str, Job]) -> dict[str, Any]:
    """Tune's search space of a sweep: each axis by name with the values that occur in it."""
    configs = [config(job) for job in jobs.values()]
    return {key: tune.choice(list(dict.fromkeys(c[key] for c in configs))) for key in configs[0]}


def config(job: Job) -> dict[str, Any]:
    """A job's Tune configuration: fingerprint, family, seed and every axis by name."""
    return {"trial": job.fingerprint, "family": job.family, "seed": job.trial.seed, **job.axes}


def concurrency(options: Options) -> int:
    """How many trials the cluster holds at once, when all of it is up; UsageError when it cannot hold one."""
    cpus, gpus = options.cpus_per_trial, options.gpus_per_trial
    fits = sum(nodes.fits(machine, cpus, gpus) for machine in nodes.machines())
    if fits < 1:
        raise UsageError(
            f"a trial wants {cpus:g} CPUs and {gpus:g} GPUs, the cluster has {nodes.total('CPU'):g} CPUs and "
            f"{nodes.total('GPU'):g} GPUs; change --cpus-per-trial or --gpus-per-trial"
        )
    return min(fits, options.max_concurrent or fits)


def run(jobs: Mapping[str, Job], options: Options, listener: Listener) -> Any:
    """Run every job on the connected Ray; returns the last of Tune's result grids.

    A trial whose worker dies is tried again, by Tune or, where Tune gives up (it counts the death of a worker that
    waits for its next trial twice and then lets the trial go), in a fresh Tuner over what is missing. A trial that did
    not fit in its share of a GPU is tried once more with twice the share, after all others.
    """
    end = time.monotonic() + options.time_budget if options.time_budget else float("inf")
    grid, starved = _until_over(jobs, options, listener, end, spare=0 < options.gpus_per_trial < 1)
    if starved and time.monotonic() < end:
        more = replace(options, gpus_per_trial=larger_share(options.gpus_per_trial))
        again = {n: replace(jobs[n], gpu_fraction=more.gpus_per_trial) for n in starved}
        grid, _ = _until_over(again, more, listener, end, spare=False)
    else:
        for name, report in starved.items():
            listener.finished(jobs[name], report)
    return grid


def _until_over(
    jobs: Mapping[str, Job], options: Options, listener: Listener, end: float, spare: bool
) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Tuners over what is missing until nothing is; the last grid, and with `spare` those that ran out of memory."""
    left, deaths, grid = dict(jobs), 0, None
    starved: dict[str, dict[str, Any]] = {}
    while left and time.monotonic() < end:
        relay = _Relay(left, listener, starved if spare else None)
        budget = None if end == float("inf") else end - time.monotonic()
        grid = _tune(left, options, relay, budget)
        deaths += 1
        hopeless = {n: log for n, log in relay.dead.items() if deaths > MAX_WORKER_DEATHS or FULL in log}
        for name, log in hopeless.items():
            listener.died(jobs[name], f"its worker died {deaths} times or more (killed, or out of memory)", log)
        left = {name: jobs[name] for name in relay.dead if name not in hopeless}
    return grid, starved


def _tune(jobs: Mapping[str, Job], options: Options, relay: _Relay, budget: float | None) -> Any:
    storage = tempfile.mkdtemp(prefix="study-tune-") if not options.storage else options.storage
    trainable = tune.with_resources(
        tune.with_parameters(FamilyTrainable, jobs=dict(jobs)),
        {"cpu": options.cpus_per_trial, "gpu": options.gpus_per_trial},
    )
    generator = BasicVariantGenerator(
        points_to_evaluate=[config(job) for job in jobs.values()], max_concurrent=concurrency(options)
    )
    tuner = tune.Tuner(
        trainable,
        param_space=param_space(jobs),
        tune_config=tune.TuneConfig(
            search_alg=generator,
            num_samples=len(jobs),
            reuse_actors=True,
            time_budget_s=budget,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=storage,
            verbose=0,
            callbacks=[relay, JsonLoggerCallback()],
            failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        return tuner.fit()
    finally:
        if not options.storage:
            shutil.rmtree(storage, ignore_errors=True)


def disconnect() -> None:
    """End the local Ray, or leave the joined one."""
    ray.shutdown()
