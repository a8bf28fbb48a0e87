"""What the benchmarks share: figures with their spread, printed as a table or as JSON lines; a quiet listener."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure: median, smallest and largest of n repetitions, and the goal where there is one."""

    figure: str
    value: float
    low: float
    high: float
    n: int
    goal: float | None
    unit: str


def figure(name: str, values: Sequence[float], unit: str, goal: float | None = None) -> Figure:
    """The median of repeated measurements with their range."""
    return Figure(name, statistics.median(values), min(values), max(values), len(values), goal, unit)


def show(figures: Sequence[Figure], as_json: bool) -> None:
    """A line per figure: JSON, or a table for people."""
    if not as_json:
        print(f"{'figure':44} {'median':>9} {'low':>9} {'high':>9}  {'n':>2}  {'goal':>6}  unit")
    for f in figures:
        if as_json:
            print(json.dumps(asdict(f)))
        else:
            goal = "" if f.goal is None else f"{f.goal:g}"
            print(f"{f.figure:44} {f.value:9.2f} {f.low:9.2f} {f.high:9.2f}  {f.n:2}  {goal:>6}  {f.unit}")


class Feeding:
    """A listener that only feeds the tracker, as the real one does."""

    def __init__(self, tracker: Any) -> None:
        self.tracker = tracker

    def started(self, job: Any) -> None:
        """Nothing to count."""

    def reported(self, job: Any, report: Any) -> None:
        """Nothing to count."""

    def finished(self, job: Any, report: Any) -> None:
        """Have the trial logged, where there is a tracker."""
        if self.tracker:
            self.tracker.trial(job.fingerprint)

    def died(self, job: Any, cause: str, log: str) -> None:
        """No trial of a benchmark may fail."""
        raise RuntimeError(f"{cause}: {log}")
