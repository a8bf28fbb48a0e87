"""A search as a source of jobs: points at the first seed, then the front's points at every seed.

What was tried, what is finished and what is on the front is read from the plan and the published tables; Optuna's view
only proposes.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from study.spec import objectives
from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.expand import axes_of, fit, settled
from study.spec.identity import digest_of, seed_for
from study.spec.studies import Point
from study.store import layout, mirror, results
from study.store.manifest import read_manifest
from study.sweep.plan import search_record
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan, job_of
from study.sweep.search import view as search
from study.sweep.worker.weights import name_of

# A net just below the floor says where good ones lie: the sampler is told a floor so much lower (what that is worth:
# docs/pareto.md). The front keeps to the floor itself.
NEAR_MISS = 0.1
WarmPoint = tuple[dict[str, Value], tuple[float, ...], float]  # chosen knobs, mean objectives, mean clean accuracy


class Asking:
    """The source of a search. `pending` are points of an earlier run; `keep` writes the plan down before a job runs."""

    def __init__(self, plan: Plan, name: str, pending: Mapping[str, Job], keep: Callable[["Asking"], None]) -> None:
        assert plan.preset.search is not None
        self.plan, self.search, self.keep = plan, plan.preset.search, keep
        record = search_record.record(plan)
        self.wanted = record["objectives"]
        self.jobs: dict[str, Job] = dict(plan.jobs)
        self.over = False
        self._first = plan.seeds[0]
        self._waiting = deque(pending.values())
        self._out: dict[str, int | None] = {}
        self._values: dict[str, tuple[float, ...]] = {}
        self._slack: dict[str, float] = {}
        self._draws = random.Random(seed_for(self.search["sampler_seed"], f"draws {len(self.jobs)}"))
        self._exhausted = False
        self._earlier: deque[dict[str, Value]] = deque()
        meaning = {k: record[k] for k in ("knobs", "objectives", "floor", "warm_start")}
        # The attack is the folder's own, as the settings are: without its name journals of 0.1.0 are gone on with.
        meaning["objectives"] = [{k: v for k, v in o.items() if k != "attack"} for o in self.wanted]
        self.view = search.open_view(
            self.search, plan.folder, name=name, maximise=[o["maximise"] for o in self.wanted],
            key=digest_of(meaning)[:16], tried=len(self.jobs),
        )  # fmt: skip
        self._rebuild([job for n, job in self.jobs.items() if n not in pending])

    @property
    def total(self) -> int:
        """Trials that this run will hand out; a guess as long as the front is not known."""
        tried = sum(job.trial.seed == self._first for job in self.jobs.values())
        rerun = self.search["finalists"] * (len(self.plan.seeds) - 1) - (len(self.jobs) - tried)
        return max(0, self.search["evaluations"] - tried) + len(self._waiting) + max(0, rerun)

    def next(self) -> Job | None:
        """What an earlier run left undone, a new point, or a seed of a point on the front."""
        job = self._waiting.popleft() if self._waiting else self._ask()
        if job is None and not self._out:
            self._waiting.extend(self._finals())
            job = self._waiting.popleft() if self._waiting else None
            self.over = job is None
            self.keep(self)
            if self.over:
                self._drop_weights()
        if job is not None:
            self._out.setdefault(job.fingerprint, None)
        return job

    def told(self, job: Job) -> None:
        """Tell Optuna what a point of the first seed gave; a failure where an objective is no finite number."""
        ticket = self._out.pop(job.fingerprint)
        if job.trial.seed != self._first:
            return
        self._read(job)
        values, slack = self._values.get(job.fingerprint), self._floor(job)
        if ticket is None:
            self.view.add(job.fingerprint, fit(self.search.knobs, job.axes, self.plan.axes_off) or {}, values, slack)
        else:
            self.view.tell(ticket, values, slack)

    def finalists(self) -> list[str]:
        """The points to be run at every seed: whole non-dominated layers of the acceptable ones, the front first."""
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
        tried = sum(job.trial.seed == self._first for job in self.jobs.values())
        if self._exhausted or tried >= self.search["evaluations"]:
            return None

        def known(chosen: Mapping[str, Value]) -> bool:
            return self._job(self._axes(chosen), self._first).fingerprint in self.jobs

        while self._earlier and known(self._earlier[0]):
            self._earlier.popleft()
        if self._earlier:
            ticket, chosen = self.view.ask(self._earlier.popleft())
        elif found := self.view.propose(known, self._draws):
            ticket, chosen = found
        else:
            self._exhausted = True
            return None
        job = self._add(self._axes(chosen), self._first)
        assert job is not None
        self.view.name(ticket, job.fingerprint)
        self._out[job.fingerprint] = ticket
        return job

    def _finals(self) -> Iterator[Job]:
        for name in self.finalists():
            for seed in self.plan.seeds:
                if (job := self._add(self.jobs[name].axes, seed)) is not None:
                    yield job

    def _drop_weights(self) -> None:
        """Keep the models that the front may hold; any other can be had again by training."""
        axes = [self.jobs[name].axes for name in self.finalists()]
        for name, job in self.jobs.items():
            if job.axes not in axes:
                (self.plan.place / name_of(name)).unlink(missing_ok=True)

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
            if job.trial.seed == self._first:
                self._read(job)
                if job.fingerprint not in known:
                    chosen = fit(self.search.knobs, job.axes, self.plan.axes_off) or {}
                    self.view.add(job.fingerprint, chosen, self._values.get(job.fingerprint), self._floor(job))
        warm: dict[str, WarmPoint] = {}
        for output in self.search.warm_start:
            found = warm_points(output, self.plan)
            for name, (chosen, values, clean) in found.items():
                if name not in known:
                    slack = self._constraint(clean - self.search["floor"])
                    self.view.add(name, chosen, values, slack, warm_start=output)
            warm |= found
        points = {name: (values, clean - self.search["floor"]) for name, (_, values, clean) in warm.items()}
        first = asked_first(points, [o["maximise"] for o in self.wanted], self.search["evaluations"])
        self._earlier.extend(warm[name][0] for name in first)


def asked_first(
    points: Mapping[str, tuple[Sequence[float], float]], maximise: Sequence[bool], evaluations: int
) -> list[str]:
    """The earlier points that a search begins with: the non-dominated ones of those that keep the floor (objectives and
    slack are given), at most a third of its evaluations. What they are worth here is soon known, and they are near to
    more of their kind (docs/pareto.md)."""
    good = {name: values for name, (values, slack) in points.items() if slack >= 0}
    return next(iter(objectives.layers(good, maximise)), [])[: evaluations // 3]


def warm_points(output: str, plan: Plan) -> dict[str, WarmPoint]:
    """The points of an earlier sweep that the search's knobs reach: chosen knobs, mean objectives, mean clean accuracy.

    An output in S3 is read in its copy. UsageError for another data set or model, and where no finished trial has the
    axes and the rows that are sought.
    """
    sought = plan.preset.search
    assert sought is not None
    folder = mirror.local(output)
    found = read_manifest(folder)
    assert found is not None
    for name in ("data_digest", "model", "model_digest"):
        if (has := getattr(found, name)) != (here := plan.configuration()[name]):
            raise UsageError(f"--warm-start {output}: its {name} is {has!r}, the search's is {here!r}")
    wanted = [*search_record.record(plan)["objectives"], objectives.selector("clean_accuracy", plan.settings)]
    finished, there = results.scan(folder), found.settings
    groups: dict[str, tuple[dict[str, Value], list[list[float]]]] = {}
    for trial in finished.values():
        axes: dict[str, Any] = {name: trial.rows[0].get(name, there.get(name)) for name in plan.axes_off}
        numbers = [objectives.value(trial.rows, one) for one in wanted]
        chosen = fit(sought.knobs, axes, plan.axes_off)
        if chosen is not None and trial.rows[0]["status"] == "ok" and all(map(math.isfinite, numbers)):
            groups.setdefault(digest_of([output, axes])[:16], (chosen, []))[1].append(numbers)
    if not groups:
        raise UsageError(
            f"--warm-start {output}: none of its {len(finished)} finished trials has axes that the knobs reach and "
            f"rows of {', '.join(sought['objectives'])} at the judged budget, by the same attack"
        )
    out = {}
    for name, (chosen, rows) in groups.items():
        *values, clean = (sum(column) / len(column) for column in zip(*rows, strict=True))
        out[name] = (chosen, tuple(values), clean)
    return out
