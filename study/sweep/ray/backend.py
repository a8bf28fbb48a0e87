"""The Ray back end: starts or joins a Ray cluster and runs a sweep's jobs through Ray Tune."""

import errno
import functools
import logging
import os
import shutil
import tempfile
import warnings
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
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
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search import Searcher

from study.spec.errors import UsageError
from study.store.places import Unavailable
from study.sweep.plan.job import Job
from study.sweep.plan.source import Source
from study.sweep.ray import local, nodes
from study.sweep.ray.alive import Alive
from study.sweep.ray.trainables import FamilyTrainable
from study.sweep.worker import signals
from study.sweep.worker.listener import Listener, Options

RETRIES = 3


@signals.held()
def connect(address: str) -> None:
    """Join the cluster at `address`, or start a local Ray. UsageError when no Ray answers."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    for name in ("ray", "ray.tune", "ray.air", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # causes of failures are told by the sweep itself
    local.keep_environment()
    if not address:
        local.start(**quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"--address {address}: no Ray answers there ({str(error).splitlines()[0]})") from None


class _Feed(Searcher):
    """Tune's searcher: hands out what the sweep's source hands out, `again` what died with its worker, and `later`,
    after all others, what a GPU had too little memory for. Nothing more after an `error`.
    """

    def __init__(self, source: Source | None) -> None:
        super().__init__()
        self.source = source
        self.again: deque[Job] = deque()
        self.later: deque[Job] = deque()
        self.error: Exception | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its searcher for a restore that is never asked for; the source stays here."""
        return _Feed, (None,)

    def suggest(self, trial_id: str) -> Any:
        """The next job's configuration, the job itself under `job`; None to wait, FINISHED at the end."""
        assert self.source is not None
        job = None
        with self.keeping():
            job = None if self.error else self._next(self.source)
        if job is None:
            return Searcher.FINISHED if self.error or self.source.over else None
        return config(job) | {"job": job}

    def _next(self, source: Source) -> Job | None:
        if self.again:
            return self.again.popleft()
        return source.next() or (self.later.popleft() if self.later else None)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep the first exception of the block for `run`: Tune would raise its text, and drop what is running."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The source is told by the relay."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """No metric is needed here."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the tables say what is finished."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was kept."""


class _Patient(FIFOScheduler):
    """A worker that is starting is let start, and a trial that waits for it waits.

    Tune's own gives each worker that becomes free to the trial that waits, and ends the one that starts: a dead worker
    would hardly ever be replaced where some trial ends within the seconds of a start.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: Tune then gives what becomes free to the next trial, and to a waiting one when there is no other."""


class Lost(BaseException):
    """No Ray is left to run on. Not for Tune, which for an Exception asks its dead workers to end, for minutes."""


class _Relay(tune.Callback):
    """Tells the sweep's listener and source what happens to Tune's trials."""

    def __init__(self, feed: _Feed, listener: Listener, alive: Alive | None = None) -> None:
        self.feed, self.listener, self.alive = feed, listener, alive
        self.begun: set[str] = set()
        self.deaths: Counter[tuple[str, bool]] = Counter()

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its run configuration for a restore that is never asked for; the listener stays here."""
        return _Relay, (None, None)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ten times a second and more: here between Tune's calls of Ray, never inside one."""
        signals.check()
        if self.alive and self.alive.lost:
            raise Lost(self.alive.lost)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.feed.error:
            raise self.feed.error  # Tune held this trial when the sweep was stopped: it ends here
        self.begun.add(trial.trial_id)
        with self.feed.keeping():
            self.listener.started(trial.config["job"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        job = trial.config["job"]
        with self.feed.keeping():
            if error := result.get("stopped_by"):
                raise error
            if "died" in result:
                self._died(job, True, result["died"])
            elif result.get("out_of_memory") and (larger := job.larger()):
                self.feed.later.append(larger)
            elif result.get("done"):
                self.listener.finished(job, result)
                self._told(job)
            else:
                self.listener.reported(job, result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker around the trial died, or raised what no attempt should."""
        with self.feed.keeping():
            log = Path(trial.error_file).read_text() if trial.error_file and Path(trial.error_file).exists() else ""
            if full := _full(log):
                raise full
            self._died(trial.config["job"], trial.trial_id in self.begun, log)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune keeps all trials, for analyses that nobody asks for: of one that is over, no metrics."""
        kept = type(trial.run_metadata)()
        kept.checkpoint_manager = trial.run_metadata.checkpoint_manager  # of which the result grid asks for the last
        trial.run_metadata, trial.config = kept, {}

    def _died(self, job: Job, begun: bool, log: str) -> None:
        """The job is tried again, RETRIES times at most.

        A worker that died while it waited, before this attempt began, is counted apart: the trial did not end it.
        """
        self.deaths[job.fingerprint, begun] += 1
        if (deaths := self.deaths[job.fingerprint, begun]) <= RETRIES:
            self.feed.again.append(job)
        else:
            self.listener.died(job, f"its worker died {deaths} times (killed, or out of memory)", log)
            self._told(job)

    def _told(self, job: Job) -> None:
        """Tell the source, unless the sweep is stopped: what it writes may be what failed."""
        assert self.feed.source is not None
        if not self.feed.error:
            self.feed.source.told(job)


def _full(text: str) -> OSError | None:
    """The full disk that Ray's text tells of: that of its own temporary files; a trial's comes as a result."""
    full = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, full, "Ray's temporary files") if full in text else None


def config(job: Job) -> dict[str, Any]:
    """A job's Tune configuration: fingerprint, family, seed and every axis by name."""
    return {"trial": job.fingerprint, "family": job.family, "seed": job.trial.seed, **job.axes}


@signals.held()
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


def _resources(options: Options, config: dict[str, Any]) -> Any:
    """What a trial asks of Ray: as all others, but for one that ran out of memory with that share of a GPU."""
    gpu = max(options.gpus_per_trial, config["job"].gpu_fraction) if options.gpus_per_trial else 0.0
    return tune.PlacementGroupFactory([{"CPU": options.cpus_per_trial} | ({"GPU": gpu} if gpu else {})])


@signals.held()
def run(source: Source, options: Options, listener: Listener) -> Any:
    """Run every job of the source on the connected Ray; returns Tune's result grid.

    A trial whose worker dies is tried again as a new trial of Tune's (which itself would try those of preempted
    machines alone); one that did not fit in its share of a GPU once more, last of all, with twice the share. After an
    exception of listener or source, or an OSError of a worker's own files, nothing more is started; what runs may end,
    and the first of them is raised. Unavailable, within half a minute, when no machine is left to run on.
    """
    storage = tempfile.mkdtemp(prefix="study-tune-") if not options.storage else options.storage
    feed, alive = _Feed(source), Alive()
    tuner = tune.Tuner(
        tune.with_resources(FamilyTrainable, functools.partial(_resources, options)),
        tune_config=tune.TuneConfig(
            search_alg=feed,
            scheduler=_Patient(),
            num_samples=-1,
            max_concurrent_trials=concurrency(options),
            reuse_actors=True,
            time_budget_s=options.time_budget or None,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=storage,
            verbose=0,
            callbacks=[_Relay(feed, listener, alive), JsonLoggerCallback()],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        with alive:
            grid = tuner.fit()
    except Lost as lost:
        local.abandon(str(lost))
        raise Unavailable(str(lost)) from None
    except Exception as error:
        raise (feed.error or _full(str(error)) or error) from None
    finally:
        if not options.storage:
            shutil.rmtree(storage, ignore_errors=True)
    if feed.error:
        raise feed.error
    return grid


@signals.held()
def disconnect() -> None:
    """End the local Ray, or leave the joined one."""
    if dead := local.gone():
        local.abandon(dead)
    if not local.abandoned:
        ray.shutdown()
