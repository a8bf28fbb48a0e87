"""One sweep from start to end: pre-flight checks, back end, tracking, report, exit status."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from study.spec.errors import UsageError
from study.store import layout, mirror, places, results
from study.store.lease import Lease, in_use, lock
from study.store.manifest import Manifest
from study.sweep import listing, runner
from study.sweep.display import meanwhile
from study.sweep.ending import Switches, finish, short, unused_gpus, where
from study.sweep.plan import mended, search_record
from study.sweep.plan.folder import against_folder
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan, git_commit
from study.sweep.plan.source import FixedList, Source
from study.sweep.preflight import preflight
from study.sweep.worker import fork_server, signals
from study.sweep.worker.listener import Options
from study.sweep.worker.monitor import gpu_count

if TYPE_CHECKING:
    from study.tracking import Tracker


def go(plan: Plan, options: Options, switches: Switches, again: str, out: Console, err: Console) -> int:
    """Run a sweep and return its exit status; UsageError before anything is started or written."""
    signals.way_on(f"\nInterrupted; what is finished is kept. Go on with:\n  {again}\n")
    try:
        return _go(plan, options, switches, again, out, err)
    except (KeyboardInterrupt, signals.Terminated) as stop:  # before it began, or after its end
        return _stopped(plan, again, err, stop)


def _stopped(plan: Plan, again: str, err: Console, stop: BaseException) -> int:
    """Say what is kept and how to go on; the exit status."""
    code = signals.leaving() or getattr(stop, "status", 130)
    count = len(layout.finished(plan.folder))
    on = f" Go on with:\n  {again}" if again else ""
    err.print(f"\nInterrupted: {count} of {plan.total} trials are finished and kept.{on}", markup=False)
    return code


def _go(plan: Plan, options: Options, switches: Switches, again: str, out: Console, err: Console) -> int:
    if not in_use(plan.folder):  # the copy of an S3 output belongs to the driver that works in it
        _pull(plan)
    plan, found = against_folder(plan, switches.resume, switches.retry_failed)
    options = replace(options, gpus_per_trial=plan.gpus_per_trial)
    from study import tracking

    uri = switches.tracking_uri or tracking.default_uri()
    preflight(plan, uri, switches.address, switches.in_process)
    left = set(plan.jobs) - set(layout.finished(plan.folder))
    left -= set() if switches.retry_failed else set(results.failures(plan.folder))
    err.print(where(switches), markup=False)
    workers = listing.expected_workers(plan, options.max_concurrent, switches.in_process, bool(switches.address))
    listing.show_plan(err, plan, False, workers=workers, pending=plan.total - len(plan.jobs) + len(left))
    if (spare := gpu_count()) and not plan.gpus_per_trial:
        err.print(f"Note: {spare} GPU(s) here stay unused; give --gpus-per-trial 0.25 to use them.")
    if found and found.commit != (commit := git_commit()):
        err.print(f"Note: {found.commit} began this folder and {commit} goes on; each table names its own commit.")
    if found and (earlier := mended.sentence(replace(found, earlier=plan.earlier))):
        err.print(f"Note: {earlier}; what is left is made with them as they are now.", markup=False)
    with _locked(plan, switches) if found else nullcontext((None, plan, None)) as (lease, plan, found):
        if found and search_record.complete(plan, found) and not runner.pending(plan, switches.retry_failed):
            err.print("Nothing left to run.")
            runner.restore_manifest(plan, found, True, lease, err)
            tracker = _tracker(plan, found, uri, plan.jobs)
            report = runner.outcome(plan)
            code = finish(plan, report, tracker, switches, again, out, err)
            _close(tracker, "FAILED" if report.failed else "FINISHED", plan.folder, plan.folder, err)
            _send_home(plan, uri, err)
            return code
    if found:  # accepted as it stood; a damaged table that was set aside above is no reason to ask for --resume
        switches = replace(switches, resume=True)
    own_ray = not switches.in_process and not switches.address
    with fork_server.shared() if own_ray else nullcontext():
        return _run(plan, options, switches, again, uri, out, err)


def _pull(plan: Plan) -> None:
    try:
        mirror.pull(plan.place)
    except places.Unavailable as error:
        raise UsageError(f"--output {error}") from None


@contextmanager
def _locked(plan: Plan, switches: Switches) -> Iterator[tuple[Lease | None, Plan, Manifest | None]]:
    """The output for this driver alone, and the plan against what stands there now: until the lock was had another
    driver may have gone on there."""
    with lock(plan.folder, plan.place) as lease:
        _pull(plan)
        yield lease, *against_folder(plan, switches.resume, switches.retry_failed)


def _run(
    plan: Plan,
    options: Options,
    switches: Switches,
    again: str,
    uri: str,
    out: Console,
    err: Console,
) -> int:
    workers = 1
    tracker = lease = None
    status = "KILLED"
    if not switches.in_process:
        from study.sweep.ray import backend, nodes
    try:
        if not switches.in_process:
            backend.connect(switches.address)
            if switches.address and isinstance(plan.place, Path):
                nodes.check_shared(plan.place)
            if switches.address and not plan.gpus_per_trial and (gpus := nodes.total("GPU")):
                err.print(unused_gpus(plan, gpus), markup=False)
            workers = backend.concurrency(options)
        with _locked(plan, switches) as (lease, plan, found):
            if ended := runner.clean_up(plan.place):
                err.print(f"Ended {len(ended)} processes that a killed driver of this folder had left.")
            manifest = runner.write_manifest(plan, found, lease=lease, command=again.removesuffix(" --resume"))
            if found and plan.earlier:
                mended.forget_failures(plan, found)
            jobs = runner.pending(plan, switches.retry_failed)
            tracker = _tracker(plan, manifest, uri, [n for n in plan.jobs if n not in jobs])
            source = _source(plan, manifest, jobs, lease)
            report = runner.run(
                plan, source, options, err, ray_backend=not switches.in_process, workers=workers, tracker=tracker
            )
            grown = replace(plan, jobs={**plan.jobs, **source.jobs})
            runner.restore_manifest(grown, manifest, source.over, lease, err)
            status = "FAILED" if report.failed else "KILLED" if report.out_of_time else "FINISHED"
            code = finish(plan, report, tracker, switches, again, out, err)
    except (KeyboardInterrupt, signals.Terminated) as stop:
        if lease and lease.lost:
            err.print(f"Another driver has taken over {plan.place}.", markup=False)
        code = _stopped(plan, "" if lease and lease.lost else again, err, stop)
    finally:
        with signals.held():
            if tracker:
                artifacts = plan.folder if status != "KILLED" or plan.folder.joinpath(layout.REPORT).exists() else None
                _close(tracker, status, plan.folder, artifacts, err)
                if not (lease and lease.lost):
                    _send_home(plan, uri, err)
            if not switches.in_process:
                backend.disconnect()
    return code


def _source(plan: Plan, manifest: Manifest, jobs: Mapping[str, Job], lease: Lease | None) -> Source:
    """The grid's pending jobs in order, or a search that begins with the pending ones of its points."""
    if plan.preset.search is None:
        return FixedList(jobs)
    from study.sweep.search.asking import Asking

    def keep(asking: Asking) -> None:
        runner.write_manifest(asking.grown(), manifest, complete=asking.over, lease=lease)

    return Asking(plan, manifest.sweep, jobs, keep)


def _tracker(plan: Plan, manifest: Manifest, uri: str, over: Iterable[str]) -> "Tracker":
    """The tracker of a sweep, given first the trials that were over before, which a lost store may lack."""
    from study import tracking

    tracker = tracking.Tracker(uri, plan.folder, manifest)
    for name in over:
        tracker.trial(name)
    return tracker


def _close(tracker: "Tracker", status: str, folder: Path, artifacts: Path | None, err: Console) -> None:
    quiet = status == "KILLED"  # the way on is the last word of a sweep that was stopped
    with nullcontext() if quiet else meanwhile(err, "Handing MLflow what it does not have yet"):
        problem = tracker.close(status, artifacts)
    if problem:
        from study.tracking.stores import rebuild_command

        said = f"MLflow did not take everything ({problem}). The results folder is complete; deliver the rest with: "
        err.print(f"{said}{rebuild_command(short(folder), tracker.uri)}", markup=False)


def _send_home(plan: Plan, uri: str, err: Console) -> None:
    """Copy what only the driver has (report, figures, journals, MLflow's SQLite) to an output in S3."""
    if isinstance(plan.place, Path):
        return
    from study import tracking

    try:
        if uri.startswith("sqlite:///"):
            mirror.copy_database(tracking.sqlite_file(uri), plan.folder / layout.DATABASE)
        mirror.push(plan.place)
    except places.Unavailable as error:
        err.print(f"Not everything of {plan.folder} could be copied ({error}).", markup=False)
