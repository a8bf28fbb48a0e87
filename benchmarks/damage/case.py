"""A case: what is made ready, what is typed, what must hold afterwards; its faults, each in a line."""

import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.damage.forks import Ended, forked

TRACEBACK, HANG, ROWS, END = "traceback", "hang", "wrong rows", "wrong end"
KINDS = (TRACEBACK, HANG, ROWS, END)
SIGNS = ("Traceback (most recent call last)", "Fatal Python error", "Exception ignored in", "terminate called after")
Problem = tuple[str, str]  # a kind, and what is wrong


@dataclass(frozen=True)
class Step:
    """One command: the words after `python -m study.PROGRAM`, and the exit statuses that are documented for it."""

    words: tuple[str, ...]
    fine: tuple[int, ...]
    program: str = "launch"

    def __str__(self) -> str:
        return f"study.{self.program} {' '.join(map(repr, self.words))}"


def nothing(folder: Path) -> None:
    """Make nothing ready."""


def no_check(folder: Path, statuses: Sequence[int]) -> list[Problem]:
    """All that must hold stands in the steps."""
    return []


@dataclass(frozen=True)
class Case:
    """One case of the fuzz. `prepare` makes its working folder and `check` looks at it after all steps, given their
    exit statuses; both run in children of their own."""

    kind: str
    about: str
    steps: tuple[Step, ...]
    prepare: Callable[[Path], None] = nothing
    check: Callable[[Path, Sequence[int]], list[Problem]] = no_check
    env: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"


@dataclass
class Found:
    """What a case showed: its faults, what each step printed, its processor seconds."""

    problems: list[Problem]
    said: list[str]
    seconds: float


def stream(seed: int, number: int) -> random.Random:
    """The random numbers of a case, which depend on nothing but its seed and number."""
    return random.Random(f"{seed} {number}")


def command(step: Step) -> int:
    """A step in this process, as `python -m` runs it."""
    if step.program == "tracking":
        from study.tracking.__main__ import main
    else:
        from study.launch import main
    sys.argv = [f"study.{step.program}", *step.words]
    return main(list(step.words))


def judge(step: Step, ended: Ended) -> list[Problem]:
    """What is wrong with how a step ended."""
    text = ended.err + ended.out
    if ended.hung:
        return [(HANG, f"{step}: killed after {ended.seconds:.0f} processor seconds")]
    if any(sign in ended.err for sign in SIGNS):  # on stdout stand the logs of failed trials, as JSON
        lines = ended.err[max(map(ended.err.rfind, SIGNS)) :].splitlines()
        ends = [line for line in lines[1:] if line[:1].strip()]
        return [(TRACEBACK, f"{step}: {(ends or lines)[0][:200]}")]
    if ended.status not in step.fine:
        cause = f"signal {-ended.status}" if ended.status < 0 else f"status {ended.status}"
        return [(END, f"{step}: {cause}, documented are {step.fine}: {_last(text)}")]
    if ended.status and not text.strip():
        return [(END, f"{step}: status {ended.status} without a word")]
    return []


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def run(case: Case, scratch: Path) -> Found:
    """Make the case ready, type its commands, check what they left."""
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        root, work = Path(made), Path(made) / "work"
        work.mkdir()
        env = {
            "HOME": str(root),
            "XDG_CACHE_HOME": str(root / "cache"),
            "STUDY_DATA": str(work / "data"),
            "RAY_ADDRESS": "",
            "STUDY_OUTPUT": "",
            "MLFLOW_TRACKING_URI": f"sqlite:///{work / 'mlflow.db'}",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        }
        env |= case.env
        ready = forked(lambda: case.prepare(work), work, root / "ready", env)
        if ready.status:
            return Found([(END, f"the case could not be made ready: {ready.err[-500:]}")], [], ready.seconds)
        found, statuses = Found([], [ready.out] if ready.out else [], ready.seconds), []
        for step in case.steps:
            ended = forked(lambda step=step: command(step), work, root / "step", env, case.encoding)  # type: ignore[misc]
            found.problems += judge(step, ended)
            found.said.append(f"$ {step}\n{ended.out}{ended.err}[status {ended.status}, {ended.seconds:.2f} s]")
            found.seconds += ended.seconds
            statuses.append(ended.status)
        if case.check is not no_check:
            answer = root / "answer.json"
            ended = forked(lambda: _write(answer, case.check(work, statuses)), work, root / "check", os.environ | env)
            wrong = json.loads(answer.read_text()) if not ended.status else [(TRACEBACK, f"check: {ended.err[-300:]}")]
            if ended.hung:
                wrong = [(HANG, "reading what was left")]
            found.problems += [(kind, what) for kind, what in wrong]
            found.said.append(f"[check, {ended.seconds:.2f} s]\n{ended.err}")
            found.seconds += ended.seconds
    return found


def _write(path: Path, problems: list[Problem]) -> None:
    path.write_text(json.dumps(problems))
