"""What is looked at before anything is started or written."""

import logging
import os
import socket
from pathlib import Path
from typing import Any

from study.spec import budgets
from study.spec.config import ON_LAYERS, Build, Decompose, Load, Prune, Recalibrate, Remove, Trial, aligned
from study.spec.datasets import is_user_function
from study.spec.errors import UsageError
from study.spec.expand import knob_values
from study.spec.studies import Point, Search
from study.store.places import S3Path, unwritable
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan, job_of
from study.sweep.worker.monitor import gpu_count

log = logging.getLogger(__name__)


def preflight(plan: Plan, uri: str, address: str, in_process: bool) -> None:
    """UsageError for all that would fail later: tracking store, Ray address, GPU, data, model, output folder."""
    from analysis import report
    from study import tracking

    presets = [plan.preset, *plan.study.presets.values()]  # a smaller preset may do without the arm of a claim
    report.check(plan.study.claims, plan.study.figures, [arm for preset in presets for arm in preset.arms])
    tracking.check_uri(uri)
    if address and not in_process:
        check_reachable(address)
    if in_process and plan.cpus_per_trial > (here := os.cpu_count() or 1):
        raise UsageError(f"--cpus-per-trial {plan.cpus_per_trial:g}: there are {here} CPUs here; give at most {here}")
    if not address and not in_process:
        check_home()
    if plan.gpus_per_trial > 0 and (in_process or not address) and gpu_count() == 0:
        raise UsageError(
            f"this sweep wants {plan.gpus_per_trial:g} GPU per trial and there is no GPU here; "
            "give --address of a cluster that has some, or --gpus-per-trial 0"
        )
    check_trials(plan)
    if plan.preset.search:
        _check_search(plan, plan.preset.search)
    if isinstance(plan.place, S3Path):
        return  # it has just been listed; that it takes files shows when it is locked, before anything starts
    if (parent := unwritable(plan.folder)) is not None:
        raise UsageError(f"--output {plan.folder}: {parent[0]} cannot be written ({parent[1]})")


def check_trials(plan: Plan) -> None:
    """UsageError where the plan's data cannot be read, or its model not be built, run, compressed or attacked."""
    tried = to_try(plan)
    if plan.data and (
        plan.data != "digits" or plan.model != "fcn" or len(tried) > 1 or len(loads(tried[0])) > 1 or weighted(tried[0])
    ):  # digits come with scikit-learn; torch is slow to import
        from study.sweep.plan.tryout import check_data_and_model

        for trial in tried:
            shape = check_data_and_model(trial, plan.notes)
        for values in [plan.settings, *map(knob_values, plan.points)]:  # data of one's own have a shape only now
            budgets.check(values, shape)


def check_home() -> None:
    """UsageError where a local Ray could not keep its token: in the home folder, unless the environment has it, or says
    where it lies."""
    home = Path(os.path.expanduser("~"))
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or (home / ".ray" / "auth_token").is_file():
        return
    if (parent := unwritable(home / ".ray")) is not None:
        raise UsageError(
            f"Ray keeps its token in {home / '.ray'}, and {parent[0]} cannot be written ({parent[1]}); set HOME to a "
            "folder that can, or RAY_AUTH_TOKEN_PATH, or give --in-process"
        )


def _check_search(plan: Plan, search: Search) -> None:
    """The database lets us in; the earlier sweeps have something to give."""
    if search.storage:
        from study.sweep.search.view import storage_of

        storage_of(search.storage, plan.folder)
    if search.warm_start:
        from study.sweep.search import warm_start

        for output in search.warm_start:
            if not any(numbers for _, numbers in warm_start.points(output, plan).values()):
                log.warning("%s has no numbers on the images that select here: its points are asked first, "
                            "in any order, and not believed", output)  # fmt: skip


def first(plan: Plan) -> Job:
    """A job of the plan to look at; a search that has none yet is asked for the one with every axis off."""
    if plan.jobs:
        return next(iter(plan.jobs.values()))
    search = plan.preset.search
    assert search is not None
    seed, off = search["search_seed"], plan.axes_off
    return job_of(plan, Point(family=search.family, arms=(), seed=seed, axes=off, settings=plan.settings))


def loads(trial: Trial) -> list[Load]:
    """The data that a trial loads."""
    return [stage for stage in trial.stages if isinstance(stage, Load)]


def weighted(trial: Trial) -> bool:
    """Whether its net begins with weights from elsewhere."""
    return any(isinstance(stage, Build) and stage.weights for stage in trial.stages)


def to_try(plan: Plan) -> list[Trial]:
    """The trials of a plan to try out: the first one, and the first with each other choice of data or of halves, of
    weights, of patches, of how many layers keep shares of their own, and of whether layers are to be aligned, or a net
    of one's own loses rows, is factorized, has its statistics taken anew, or is compressed at all: what the table of
    knobs cannot judge."""
    found: dict[tuple[Any, ...], Trial] = {}
    for job in plan.jobs.values():
        data = tuple((s.name, s.data, s.classes, s.part) for s in loads(job.trial))
        nets = tuple((s.weights, s.patch_size) for s in job.trial.stages if isinstance(s, Build))
        of_ones_own = job.trial.stages if is_user_function(plan.model) else ()
        done = tuple(
            any(isinstance(s, kind) for s in of_ones_own) for kind in (Remove, Decompose, Recalibrate, ON_LAYERS)
        )
        layers = tuple((len(s.layers), s.on) for s in job.trial.stages if isinstance(s, Prune) and s.layers)
        found.setdefault((data, nets, aligned(job.trial), done, layers), job.trial)
    return list(found.values()) or [first(plan).trial, *_removal(plan)]


def _removal(plan: Plan) -> list[Trial]:
    """Of a search that may remove rows of a net of one's own, a trial that does."""
    search = plan.preset.search
    if search is None or "prune_ratio" not in search.knobs or not is_user_function(plan.model):
        return []
    axes = {**plan.axes_off, "prune_ratio": 0.5}
    point = Point(family=search.family, arms=(), seed=search["search_seed"], axes=axes, settings=plan.settings)
    return [job_of(plan, point).trial]


def check_reachable(address: str) -> None:
    """UsageError unless something listens at host:port of a Ray address; `auto` and `local` are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        if address in ("auto", "local"):
            return
        raise UsageError(f"--address {address!r} is not accepted; give host:port, ray://host:port or auto")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"--address {address}: no Ray answers there ({error})") from None
