"""What large folders and plans cost: processor seconds and peak memory of commands, each in a process of its own.

    python -m benchmarks.load               # 5000 trials for status, 100 000 rows for report, a plan of 100 000 points
    python -m benchmarks.load --quick       # a tenth of each
    python -m benchmarks.load --before DIR  # the same of another checkout in turn, and how many times as much it took

The tables are those of one trial of compressibility_sweep, published under the names that were asked for. Processor
seconds, not wall seconds, start-up included: they hardly depend on what else the machine does.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from benchmarks.common import Figure, figure, show
from study.spec.knobs import AXES
from study.store import layout, results
from study.store.manifest import ArmRecord, Manifest

ROWS = 300  # of a trial of the laptop preset: 227 to 370
LEVELS = tuple(i / 100 for i in range(10))
GOALS = {"status": 2.0, "report": 30.0, "dry run": 10.0}  # CPU seconds at full size
SERVER = "torch._dynamo, study.sweep.worker.attempt"  # as study.sweep.worker.fork_server does
MOST = {"status": 200.0}  # MB


def make(folder: Path, trials: int) -> None:
    """A folder of finished trials, ten levels of alpha and as many seeds as it takes."""
    arm = ArmRecord(name="neuron", family="regularization", axes={"alpha": LEVELS})
    off = {name: knob.default for name, knob in AXES.items()}
    names = tuple(f"{i:016x}" for i in range(trials))
    made = Manifest(
        name="compressibility_sweep", data="digits", model="fcn", settings={"eps_linf": [0.1], "eps_l2": [0.5]},
        arms=(arm,), seeds=tuple(range(-(-trials // len(LEVELS)))), trials=names, axes_off=off, preset="laptop",
        claims=("A-i-neuron", "A-cross-neuron"),
    )  # fmt: skip
    (folder / layout.TRIALS).mkdir(parents=True)
    (folder / layout.STUDY).write_text(json.dumps(made.record()))
    provenance = {"finished": 1.7e9, "wall_seconds": 10.0, "cpu_seconds": 10.0, "device": "cpu"}
    for i, name in enumerate(names):
        seed, level = divmod(i, len(LEVELS))
        identity = off | {"study": made.name, "family": arm.family, "trial": name, "seed": seed, "status": "ok",
                          "data": "digits", "model": "fcn", "alpha": LEVELS[level], "deterministic": True}  # fmt: skip
        shake = (seed * 7919 % 101) / 1000
        judged: list[dict[str, Any]] = [
            {"measure": "clean_accuracy", "split": "test", "n": 360, "value": 0.95 - shake},
            {"measure": "compressibility", "layer": "mean", "norm": "linf", "value": 0.3 + LEVELS[level] + shake},
            *({"measure": m, "attack": "native/apgd@3", "norm": norm, "eps": eps, "split": "test", "n": 360,
               "value": 0.8 - LEVELS[level] - shake}
              for norm, eps in (("linf", 0.1), ("l2", 0.5)) for m in ("robust_accuracy", "relative_robust_accuracy")),
        ]  # fmt: skip
        judged += [{"measure": "train_loss", "step": float(s), "value": 1 / (1 + s)} for s in range(ROWS - len(judged))]
        layout.trial_path(folder, name).write_bytes(results.encode([{**identity, **r} for r in judged], provenance))


def cost(words: list[str], checkout: Path, scratch: str) -> tuple[float, float]:
    """Processor seconds and peak megabytes of one command of a checkout; without words, of what a worker's server of
    trials imports before the first can begin."""
    launch = (
        "try:\n    runpy.run_module('study.launch', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
    )
    code = "\n".join(
        [
            "import json, resource, runpy, sys, os",
            "sys.stdout = open(os.devnull, 'w')",
            launch if words else f"import {SERVER}",
            "u = resource.getrusage(resource.RUSAGE_SELF)",
            "print(json.dumps([u.ru_utime + u.ru_stime, u.ru_maxrss / 1e3]), file=sys.__stdout__)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=scratch, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stderr}")
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="A tenth of each size.")] = False,
    before: Annotated[Path | None, Parameter(help="Another checkout, measured in turn with this one.")] = None,
    only: Annotated[str, Parameter(help="One of these: status, report, dry run.")] = "",
    repeats: Annotated[int, Parameter(help="How often each command is run.")] = 3,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> None:
    """Measure status, report and --dry-run at size."""
    part = 10 if quick else 1
    checkouts = {"": Path(__file__).resolve().parent.parent} | ({"before: ": before.resolve()} if before else {})
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"status": 5000 // part, "report": 100_000 // ROWS // part}
        for name, trials in folders.items():
            if only in ("", name):
                make(Path(scratch, name), trials)
        seeds = str(1000 // part)
        alphas = ",".join(str(i / 1000) for i in range(88))
        commands = {
            "status": ["status", f"{scratch}/status"],
            "report": ["report", f"{scratch}/report"],
            "imports of a worker's server": [],
            "dry run": ["compressibility_sweep", "--dry-run", "--set", f"alpha={alphas}", "--seeds", seeds],
        }
        taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(repeats):
            for name, words in commands.items():
                for which, checkout in checkouts.items():
                    if only in ("", name):
                        taken.setdefault((which, name), []).append(cost(words, checkout, scratch))
    figures: list[Figure] = []
    for (which, name), found in taken.items():
        goals = (None, None) if which or quick else (GOALS.get(name), MOST.get(name))
        figures.append(figure(f"{which}{name}: CPU", [s for s, _ in found], "s", goals[0]))
        figures.append(figure(f"{which}{name}: peak memory", [m for _, m in found], "MB", goals[1]))
        if which:
            ratios = [b / a for (b, _), (a, _) in zip(found, taken["", name], strict=True)]
            figures.append(figure(f"{name}: CPU before over now", ratios, "ratio"))
    show(figures, json_)


if __name__ == "__main__":
    cyclopts.run(main)
