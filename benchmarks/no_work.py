"""Trials that do next to nothing, one after another on one actor: what the machinery itself costs, and how it grows.

Called by `python -m benchmarks.sweep`. A gap is the time from a trial's end to the next one's start: publication,
Tune's round through the driver, and the new attempt; with tracking MLflow's thread works in the same driver meanwhile.
"""

import itertools
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import Feeding, Figure, figure
from study.store import results
from study.sweep import runner
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.source import FixedList
from study.sweep.worker.listener import Options

SMALLEST = {"rows": "2", "columns": "2", "ascent_steps": "1", "ascended_norm": "linf"}
GAP, EXTRA = 30.0, 10.0  # milliseconds: goals on an idle machine with two cores


def child(folder: Path, trials: int, tracked: bool) -> dict[str, Any]:
    """Run them in this process's own Ray: every gap in milliseconds, and the driver's peak memory in megabytes."""
    from study import tracking
    from study.sweep.ray import backend

    plan = make_plan(
        Request(study="operator_norm_study", seeds=tuple(range(trials)), overrides=SMALLEST, output=str(folder))
    )
    jobs = dict(list(plan.jobs.items())[:trials])
    backend.connect("")
    manifest = runner.write_manifest(plan, None)
    uri = f"sqlite:///{folder.parent / f'{folder.name}.db'}"
    tracker = tracking.Tracker(uri, plan.folder, manifest) if tracked else None
    backend.run(FixedList(jobs), Options(max_concurrent=1), Feeding(tracker))
    problem = tracker.close() if tracker else ""
    backend.disconnect()
    if problem:
        raise RuntimeError(problem)
    ends = sorted((t.provenance["finished"], t.provenance["wall_seconds"]) for t in results.scan(folder).values())
    gaps = [1e3 * (end - wall - before) for (before, _), (end, wall) in itertools.pairwise(ends)]
    return {"gaps": gaps, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def figures(scratch: str, trials: int) -> list[Figure]:
    """Both ways, each in a fresh process: the gap, what tracking adds, growth from the first hundred to the last."""
    found = {}
    for tracked in (False, True):
        words = [f"{scratch}/empty-{tracked}", str(trials), str(int(tracked))]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.no_work", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"the trials without work failed:\n{done.stderr}")
        found[tracked] = json.loads(done.stdout.splitlines()[-1])
    out = []
    for tracked, record in found.items():
        gaps, name = record["gaps"], "with tracking" if tracked else "without tracking"
        part = min(100, len(gaps) // 2)
        growth = statistics.median(gaps[-part:]) / statistics.median(gaps[:part])
        out.append(figure(f"no work: gap {name}", gaps, "ms", None if tracked else GAP))
        out.append(figure(f"no work: last gaps over first {name}", [growth], "ratio", 1.0))
        out.append(figure(f"no work: peak memory of the driver {name}", [record["megabytes"]], "MB"))
    extra = statistics.median(found[True]["gaps"]) - statistics.median(found[False]["gaps"])
    return [*out, figure("no work: tracking adds to a gap", [extra], "ms", EXTRA)]


if __name__ == "__main__":
    print(json.dumps(child(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1")))
