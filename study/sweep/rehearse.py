"""`--rehearse`: one step of every kind of trial of a study's preset, each in a process of its own, as a table.

Nothing is written but the files that are asked for: the record that `--list` and `--dry-run` read, a page.
"""

import json
import os
import platform
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from study.spec.config import Load, Trial
from study.spec.errors import UsageError
from study.spec.identity import canonical_trial
from study.spec.rehearsal import described, small
from study.sweep.plan import rehearsed
from study.sweep.plan.catalogue import find_study, study_names
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan
from study.sweep.plan.request import Request, make_plan

MOST_BYTES = 24_000_000_000
MOST_SECONDS = 3600.0  # of one kind: the largest transformers take more than 900 on one core
CODE = "import sys; sys.path[:] = {path!r}; from study.sweep.rehearsal import serve; serve()"
COLUMNS = ("study", "preset", "arms", "trial", "model", "data", "parameters", "batch", "training step (s)",
           "attack step (s)", "measures (s)", "peak memory (MB)", "result")  # fmt: skip
INTRODUCTION = """# Rehearsals: one step of everything, at the published size

Every study's preset `paper` (of a study without one, its largest preset) at its real architectures and input sizes,
with random weights and made-up images of the true shape and class count: of each distinct kind of trial one training
step, one attack step, every measure on two images, the weights saved and loaded (the same logits). Nothing here says
anything about robustness. It says that the code of these presets runs, what a step takes, and that memory suffices.

    {command}

{machine}, CPU, {threads}, torch {torch}, {date}; seconds are the processor's; those of a
line with * are a wall clock's on a machine busy with other work, some times too long, and no estimate uses them.

A *kind* is one sequence of stages and measures with one architecture and
batch size; strengths, ranks and seeds do not count, and of the trials of a kind the longest by estimate stands for it.
`batch` is the preset's batch size, or `n of batch` where a whole batch would take more than about 20 s or half the
memory: the step then has n images. An adversary of training makes one step; where there are two trainings, both stand
there. `attack step` is a forward pass and the gradient to the images, of as many. Peak memory is the whole process's,
PyTorch included; the limit is 24 GB.
"""


class Server:
    """Where trials are rehearsed: a process that forks one for each, and is replaced when one has taken too long."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._process: subprocess.Popen[str] | None = None

    def ask(self, trial: Trial) -> dict[str, Any]:
        """What was found of a trial that is made small; an error where its process ended before, or too late."""
        roots = [stage.root for stage in trial.stages if isinstance(stage, Load)]
        given = {"trial": canonical_trial(trial), "roots": roots, "most_bytes": MOST_BYTES, "threads": self.threads}
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
            late = not select.select([process.stdout], [], [], MOST_SECONDS)[0]
            answer = "" if late else process.stdout.readline()
        except BrokenPipeError:
            late, answer = False, ""
        if not answer:
            self.end()
            error = f"took more than {MOST_SECONDS:.0f} s" if late else "its process and its server ended by themselves"
            return {"peak_megabytes": 0.0, "error": error}
        found: dict[str, Any] = json.loads(answer)
        if not found["error"] and found["peak_megabytes"] * 1e6 > MOST_BYTES:
            found["error"] = f"needs {found['peak_megabytes']:.0f} MB"
        return found

    def end(self) -> None:
        """End the server, and with it what it has forked."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> "subprocess.Popen[str]":
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(self.threads)}
        return subprocess.Popen(
            [sys.executable, "-c", CODE.format(path=sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip


def go(request: Request, named: str, files: str, as_json: bool, out: Console, err: Console) -> int:
    """Rehearse the study and preset of a request (all studies without one, or with `all`; by default the preset paper,
    or the largest) and print the table; 1 if any kind fails, else 0.

    `files`: where it is to be written, with commas between: NAME.json the record, to whose other studies it is added,
    NAME.md the page (of the whole record, where one is written too). UsageError for another name.
    """
    paths = _paths(files)
    names = study_names() if request.study in ("", "all") else [request.study]
    if len(names) > 1 and (request.overrides or request.data or request.model or named):
        raise UsageError("--rehearse of all studies takes none of --preset, --set, --data and --model; name one study")
    lines: list[dict[str, Any]] = []
    cache: dict[str, dict[str, Any]] = {}
    server = Server(max(1, int(request.cpus_per_trial)))
    try:
        for name in names:
            preset = named or _largest(name)
            plan = make_plan(replace(request, study=name, preset=preset), need_data=False)
            for line in _lines(plan, server, cache):
                lines.append(line)
                said = f"ok, {line['peak_megabytes']:.0f} MB" if not line["error"] else line["error"]
                err.print(f"{name} ({preset}), {', '.join(line['arms'])}: {said}", markup=False)
    finally:
        server.end()
    found = _facts(server.threads) | {"entries": lines}
    for path in paths:
        if path.suffix == ".json":
            found = _merged(rehearsed.read(path), found)
            path.write_text(json.dumps(found, indent=1) + "\n")
    for path in paths:
        if path.suffix == ".md":
            path.write_text(page(found, files))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        out.print(table(lines), markup=False, soft_wrap=True)
    return 1 if any(line["error"] for line in lines) else 0


def _paths(files: str) -> list[Path]:
    paths = [Path(part.strip()) for part in files.split(",") if part.strip()]
    for path in paths:
        if path.suffix not in (".json", ".md") or not path.resolve().parent.is_dir():
            raise UsageError(f"--output {path}: a rehearsal is written to FILE.json or FILE.md in a folder that exists")
    return sorted(paths, key=lambda path: path.suffix)


def _largest(name: str) -> str:
    presets = list(find_study(name).presets)
    return "paper" if "paper" in presets else presets[-1]


def _lines(plan: Plan, server: Server, cache: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for kind in rehearsed.kinds(plan):
        trial = small(kind.job.trial)
        form = json.dumps(canonical_trial(trial), sort_keys=True)
        if form not in cache:
            cache[form] = server.ask(trial)
        yield {
            "study": plan.study.name,
            "preset": plan.preset_name,
            "arms": list(kind.arms),
            "kind": kind.name,
            "trial": described(kind.job.trial),
            "model": _model(plan, kind.job),
            "data": plan.configuration()["data"],
        } | cache[form]


def _model(plan: Plan, job: Job) -> str:
    s = {**plan.settings, **job.axes}
    sizes = {"fcn": f" {s['depth']} x {s['width']}", "vit": f" {s['depth']} x {s['width']}"}
    return plan.model + sizes.get(plan.model, "") if plan.data else f"{s['rows']} x {s['columns']} matrix"


def _facts(threads: int) -> dict[str, Any]:
    from importlib.metadata import version

    machine = f"{os.cpu_count()}-core {platform.machine().replace('_', '-')}"
    return {"machine": machine, "threads": threads, "torch": version("torch").partition("+")[0],
            "date": time.strftime("%Y-%m-%d", time.gmtime())}  # fmt: skip


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The new record with the old one's entries of other studies, presets and data; facts of the newest."""
    known = {_of(e) for e in new["entries"]}
    kept = [e for e in old["entries"] if _of(e) not in known]
    return {**new, "entries": sorted(kept + new["entries"], key=_of)}


def _of(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["study"], entry["preset"], entry.get("data") or ""


def cells(entry: Mapping[str, Any]) -> list[str]:
    """An entry as the table's columns have it."""
    trainings = entry.get("trainings", [])
    steps = [t["seconds"] for t in trainings] or ([entry["ascent_seconds"]] if "ascent_seconds" in entry else [])
    batches = [f"{t['batch']}" if t["images"] == t["batch"] else f"{t['images']} of {t['batch']}" for t in trainings]
    attack, measured, peak = (entry.get(k) for k in ("attack_seconds", "measure_seconds", "peak_megabytes"))
    return [
        entry["study"],
        entry["preset"],
        ", ".join(entry["arms"]),
        entry["trial"] or "-",
        entry["model"],
        entry["data"] or "-",
        f"{entry['parameters']:,}" if "parameters" in entry else "-",
        ", ".join(batches) or "-",
        ", ".join(f"{s:.3g}" for s in steps) or "-",
        f"{attack:.3g}" if attack else "-",
        f"{measured:.3g}{'' if entry.get('clock') == 'processor' else '*'}" if measured is not None else "-",
        f"{peak:.0f}" if peak else "-",
        entry["error"] or "ok",
    ]


def table(entries: list[dict[str, Any]]) -> str:
    """The entries in columns, as a terminal shows them."""
    lines = [list(COLUMNS), *map(cells, entries)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def page(found: Mapping[str, Any], files: str) -> str:
    """docs/rehearsal.md: what it is, the command, the machine, the table."""
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    command = f"python -m study.launch all --rehearse --output {files}"
    head = INTRODUCTION.format(command=command, **{**found, "threads": threads})
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(cells, found["entries"])]
    return head + "\n" + "".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |\n" for line in lines)
