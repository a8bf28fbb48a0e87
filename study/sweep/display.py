"""What a person sees while a sweep runs: one line per finished trial, and a live line below them on a terminal."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from study.spec.names import metric_name, point_name
from study.spec.objectives import SELECTING
from study.sweep.plan.costs import duration
from study.sweep.plan.job import Job
from study.sweep.plan.source import Source


class Display:
    """Counts and time left on `console`; the estimate of the plan is replaced by the measured pace as trials end.

    The source says how many trials there will be, which a search does not know for certain before it has chosen.
    """

    def __init__(self, console: Console, source: Source, workers: int, estimated_trial_seconds: float) -> None:
        self.console, self.source = console, source
        self.workers, self.estimate = max(1, workers), estimated_trial_seconds
        self.done = self.failed = self.diverged = 0
        self.running: dict[str, float] = {}
        self.walls: list[float] = []
        self.bar: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self.bar = Progress(
                TextColumn("trials"), BarColumn(bar_width=12), TextColumn("{task.description}"), console=console,
                transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task("starting", total=self.total)

    def __enter__(self) -> "Display":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar:
            self.bar.stop()

    @property
    def total(self) -> int:
        """Trials of this run, as far as is known."""
        return self.source.total

    def left(self) -> float:
        """Seconds left: what remains at the mean wall time of the finished trials, spread over the workers."""
        remaining = self.total - self.done - self.failed
        recent = self.walls[-4 * self.workers :]
        mean = sum(recent) / len(recent) if recent else self.estimate
        now = time.monotonic()
        started = sum(min(now - at, 0.9 * mean) for at in self.running.values())
        return max(0.0, remaining * mean - started) / self.workers

    def started(self, job: Job) -> None:
        """A trial begins (or begins again)."""
        self.running[job.fingerprint] = time.monotonic()
        self._refresh()

    def ended(self, job: Job, status: str, note: str) -> None:
        """A trial is over with a status: a line, above the live one where there is one."""
        begun = self.running.pop(job.fingerprint, time.monotonic())
        self.walls.append(time.monotonic() - begun)
        self.failed += status == "failed"
        self.done += status != "failed"
        self.diverged += status == "diverged"
        line = f"[{self._count()}] {name(job)}: {status}{', ' + note if note else ''}"
        state = "" if self.bar else f"; {self._state()}"
        self._refresh()  # first: a line above the live one draws that again as it stands
        self.console.print(f"{line}{state}", highlight=False, markup=False, soft_wrap=True)

    def _count(self) -> str:
        return f"{self.done + self.failed}{'/' if self.source.certain else ' of at least '}{self.total}"

    def _state(self) -> str:
        return f"{len(self.running)} running, {self.failed} failed, {duration(self.left())} left"

    def _refresh(self) -> None:
        if self.bar:
            words = f"{self._count()}, {self._state()}"
            self.bar.update(
                self.task, completed=self.done + self.failed, total=self.total, description=words, refresh=True
            )


@contextmanager
def meanwhile(console: Console, sentence: str) -> Iterator[None]:
    """Say what takes its time while it does: beside a spinner on a terminal, in a line of its own when piped."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status(sentence):
            yield
    else:
        console.print(sentence, highlight=False, markup=False)
        yield


def name(job: Job) -> str:
    """A trial as people call it: its family's axes that differ from their defaults, and the seed."""
    return point_name(job.axes, job.trial.seed)


def headline(job: Job, report: Mapping[str, Any], search: Mapping[str, Any]) -> str:
    """The numbers worth a line of a finished trial; of a search's (as study.json has it) what it trades comes first."""
    if "clean_accuracy" not in report:
        return str(report.get("cause", ""))
    if search:
        split = SELECTING if job.trial.seed == search["search_seed"] else "test"
        clean = _number(report, "clean_accuracy", split=split)
        return f"{_traded(report, search, split)}; clean {clean} on {split} images"
    robust = [f"{k.partition('/')[2]} {v:.3f}" for k, v in report.items() if k.startswith("robust_accuracy/")]
    return f"clean {report['clean_accuracy']:.3f}{', robust ' * bool(robust)}{' '.join(robust)}"


def _traded(report: Mapping[str, Any], search: Mapping[str, Any], split: str) -> str:
    """A search's objectives on the images of a split: of several attacks on a finalist the lowest number."""
    said = []
    for o in search["objectives"]:
        several = o["norm"] and split != SELECTING
        rows = [o | {"attack": a} for a in search["final_attacks"]] if several else [o]
        found = [_number(report, **row | {"split": o["split"] and split}) for row in rows]
        said += [f"{o['name']} {min(found)}"] if all(found) and o["name"] != "clean_accuracy" else []
    return ", ".join(said)


def _number(report: Mapping[str, Any], measure: str, **row: Any) -> str:
    """The number of a row in a report, a share with three digits; nothing where it is not there."""
    value = report.get(metric_name({"measure": measure, **row}))
    return "" if value is None else f"{value:.3f}" if measure.endswith("accuracy") else f"{value:,.6g}"
