"""What is said and kept at a sweep's end: report, the front's models, the summary, what to type next, exit status."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from study.spec import datasets
from study.spec.errors import brief, of_a_function, told, without_secrets
from study.store import layout
from study.sweep import runner
from study.sweep.display import meanwhile
from study.sweep.plan.costs import duration
from study.sweep.plan.plan import Plan

if TYPE_CHECKING:
    from study.tracking import Tracker


@dataclass(frozen=True, kw_only=True)
class Switches:
    """How the sweep runs, where it does not change what it finds."""

    resume: bool = False
    retry_failed: bool = False
    in_process: bool = False
    address: str = ""
    tracking_uri: str = ""
    json: bool = False


def unused_gpus(plan: Plan, gpus: float) -> str:
    """What to say when a cluster has GPUs and the preset is not made for them."""
    made = [f"--preset {name}" for name, preset in plan.study.presets.items() if preset.gpus_per_trial]
    others = " or ".join([*made, "--gpus-per-trial 0.25"])
    return f"Note: the {gpus:g} GPU(s) of this cluster stay unused by the preset {plan.preset_name}; give {others}."


def where(switches: Switches) -> str:
    """The first line: on what the trials will run."""
    if switches.in_process:
        return "In this process, one trial after another."
    return f"Ray: the cluster at {switches.address}" if switches.address else f"Ray: a local one, {os.cpu_count()} CPUs"


def finish(
    plan: Plan,
    report: runner.Report,
    tracker: "Tracker",
    switches: Switches,
    again: str,
    out: Console,
    err: Console,
) -> int:
    """Write the report, keep the front's models, print the summary and say what to type next; the exit status."""
    from analysis import report as reports
    from study.tracking import ui_command

    uri = tracker.uri
    address = short(plan.place) if isinstance(plan.place, Path) else str(plan.place)
    data = datasets.folder(plan.data, plan.data_dir)
    data_dir = short(Path(data)) if data else ""
    with meanwhile(err, f"Writing the report of {report.finished} trials"):
        summary = reports.write(plan.folder, address, data_dir, plan.study.claims, plan.study.figures)
    if not report.out_of_time:  # a search that goes on has another front
        keep_models(plan, [model["trial"] for model in summary.front if model["weights"]], tracker, err)
    floor = plan.preset.search["floor"] if plan.preset.search else 0
    empty = bool(floor and summary.no_front and not report.out_of_time and not report.lost)
    if switches.json:
        record = {
            "folder": str(plan.folder),
            "output": str(plan.place),
            "trials": report.total,
            "finished": report.finished,
            "diverged": report.diverged,
            "failed": report.failed,
            "lost": 0 if report.out_of_time else report.lost,
            "out_of_time": report.out_of_time,
            "seconds": round(report.seconds, 1),
            "claims": summary.claims,
            "unjudged": summary.unjudged,
            "front": summary.front,
            "no_front": summary.no_front,
            "chosen": summary.chosen,
            "given": summary.given,
            "levels": summary.levels,
            "published": summary.published,
            "matched": summary.matched,
            "tracking_uri": without_secrets(uri),
        }
        print(json.dumps(record, indent=1))
    else:
        out.print()
        out.print(summary.text(), markup=False)
        counts = f"{report.finished} of {report.total} trials finished"
        counts += f" ({report.diverged} diverged)" if report.diverged else ""
        counts += f", {len(report.failed)} failed" if report.failed else ""
        out.print(f"\n{counts}{f' in {duration(report.seconds)}' if report.seconds else ''}.", markup=False)
        for name, cause in list(report.failed.items())[:5]:
            out.print(f"  {name}: {cause}; log: {plan.folder / layout.note_name(name)}", markup=False)
        if report.failed:
            retry = again if "--retry-failed" in again else f"{again} --retry-failed"
            out.print(f"  run them again with: {retry}", markup=False)
        if report.out_of_time:
            out.print(f"The time budget is used up; go on with: {again}", markup=False)
        elif report.lost:
            out.print(f"  {report.lost} ended without a result or a cause; go on with: {again}", markup=False)
        if empty:
            out.print("Give a lower floor (--set floor=), or train longer in another --output", markup=False)
        if summary.front:
            out.print(f"Front:   {short(plan.folder / layout.FRONT)}", markup=False)
        out.print(f"Report:  {short(plan.folder / layout.REPORT)}", markup=False)
        out.print(f"Compare: {ui_command(uri, tracker.experiment)}", markup=False)
    return 1 if report.lost and not report.out_of_time else 3 if report.failed else 4 if empty else 0


def keep_models(plan: Plan, trials: list[str], tracker: "Tracker", err: Console) -> None:
    """Log the nets of finished trials as MLflow models; one that cannot be exported is named and left out."""
    from study.sweep import evaluate

    for count, trial in enumerate(trials, 1):
        if tracker.has_model(trial):
            continue
        with err.status(f"Exporting the front's models to MLflow: {count} of {len(trials)}"):
            try:
                tracker.model(trial, *evaluate.net(plan.folder, trial, datasets.folder(plan.data, plan.data_dir)))
            except BaseException as error:  # torch.export raises many kinds, a user's net whatever it likes
                if not of_a_function(error):
                    raise
                err.print(f"The net of trial {trial} was not logged as an MLflow model: {brief(told(error))}")


def short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
