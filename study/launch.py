"""The command line: `python -m study.launch STUDY`, and `status`, `report`, `evaluate` and `export` of a folder.

Imports neither torch nor Ray until a sweep really starts.
"""

import sys

if __name__ == "__main__":  # a signal that comes during the imports below ends with its own status too
    from study.sweep.worker import signals

    signals.end_at_once("\nInterrupted before anything was begun; give the same command again.\n")

import errno
import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from study import __version__
from study.spec import datasets
from study.spec.errors import UsageError, cut
from study.store import layout, mirror, places, results
from study.store.manifest import Manifest, absent, read_manifest
from study.sweep import completion, listing, typed
from study.sweep import status as told
from study.sweep.console import Discreet, prepare
from study.sweep.plan.catalogue import study_names
from study.sweep.plan.job import seconds_from_environment
from study.sweep.plan.request import Request, make_plan
from study.sweep.worker import signals
from study.sweep.worker.listener import Options

OK, UNEXPECTED, USAGE, FAILED_TRIALS = 0, 1, 2, 3
LONGEST = 20_000  # characters of a message
OF_A_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE}


app = App(
    suppress_keyboard_interrupt=False,  # it would leave without a word
    name="study",
    help="Sweeps that find out what compression does to adversarial robustness.",
    version=__version__,
    default_parameter=Parameter(show_default=False, negative=""),
    help_on_error=False,
    result_action="return_value",
)
app.register_install_completion_command(name="--install-completion")
out, err = Discreet(), Discreet(stderr=True)


@app.default
def sweep(
    study: Annotated[
        str, Parameter(help=f"Study to run: {', '.join(study_names())}.", completer=completion.studies)
    ] = "",
    *,
    list_: Annotated[bool, Parameter(name="--list", help="Show the studies: question, rows, cost.")] = False,
    preset: Annotated[
        str, Parameter(help="Scale: smoke, laptop (default) or paper.", completer=completion.presets)
    ] = "",
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name=["--set", "-S"], help="KNOB=V, or KNOB=V1,V2 for an axis; may be repeated.", completer=completion.knobs
        ),
    ] = (),
    seeds: Annotated[str, Parameter(help="How many seeds (5), or which ones (0,3,7).")] = "",
    data: Annotated[str, Parameter(help=f"Data set: {datasets.ACCEPTED}.")] = "",
    data_dir: Annotated[str, Parameter(help="Folder of the data sets, in torchvision's layout.")] = "",
    download: Annotated[bool, Parameter(help="Fetch the data set into --data-dir first.")] = False,
    model: Annotated[str, Parameter(help=f"Model: {', '.join(datasets.MODELS)} or package:function.")] = "",
    weights: Annotated[
        str, Parameter(help="Weights to begin with: a file (.pt, .safetensors; FILE#NAME), or a library's name.")
    ] = "",
    normalization: Annotated[str, Parameter(help="What images are normalised by: dataset, none, or MEAN/STD.")] = "",
    output: Annotated[
        str,
        Parameter(help="Folder or s3://BUCKET/PREFIX; default STUDY_OUTPUT (or results)/STUDY-PRESET."),
    ] = "",
    dry_run: Annotated[bool, Parameter(help="Show the trials, time, disk and cost; start nothing.")] = False,
    rehearse: Annotated[
        bool,
        Parameter(
            help="Try one step of every kind of trial of a study's preset paper (no STUDY, or all: of every study) on "
            "made-up data of the true size; --output FILE.json,FILE.md keeps the table."
        ),
    ] = False,
    resume: Annotated[bool, Parameter(help="Go on in the output folder; extends its seeds and axes.")] = False,
    retry_failed: Annotated[bool, Parameter(help="Run the failed trials again.")] = False,
    in_process: Annotated[bool, Parameter(help="Run in this process, without Ray.")] = False,
    address: Annotated[str, Parameter(help="Ray cluster; default RAY_ADDRESS, else a local Ray.")] = "",
    cluster: Annotated[str, Parameter(help="Run as a job on this cluster (file, or http://HOST:PORT).")] = "",
    cpus_per_trial: Annotated[float, Parameter(help="CPUs of a trial; fractions are fine.")] = 1.0,
    gpus_per_trial: Annotated[float | None, Parameter(help="GPUs of a trial; default by preset.")] = None,
    max_concurrent: Annotated[int, Parameter(help="Most trials at once; 0 = as many as fit.")] = 0,
    time_budget: Annotated[str, Parameter(help="Stop cleanly after 90s, 10m or 2h.")] = "",
    warm_start: Annotated[str, Parameter(help="Earlier results (folders, s3://) that a search learns from.")] = "",
    search_storage: Annotated[str, Parameter(help="Database URL of a search's Optuna study; default a journal.")] = "",
    keep_weights: Annotated[bool, Parameter(help="Keep every trial's net, for `export` and `evaluate`.")] = False,
    tracking_uri: Annotated[str, Parameter(help="MLflow store; default sqlite:///mlflow.db here.")] = "",
    json_: Annotated[bool, Parameter(name="--json", help="Data as JSON on stdout, the rest on stderr.")] = False,
) -> int:
    """Run a study: train, attack and measure every point, track it in MLflow, and write a report."""
    if list_:
        listing.show(out, json_)
        return OK
    if not study and not rehearse:
        raise UsageError(f"which study? Studies: {', '.join(study_names())}. Or --list, or --help.")
    options = Options(
        cpus_per_trial=typed.positive("--cpus-per-trial", cpus_per_trial),
        max_concurrent=int(typed.positive("--max-concurrent", max_concurrent, zero=True)),
        time_budget=typed.seconds(time_budget),
        hang_seconds=seconds_from_environment("STUDY_HANG_SECONDS", Options.hang_seconds),
    )
    gpus = None if gpus_per_trial is None else typed.positive("--gpus-per-trial", gpus_per_trial, zero=True)
    request = Request(
        study=study,
        preset=preset or "laptop",
        overrides=typed.overrides(set_) | typed.net(weights, normalization),
        seeds=typed.seeds(seeds),
        data=data,
        data_dir=typed.data_dir(data_dir),
        model=model,
        output="" if rehearse else output or typed.default_output(study, preset or "laptop"),
        cpus_per_trial=cpus_per_trial,
        search_storage=search_storage,
        warm_start=tuple(part.strip() for part in warm_start.split(",") if part.strip()),
        gpus_per_trial=gpus,
        keep_weights=keep_weights,
    )
    if rehearse:
        from study.sweep import rehearse as rehearsals

        return rehearsals.go(request, preset, output, json_, out, err)
    address = address or os.environ.get("RAY_ADDRESS", "")
    plan = make_plan(request, need_data=not (dry_run or download or cluster), need_warm_start=not cluster, look=dry_run)
    if dry_run:
        workers = listing.expected_workers(plan, options.max_concurrent, in_process, bool(address))
        listing.show_plan(out, plan, json_, workers=workers, points=True)
        return OK
    if cluster:
        from study.sweep.ray import cluster as clusters

        listing.show_unjudged(err, plan)
        return clusters.go(cluster, plan, sys.argv[1:], out, err)
    if download:
        from study.nets.data import download as fetch

        for name in (plan.data, *plan.sources):  # data of a pretraining too
            fetch(name, plan.data_dir)
        plan = make_plan(request)
    from study.sweep import go as sweeps

    return sweeps.go(
        plan,
        options,
        sweeps.Switches(
            resume=resume,
            retry_failed=retry_failed,
            in_process=in_process,
            address=address,
            tracking_uri=tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", ""),
            json=json_,
        ),
        typed.again(sys.argv[1:]),
        out,
        err,
    )


@app.command
def status(directory: str, *, json_: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """What is done, running, failed (cause, log), what it cost so far, and what is left, in a folder or in S3."""
    told.show(out, directory, *_results(directory, all_known=False), json_)
    return OK


def _results(output: str, all_known: bool = True) -> tuple[Path, Manifest]:
    """The folder to read an output in (its copy, if it is in S3) and its manifest; UsageError when it has none, or,
    where they must be `all_known`, when a newer version wrote one of its tables."""
    try:
        folder = mirror.local(output)
    except places.Unavailable as error:
        raise UsageError(str(error)) from None
    if (found := read_manifest(folder)) is None:
        raise UsageError(f"{output} {absent(folder)}")
    if all_known:
        results.refuse_newer(folder)
    return folder, found


@app.command
def report(
    *directories: str,
    csv: Annotated[Path | None, Parameter(help="Also write the tidy table of all folders to this CSV file.")] = None,
    data_dir: Annotated[str, Parameter(help="Folder of the data, for the commands of a search's front.csv.")] = "",
    study: Annotated[str, Parameter(help="Your own study, package:NAME, whose claims and figures it shows.")] = "",
) -> int:
    """Write report.html of each results folder again from its table; compare several folders in one table."""
    if not directories:
        raise UsageError("which folder? give one or more results folders")
    found = [_results(directory) for directory in directories]
    if csv and (csv.is_dir() or not csv.resolve().parent.is_dir()):
        raise UsageError(f"--csv {csv}: give a file in a folder that exists")
    from analysis import report as reports

    for directory, (folder, manifest) in zip(directories, found, strict=True):
        summary = reports.write(folder, directory, data_dir, *typed.declared(manifest, study, err))
        mirror.push(places.at(directory), folder)
        out.print(summary.text(), markup=False)
        out.print(f"Report: {folder / layout.REPORT}", markup=False)
    if csv:
        results.to_csv(results.read(*(folder for folder, _ in found)), csv)
        out.print(f"Table:  {csv}", markup=False)
    return OK


@app.command
def evaluate(
    directory: str,
    trial: str,
    *,
    data_dir: Annotated[str, Parameter(help="Folder of the data sets, or the image folder itself.")] = "",
    retrain: Annotated[bool, Parameter(help="Train again, where the weights are kept too.")] = False,
) -> int:
    """Measure a finished trial again and compare with its table: exit status 0 if every number is equal, else 1.

    Accuracies have 95 % intervals (Wilson's) over further images of the same kind, for this one net.
    """
    folder, _ = _results(directory)
    from study.sweep import evaluate as evaluation

    found = evaluation.again(folder, trial, typed.data_dir(data_dir), retrain)
    evaluation.show(out, found)
    return OK if found.equal else UNEXPECTED


@app.command
def export(
    directory: str,
    trial: str,
    *,
    to: Annotated[Literal["onnx", "safetensors", "torch"], Parameter(help="Kind of file.")],
    out_: Annotated[str, Parameter(name="--out", help="The file; default TRIAL.onnx, .safetensors or .pt here.")] = "",
    data_dir: Annotated[str, Parameter(help="Folder of the data sets, or the image folder itself.")] = "",
    force: Annotated[bool, Parameter(help="Write over a file that is there.")] = False,
    retrain: Annotated[bool, Parameter(help="Train it again, for weights that were not kept.")] = False,
) -> int:
    """Write a finished trial's net to a file: an ONNX program, or packed weights (study.exported reads them)."""
    folder, _ = _results(directory)
    from study.sweep.export import go as exports

    return exports.go(folder, trial, to, out_, typed.data_dir(data_dir), force, retrain, out)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 to 4, or 130, 143, 129 after Ctrl-C, SIGTERM, SIGHUP."""
    prepare()
    with signals.handled():
        code = _main(argv)
    if argv is None:
        signals.over(code)
    return code


def _main(argv: list[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    try:
        return int(app(argv, exit_on_error=False, print_error=False, console=out) or 0)
    except CycloptsError as error:
        text = typed.usage_text(error, words, err)
        err.print(f"study: {text}", markup=False, style="red" if err.is_terminal else None)
    except UsageError as error:
        said = cut(str(error), LONGEST)  # of a user's function it may hold whatever that has raised
        err.print(f"study: {said}", markup=False, style="red" if err.is_terminal else None)
    except places.Unavailable as error:
        err.print(f"study: {error}{typed.goes_on(words)}", markup=False)
        return UNEXPECTED
    except OSError as error:
        where = error.filename or "the results folder"
        if error.errno in OF_A_NAME:
            err.print(f"study: {str(where)[:100]}: {error.strerror}", markup=False)
            return USAGE
        if error.errno not in OF_THE_DISK:
            raise
        full = error.errno == errno.ENOSPC
        cause = f"the disk of {where} is full" if full else f"{where}: {error.strerror}"
        err.print(f"study: {cause}{typed.goes_on(words, full)}", markup=False)
        return UNEXPECTED
    except (KeyboardInterrupt, signals.Terminated) as stop:  # a sweep that has begun says more itself
        err.print("study: interrupted", markup=False)
        return signals.leaving() or getattr(stop, "status", 130)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
