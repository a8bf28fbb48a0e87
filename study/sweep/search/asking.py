"""A search as a source of jobs: points at its own seed, then the finalists, trained anew at every seed of the front.

Points are asked, told and chosen by validation images at the search's own seed alone. What was tried, what is finished
and what is chosen is read from the plan and the published tables; Optuna's view only proposes.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from study.spec import objectives
from study.spec.domains import Value
from study.spec.expand import axes_of, fit, settled
from study.spec.identity import digest_of, seed_for
from study.spec.studies import Point
from study.store import layout, results
from study.sweep.plan import search_record
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan, job_of, least_finals
from study.sweep.search import view as search
from study.sweep.search import warm_start

# A net just below the floor says where good ones lie: the sampler is told a floor so much lower (what that is worth:
# docs/pareto.md). The front keeps to the floor itself.
NEAR_MISS = 0.1


class Asking:
    """The source of a search. `pending` are points of an earlier run; `keep` writes the plan down before a job runs."""

    def __init__(self, plan: Plan, name: str, pending: Mapping[str, Job], keep: Callable[["Asking"], None]) -> None:
        assert plan.preset.search is not None
        self.plan, self.search, self.keep = plan, plan.preset.search, keep
        record = search_record.record(plan)
        self.wanted = record["objectives"]
        self.jobs: dict[str, Job] = dict(plan.jobs)
        self.over = self.certain = False
        self._handed = 0
        self._own = self.search["search_seed"]
        self._waiting = deque(pending.values())
        self._out: dict[str, int | None] = {}
        self._values: dict[str, tuple[float, ...]] = {}
        self._slack: dict[str, float] = {}
        self._draws = random.Random(seed_for(self.search["sampler_seed"], f"draws {len(self.jobs)}"))
        self._exhausted = False
        self._earlier: deque[dict[str, Value]] = deque()
        meaning = {k: record[k] for k in ("knobs", "objectives", "floor", "warm_start")}
        self.view = search.open_view(
            self.search, plan.folder, name=name, maximise=[o["maximise"] for o in self.wanted],
            key=digest_of(meaning)[:16], tried=len(self.jobs),
        )  # fmt: skip
        self._rebuild([job for n, job in self.jobs.items() if n not in pending])

    @property
    def total(self) -> int:
        """Trials that this run will have handed out; the least as long as it has not chosen."""
        if self.certain:
            return self._handed + len(self._waiting)
        rerun = least_finals(self.search, self.plan.seeds) - (len(self.jobs) - self._tried)
        return self._handed + max(0, self.search["evaluations"] - self._tried) + len(self._waiting) + max(0, rerun)

    @property
    def _tried(self) -> int:
        return sum(job.trial.seed == self._own for job in self.jobs.values())

    def next(self) -> Job | None:
        """What an earlier run left undone, a new point, or a seed of a finalist."""
        job = self._waiting.popleft() if self._waiting else self._ask()
        if job is None and not self._out:
            self._waiting.extend(self._finals())
            self.certain = True
            job = self._waiting.popleft() if self._waiting else None
            self.over = job is None
            self.keep(self)
        if job is not None:
            self._out.setdefault(job.fingerprint, None)
            self._handed += 1
        return job

    def told(self, job: Job) -> None:
        """Tell Optuna what a point gave at the search's own seed; a failure where an objective is no finite number."""
        ticket = self._out.pop(job.fingerprint)
        if job.trial.seed != self._own:
            return
        self._read(job)
        values, slack = self._values.get(job.fingerprint), self._floor(job)
        if ticket is None:
            self.view.add(job.fingerprint, fit(self.search.knobs, job.axes, self.plan.axes_off) or {}, values, slack)
        else:
            self.view.tell(ticket, values, slack)

    def finalists(self) -> list[str]:
        """The points to be trained anew at the front's seeds: whole non-dominated layers of the acceptable ones, the
        best first."""
        points = {n: v for n, v in self._values.items() if self._slack[n] >= 0} or self._values
        chosen: list[str] = []
        for layer in objectives.layers(points, [o["maximise"] for o in self.wanted]):
            chosen += layer if len(chosen) < self.search["finalists"] else []
        return chosen

    def grown(self) -> Plan:
        """The plan with every job asked for so far."""
        return replace(self.plan, jobs=dict(self.jobs))

    def _axes(self, chosen: Mapping[str, Value]) -> dict[str, Value]:
        """The axes of chosen knobs as their trial has them."""
        return settled(axes_of(chosen, self.plan.axes_off), self.plan.settings)

    def _job(self, axes: Mapping[str, Value], seed: int) -> Job:
        point = Point(family=self.search.family, arms=(), seed=seed, axes=axes, settings=self.plan.settings)
        return job_of(self.plan, point)

    def _add(self, axes: Mapping[str, Value], seed: int) -> Job | None:
        """A new job at these axes, written down before it runs; None where there is one already."""
        job = self._job(axes, seed)
        if job.fingerprint in self.jobs:
            return None
        self.jobs[job.fingerprint] = job
        self.keep(self)
        return job

    def _ask(self) -> Job | None:
        if self._exhausted or self._tried >= self.search["evaluations"]:
            return None

        def known(chosen: Mapping[str, Value]) -> bool:
            return self._job(self._axes(chosen), self._own).fingerprint in self.jobs

        while self._earlier and known(self._earlier[0]):
            self._earlier.popleft()
        if self._earlier:
            ticket, chosen = self.view.ask(self._earlier.popleft())
        elif found := self.view.propose(known, self._draws):
            ticket, chosen = found
        else:
            self._exhausted = True
            return None
        job = self._add(self._axes(chosen), self._own)
        assert job is not None
        self.view.name(ticket, job.fingerprint)
        self._out[job.fingerprint] = ticket
        return job

    def _finals(self) -> Iterator[Job]:
        for name in self.finalists():
            for seed in self.plan.seeds:
                if (job := self._add(self.jobs[name].axes, seed)) is not None:
                    yield job

    def _read(self, job: Job) -> None:
        """Take a trial's objectives from its table, if it has them all."""
        path = layout.trial_path(self.plan.folder, job.fingerprint)
        rows = results.read_trial(path).rows if path.exists() else []
        values = tuple(objectives.value(rows, wanted) for wanted in self.wanted)
        if rows and rows[0]["status"] == "ok" and all(map(math.isfinite, values)):
            self._values[job.fingerprint] = values
            clean = objectives.value(rows, objectives.selector("clean_accuracy", self.plan.settings))
            self._slack[job.fingerprint] = clean - self.search["floor"]

    def _floor(self, job: Job) -> float | None:
        return self._constraint(self._slack.get(job.fingerprint))

    def _constraint(self, slack: float | None) -> float | None:
        """What the sampler is told of a point's slack; nothing where there is no floor."""
        return None if slack is None or not self.search["floor"] else slack + NEAR_MISS

    def _rebuild(self, over: list[Job]) -> None:
        """Make the view hold what the tables hold, earlier sweeps included."""
        known = self.view.names()
        for job in over:
            if job.trial.seed == self._own:
                self._read(job)
                if job.fingerprint not in known:
                    chosen = fit(self.search.knobs, job.axes, self.plan.axes_off) or {}
                    self.view.add(job.fingerprint, chosen, self._values.get(job.fingerprint), self._floor(job))
        self._warm(known)

    def _warm(self, known: set[str]) -> None:
        """Tell the view what earlier sweeps measured as this search does, and ask for their points first."""
        points: dict[str, tuple[tuple[float, ...], float]] = {}
        warm: dict[str, warm_start.WarmPoint] = {}
        for output in self.search.warm_start:
            warm |= (found := warm_start.points(output, self.plan))
            for name, (chosen, numbers) in found.items():
                if numbers is None:
                    continue
                points[name] = (numbers[0], numbers[1] - self.search["floor"])
                if name not in known:
                    self.view.add(name, chosen, numbers[0], self._constraint(points[name][1]), warm_start=output)
        evaluations = self.search["evaluations"]
        first = asked_first(points, [o["maximise"] for o in self.wanted], evaluations)
        others = sorted(name for name in warm if name not in points)
        random.Random(seed_for(self.search["sampler_seed"], "proposals")).shuffle(others)
        self._earlier.extend(warm[name][0] for name in [*first, *others][: evaluations // 3])


def asked_first(
    points: Mapping[str, tuple[Sequence[float], float]], maximise: Sequence[bool], evaluations: int
) -> list[str]:
    """The earlier points that a search begins with: the non-dominated ones of those that keep the floor (objectives and
    slack are given), at most a third of its evaluations. What they are worth here is soon known, and they are near to
    more of their kind (docs/pareto.md)."""
    good = {name: values for name, (values, slack) in points.items() if slack >= 0}
    return next(iter(objectives.layers(good, maximise)), [])[: evaluations // 3]
