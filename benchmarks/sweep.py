"""Where the time of a sweep goes, and what running it on Ray costs against the same trials one after another.

    python -m benchmarks.sweep            # the laptop preset with two seeds, three times each way, interleaved
    python -m benchmarks.sweep --quick    # six trials, once each way, about a minute

Each run is a fresh process. Parallel efficiency is (seconds of the trials one after another in one process) /
(workers x seconds from the first trial's start to the last one's end on Ray); starting Ray and its workers is shown
beside it, and inside the efficiency of the whole command. Two cores seldom do twice the work of one (shared caches,
memory, hyper-threads), so the same is measured of two bare processes without Ray that take every second trial each:
what no scheduler can beat. Last come a thousand trials (a hundred) that do next to nothing: benchmarks/no_work.py.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from benchmarks import no_work
from benchmarks.common import Feeding, figure, show
from study.store import results
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.source import FixedList
from study.sweep.worker.listener import Options

KINDS = {
    "training": ("train_seconds",),
    "attack": ("robustness_seconds",),
    "statistics": ("structure_seconds", "accuracy_seconds", "prunability_seconds"),
    "data and model": ("load_seconds", "build_seconds", "factorize_seconds", "plant_seconds"),
}


def child(how: str, folder: Path, quick: bool) -> dict[str, float]:
    """Run the trials one way in this process; the seconds of each part."""
    seeds = (0,) if quick else (0, 1)
    overrides = {"alpha": "0,0.01,0.03", "rank": "full,16", "plant_rows": "0.5", "plant_spectrum": "1"} if quick else {}
    request = Request(study="compressibility_sweep", seeds=seeds, overrides=overrides, output=str(folder))
    plan = make_plan(request)
    out: dict[str, float] = {"trials": len(plan.jobs)}
    begin = time.time()
    if how == "ray":
        from study import tracking
        from study.sweep import runner
        from study.sweep.ray import backend

        backend.connect("")
        out["ray start"] = time.time() - begin
        manifest = runner.write_manifest(plan, None)
        tracker = tracking.Tracker(f"sqlite:///{folder.parent / f'{folder.name}.db'}", plan.folder, manifest)
        run = time.time()
        options = Options()
        out["workers"] = backend.concurrency(options)
        backend.run(FixedList(plan.jobs), options, Feeding(tracker))
        over = time.time()
        tracker.close()
        out["logging after the last trial"] = time.time() - over
        out["logging (processor time of the driver)"] = tracker.seconds
        backend.disconnect()
    else:
        from study.sweep.runner import in_process

        run = time.time()
        first, step = {"one": (0, 1), "even": (0, 2), "odd": (1, 2)}[how]
        in_process(FixedList(dict(list(plan.jobs.items())[first::step])), Options(), Feeding(None))
    out["whole"] = time.time() - begin
    trials = results.scan(folder)
    ends = [t.provenance["finished"] for t in trials.values()]
    starts = [t.provenance["finished"] - t.provenance["wall_seconds"] for t in trials.values()]
    out["actor start"] = min(starts) - run
    out["first start to last end"] = max(ends) - min(starts)
    out["began"], out["ended"] = min(starts), max(ends)
    out["peak memory of a worker"] = max(t.provenance["peak_memory_megabytes"] for t in trials.values())
    for kind, measures in KINDS.items():
        rows = [r for t in trials.values() for r in t.rows if r["measure"] in measures]
        out[kind] = sum(r["value"] for r in rows)
    return out


def _together(ways: tuple[str, ...], folder: str, quick: bool) -> dict[str, float]:
    """Run children at the same time; the first one's figures, with the earliest start and the latest end of all."""
    words = [sys.executable, "-m", "benchmarks.sweep", *(["--quick"] if quick else [])]
    running = [
        subprocess.Popen(
            [*words, "--child", how, "--folder", f"{folder}-{how}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for how in ways
    ]  # fmt: skip
    found = []
    for how, process in zip(ways, running, strict=True):
        out, err = process.communicate()
        lines = [line for line in out.splitlines() if line.startswith("RESULT ")]
        if not lines:
            sys.exit(f"the {how} run failed:\n{err}")
        found.append(json.loads(lines[0].removeprefix("RESULT ")))
    ends = {"began": min(f["began"] for f in found), "ended": max(f["ended"] for f in found)}
    return found[0] | ends


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="Fewer trials, once each way.")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
    child_: Annotated[str, Parameter(name="--child", show=False)] = "",
    folder: Annotated[Path, Parameter(show=False)] = Path(),
) -> None:
    """Measure where a sweep's time goes and its parallel efficiency."""
    if child_:
        print("RESULT " + json.dumps(child(child_, folder, quick)))
        return
    ray: list[dict[str, float]] = []
    one: list[dict[str, float]] = []
    pair: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(1 if quick else 3):
            for ways, found in ((("ray",), ray), (("one",), one), (("even", "odd"), pair)):
                found.append(_together(ways, f"{scratch}/{i}", quick))
                print(f"{' and '.join(ways)}, run {i + 1}: {found[-1]['whole']:.0f} s", file=sys.stderr)
        empty = no_work.figures(scratch, 100 if quick else 1000)
    figures = [
        figure(f"ray: {k}", [r[k] for r in ray], "MB" if "memory" in k else "s")
        for k in ray[0]
        if k not in ("trials", "workers", "began", "ended")
    ]
    figures += [figure(f"one process: {k}", [r[k] for r in one], "s") for k in ("first start to last end", *KINDS)]
    inner = [
        b["first start to last end"] / (a["workers"] * a["first start to last end"])
        for a, b in zip(ray, one, strict=True)
    ]
    bare = [b["first start to last end"] / (2 * p["ended"] - 2 * p["began"]) for p, b in zip(pair, one, strict=True)]
    whole = [b["whole"] / (a["workers"] * a["whole"]) for a, b in zip(ray, one, strict=True)]
    figures.append(figure("trials", [r["trials"] for r in ray], "trials"))
    figures.append(figure("parallel efficiency", inner, "ratio", 0.85))
    figures.append(figure("parallel efficiency of two bare processes", bare, "ratio"))
    figures.append(
        figure("parallel efficiency over theirs", [a / b for a, b in zip(inner, bare, strict=True)], "ratio")
    )
    figures.append(figure("parallel efficiency, starting included", whole, "ratio"))
    show([*figures, *empty], json_)


if __name__ == "__main__":
    cyclopts.run(main)
