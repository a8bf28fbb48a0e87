"""Runs a plan: the in-process back end and the Ray back end of equal standing, one lock, one listener."""

import errno
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from study.spec.errors import brief
from study.store import layout, mirror, places, results
from study.store.lease import Lease
from study.store.manifest import Manifest
from study.store.places import Place
from study.sweep import watch
from study.sweep.display import Display, headline
from study.sweep.plan import search_record
from study.sweep.plan.folder import manifest
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan
from study.sweep.plan.source import Source
from study.sweep.worker import heartbeat, signals
from study.sweep.worker.listener import Listener, Options

if TYPE_CHECKING:
    from study.tracking import Tracker


@dataclass
class Report:
    """How a run of a sweep ended."""

    total: int
    finished: int = 0
    diverged: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    out_of_time: bool = False
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Trials with neither a result nor a failure noted."""
        return self.total - self.finished - len(self.failed)


class _Relay:
    """The driver's listener: display, failure notes, tracking. Results themselves are published by the workers."""

    def __init__(self, place: Place, display: Display, tracker: "Tracker | None", search: Mapping[str, Any]) -> None:
        self.place, self.display, self.tracker, self.search = place, display, tracker, search

    def started(self, job: Job) -> None:
        self.display.started(job)

    def reported(self, job: Job, report: dict[str, Any]) -> None:
        """Progress inside a trial changes nothing that is shown."""

    def finished(self, job: Job, report: dict[str, Any]) -> None:
        status = str(report["status"])
        mirror.fetch_trial(self.place, job.fingerprint)
        self.display.ended(job, status, headline(job, report, self.search))
        if self.tracker:
            self.tracker.trial(job.fingerprint)

    def died(self, job: Job, cause: str, log: str) -> None:
        cause = brief(cause)
        heartbeat.forget(self.place, job.fingerprint)
        results.note_failure(self.place, job.fingerprint, {"identity": job.identity(), "cause": cause, "log": log})
        mirror.fetch_trial(self.place, job.fingerprint)
        self.display.ended(job, "failed", cause)
        if self.tracker:
            self.tracker.trial(job.fingerprint)


def clean_up(place: Place) -> list[int]:
    """End and remove what a killed driver of this output left; only under the lock. The ids of ended processes."""
    ended = watch.end_left(mirror.working_folder(place))
    heartbeat.clear(place)
    return ended


def in_process(source: Source, options: Options, listener: Listener) -> None:
    """Run every job of the source in this process, one after another; last those that a GPU had too little memory for.

    Raises OSError where a file of ours cannot be written.
    """
    from study.sweep.worker.attempt import Attempt

    end = time.monotonic() + options.time_budget if options.time_budget else float("inf")
    later: deque[Job] = deque()
    while (job := source.next() or (later.popleft() if later else None)) is not None:
        listener.started(job)
        attempt = Attempt(job)
        try:
            while not (report := attempt.step())["done"]:
                listener.reported(job, report)
                if time.monotonic() > end:
                    return
        finally:
            attempt.close()
        if report.get("out_of_memory") and (larger := job.larger()):
            later.append(larger)
        else:
            listener.finished(job, report)
            source.told(job)
        if time.monotonic() > end:
            return


def pending(plan: Plan, retry_failed: bool) -> dict[str, Job]:
    """The jobs that have no sound result yet; failed ones only on request. Damaged files are set aside."""
    results.mend(plan.folder)
    finished = {name for name, _ in results.each(plan.folder, set_aside=True)}
    mirror.set_aside(plan.place)
    failed = {} if retry_failed else results.failures(plan.folder)
    return {name: job for name, job in plan.jobs.items() if name not in finished and name not in failed}


def write_manifest(
    plan: Plan, found: Manifest | None, complete: bool = False, lease: Lease | None = None, command: str = ""
) -> Manifest:
    """study.json, written or extended; signals.Terminated when another driver has taken the lease of an S3 output."""
    now = replace(manifest(plan, found, complete), command=command or (found.command if found else ""))
    content = json.dumps(now.record(), indent=1).encode()
    if lease is None:
        results.replace(plan.place / layout.STUDY, content)
    elif not lease.write_study(content):
        raise signals.Terminated
    mirror.fetch(plan.place, layout.STUDY)
    return now


def restore_manifest(plan: Plan, known: Manifest, complete: bool, lease: Lease | None, err: Console) -> None:
    """study.json written again where it is gone: by itself, or with its folder, which the workers have made anew."""
    if not (plan.folder / layout.STUDY).exists():
        gone = f"{plan.place} had lost its {layout.STUDY} (deleted, moved, unmounted?); it is written again."
        err.print(gone, markup=False)
        write_manifest(plan, known, complete, lease)


def run(
    plan: Plan,
    source: Source,
    options: Options,
    console: Console,
    *,
    ray_backend: bool,
    workers: int,
    tracker: "Tracker | None" = None,
) -> Report:
    """Run the source's jobs and say how it ended. KeyboardInterrupt and signals.Terminated pass, once the back end has
    stopped.

    Raises OSError (ENOSPC) when a disk is full, places.Unavailable when a file cannot be written for another reason or
    no Ray is left; no further trial is started then, and what is finished stays.
    """
    began = time.monotonic()
    with Display(console, source, workers, plan.estimated_trial_seconds) as display:
        search = search_record.record(plan) if plan.preset.search else {}
        listener = _Relay(plan.place, display, tracker, search)
        try:
            if ray_backend:
                from study.sweep.ray import backend, nodes

                with watch.Watch(plan.place, options.hang_seconds, console.print, nodes.end):
                    backend.run(source, options, listener)
            else:
                in_process(source, options, listener)
        except OSError as error:
            if isinstance(error, places.Unavailable) or error.errno == errno.ENOSPC:
                raise
            raise places.Unavailable(f"{error.filename or plan.folder}: {error.strerror or error}") from error
    mirror.pull(plan.place)
    plan = replace(plan, jobs={**plan.jobs, **source.jobs})
    report = outcome(plan, time.monotonic() - began, bool(options.time_budget) and not source.over)
    if report.finished == report.total and source.over:  # trained bases and checkpoints have served
        places.clear(plan.place, layout.BASES)
        places.clear(plan.place, layout.CHECKPOINTS)
        places.clear(plan.place, layout.RUNNING)
    return report


def outcome(plan: Plan, seconds: float = 0.0, had_budget: bool = False) -> Report:
    """What stands in the folder, counted."""
    statuses = {
        name: trial.rows[0]["status"] if trial.rows else ""
        for name, trial in results.each(plan.folder)
        if name in plan.jobs
    }
    failed = {n: f["cause"] for n, f in results.failures(plan.folder).items() if n in plan.jobs and n not in statuses}
    return Report(
        total=len(plan.jobs),
        finished=len(statuses),
        diverged=sum(status == "diverged" for status in statuses.values()),
        failed=failed,
        out_of_time=had_budget,
        seconds=seconds,
    )
