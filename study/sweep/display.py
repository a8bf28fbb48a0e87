"""What a person sees while a sweep runs: a live line on a terminal, one line per finished trial when piped."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from study.spec.names import point_name
from study.sweep.plan.costs import duration
from study.sweep.plan.job import Job


class Display:
    """Counts and time left on `console`; the estimate of the plan is replaced by the measured pace as trials end."""

    def __init__(self, console: Console, total: int, workers: int, estimated_trial_seconds: float) -> None:
        self.console = console
        self.total, self.workers = total, max(1, workers)
        self.estimate = estimated_trial_seconds
        self.done = self.failed = self.diverged = 0
        self.running: dict[str, float] = {}
        self.walls: list[float] = []
        self.bar: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"), console=console, transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task("trials", total=total, state="starting")

    def __enter__(self) -> "Display":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar:
            self.bar.stop()

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
        self.total = max(self.total, self.done + self.failed + len(self.running))  # a search finds more on its way
        self._refresh()

    def ended(self, job: Job, status: str, note: str) -> None:
        """A trial is over with a status; one line for it when there is no live line."""
        begun = self.running.pop(job.fingerprint, time.monotonic())
        self.walls.append(time.monotonic() - begun)
        self.failed += status == "failed"
        self.done += status != "failed"
        self.diverged += status == "diverged"
        line = f"{name(job)}: {status}{', ' + note if note else ''}"
        if self.bar is None:
            count = f"[{self.done + self.failed}/{self.total}]"
            self.console.print(f"{count} {line}; {self._state()}", highlight=False, markup=False, soft_wrap=True)
        elif status != "ok":
            self.console.print(line, highlight=False, markup=False)
        self._refresh()

    def _state(self) -> str:
        return f"{len(self.running)} running, {self.failed} failed, {duration(self.left())} left"

    def _refresh(self) -> None:
        if self.bar:
            self.bar.update(self.task, completed=self.done + self.failed, total=self.total, state=self._state())


def name(job: Job) -> str:
    """A trial as people call it: its family's axes that differ from their defaults, and the seed."""
    return point_name(job.axes, job.trial.seed)


def headline(report: dict[str, Any]) -> str:
    """The numbers worth a line of a finished trial."""
    robust = [f"{k.partition('/')[2]} {v:.3f}" for k, v in report.items() if k.startswith("robust_accuracy/")]
    if "clean_accuracy" not in report:
        return str(report.get("cause", ""))
    chosen = report.get("clean_accuracy/validation")
    by = f" validation {chosen:.3f}" if chosen is not None else ""
    return f"clean {report['clean_accuracy']:.3f}{by}, robust {' '.join(robust)}"
