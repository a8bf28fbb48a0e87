"""The plan: a validated sweep, its points built into jobs."""

import dataclasses
import functools
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import study
from study.spec import datasets
from study.spec.attack_names import revisions
from study.spec.domains import Choice
from study.spec.errors import UsageError
from study.spec.expand import axes_of, axes_off, expand, knob_values
from study.spec.families import FAMILIES
from study.spec.identity import base_key
from study.spec.knobs import KNOBS
from study.spec.studies import Point, Preset, Search, Study
from study.spec.values import shown
from study.store.places import Place
from study.sweep.plan import costs, refusals, selection
from study.sweep.plan.job import Job, seconds_from_environment


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A validated sweep: every job (of a search those asked for so far), and where its results go.

    `module` is the study as it was named, `sources` has the digests of the user's functions among its knob values, and
    of other data that nets are pretrained on,
    `revisions` those of the attacks that made the folder's numbers, where they are earlier ones than this version's.
    `earlier` has the trials that stay as earlier sources of the user's functions made them, as study.json has them.
    `notes` say what was asked for and left out. `keep_weights`: of every trial, not of a search's finalists alone.
    `place` is the output, `folder` what the driver reads of it on its own disk: the same unless it is in S3.
    """

    study: Study
    module: str
    preset_name: str
    preset: Preset
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    data: str
    data_dir: str
    data_digest: str
    model: str
    model_digest: str
    sources: Mapping[str, str]
    place: Place
    folder: Path
    cpus_per_trial: float
    gpus_per_trial: float
    points: tuple[Point, ...] = ()
    jobs: Mapping[str, Job] = dataclasses.field(default_factory=dict)
    estimated_trial_seconds: float = 0.0
    past_trials: int = 0
    revisions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    earlier: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    keep_weights: bool = False

    @property
    def total(self) -> int:
        """Trials in the end; of a search the least, as long as its front is not known."""
        search = self.preset.search
        if search is None:
            return len(self.jobs)
        return max(len(self.jobs), search["evaluations"] + least_finals(search, self.seeds))

    @property
    def axes_off(self) -> dict[str, Any]:
        """Every axis of its points, where nothing moves it."""
        return axes_off(self.preset, self.settings)

    def configuration(self) -> dict[str, Any]:
        """What must not change in a folder of results; revisions of attacks stand there once one is above 1."""
        now = revisions(self.settings, self.revisions) if self.data else {}
        raised = {name: n for name, n in now.items() if n > 1}
        return (
            ({"revisions": raised} if raised else {})
            | {
                "study": self.study.name,
                "data": datasets.label(self.data),
                "data_digest": self.data_digest,
                "model": self.model,
                "model_digest": self.model_digest,
                "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in self.settings.items()},
            }
            | ({"sources": dict(self.sources)} if self.sources else {})
        )


def with_jobs(plan: Plan) -> Plan:
    """The plan with its points expanded (of a search: those that it has) and every point built into a job."""
    search = plan.preset.search
    points = list(plan.points) if search else expand(plan.preset, plan.settings, plan.seeds)
    device = "cuda" if plan.gpus_per_trial > 0 else "cpu"
    alike = {"name": plan.study.name, "preset": plan.preset_name, "data": plan.data, "model": plan.model}
    ratio, past = costs.past_ratio(plan.folder.parent, device, alike)
    jobs = _jobs(plan, points)
    bases = {name: base_key(job.trial) for name, job in jobs.items()}
    shared = Counter(bases.values())
    for name, key in bases.items():
        if shared[key] > 1:
            jobs[name] = dataclasses.replace(jobs[name], base=key)
    raws = _guesses(plan, search) if search else [job.estimated_seconds for job in jobs.values()]
    return dataclasses.replace(
        plan,
        points=tuple(points),
        jobs=jobs,
        estimated_trial_seconds=ratio * sum(raws) / max(1, len(raws)),
        past_trials=past,
    )


def _jobs(plan: Plan, points: Iterable[Point]) -> dict[str, Job]:
    """The points' jobs by fingerprint, those that the plan has already taken over.

    UsageError where points of different axes are one trial: an axis that changes nothing would look like a null result.
    """
    built = {(job.family, job.trial.seed, *job.axes.items()): job for job in plan.jobs.values()}
    jobs: dict[str, Job] = {}
    alike = _alike(plan)
    firsts: dict[tuple[Any, ...], Job] = {}  # a grid's point is built for one seed: the others differ in that alone
    by_seed = plan.preset.search is not None or bool(plan.earlier)  # there a seed decides more
    for point in points:
        at = (point.family, *point.axes.items(), *([point.seed] if by_seed else []))
        job = built.get((point.family, point.seed, *point.axes.items()))
        if job is None and at in firsts:
            first = firsts[at]
            job = dataclasses.replace(first, trial=dataclasses.replace(first.trial, seed=point.seed))
        job = job or firsts.setdefault(at, job_of(plan, point, alike))
        other = jobs.setdefault(job.fingerprint, job)
        if other.axes != job.axes:
            name = next(name for name, value in job.axes.items() if other.axes[name] != value)
            raise UsageError(
                f"{plan.study.name}: {name} {shown(other.axes[name])} and {shown(job.axes[name])} are the same trial; "
                f"nothing else in this study makes {name} matter"
            )
    return jobs


def _seconds(plan: Plan, axes: Mapping[str, Any]) -> float:
    return costs.trial_seconds(plan.data, plan.model, {**plan.settings, **axes}, plan.gpus_per_trial > 0)


def least_finals(search: Search, seeds: Sequence[int]) -> int:
    """Trials of finalists, one per seed of the front; whole layers of points may be some more."""
    return min(search["finalists"], search["evaluations"]) * len(seeds)


def _guesses(plan: Plan, search: Search) -> list[float]:
    """Seconds of trials at the ends of every knob, the others off, and what the finalists' attacks add to each in the
    mean: what a search may cost, before it asks."""
    ends = [
        (n, v)
        for n, d in search.knobs.items()
        if n in KNOBS
        for v in (d.values if isinstance(d, Choice) else (d.low, d.high))
    ]
    finals = least_finals(search, plan.seeds)
    more = finals / (finals + search["evaluations"]) * _final_seconds(plan, search)
    return [_seconds(plan, axes_of({name: value}, plan.axes_off)) + more for name, value in ends]


def _final_seconds(plan: Plan, search: Search) -> float:
    """Seconds that a finalist's further attacks take."""
    second = selection.second_attack(search, plan.settings)
    queries = search["final_queries"] * (1 + (second is not None and second.attack == "autoattack"))
    iterations = second.iterations if second else 0
    return costs.attack_seconds(plan.data, plan.model, plan.settings, plan.gpus_per_trial > 0, iterations, queries)


def _alike(plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """What every point's family is told beside its knobs and sources, and what every job has: asked of the system once
    in a plan of a hundred thousand."""
    told = {
        "data": datasets.label(plan.data),
        "data_dir": datasets.folder(plan.data, plan.data_dir),
        "data_root": plan.data_dir,
        "model": plan.model,
        "revisions": plan.revisions,
    }
    given = {
        "study": plan.study.name,
        "folder": str(plan.place),
        "data": plan.data,
        "model": plan.model,
        "threads": max(1, int(plan.cpus_per_trial)),
        "device": "cuda" if plan.gpus_per_trial > 0 else "cpu",
        "gpu_fraction": plan.gpus_per_trial,
        "commit": git_commit(),
        "search_path": str(Path.cwd()),
        "checkpoint_seconds": seconds_from_environment("STUDY_CHECKPOINT_SECONDS", Job.checkpoint_seconds),
    }
    return told, given


def job_of(plan: Plan, point: Point, alike: tuple[dict[str, Any], dict[str, Any]] | None = None) -> Job:
    """The job of one point of a plan: of the earliest source of the user's functions that has finished it, else of
    today's. A search keeps the weights of the models that its front may hold."""
    alike = alike or _alike(plan)
    values = knob_values(point)
    if plan.data:
        refusals.check_point(plan.data, plan.model, values)
    for source in plan.earlier:
        if (job := _job(plan, point, values, source, alike)).fingerprint in source["trials"]:
            return job
    now = {"data_digest": plan.data_digest, "model_digest": plan.model_digest, "sources": plan.sources}
    return _job(plan, point, values, now, alike)


def _job(
    plan: Plan,
    point: Point,
    values: Mapping[str, Any],
    source: Mapping[str, Any],
    alike: tuple[dict[str, Any], dict[str, Any]],
) -> Job:
    told, given = alike
    sources = {name: source[name] for name in ("data_digest", "model_digest", "sources")}
    trial = FAMILIES[point.family]({**values, **told, **sources, "seed": point.seed})
    search, seconds = plan.preset.search, _seconds(plan, values)
    if search:
        trial = selection.measured(trial, search, plan.settings)
        seconds += _final_seconds(plan, search) if point.seed != search["search_seed"] else 0.0
    return Job(
        family=point.family,
        axes=point.axes,
        trial=trial,
        estimated_seconds=seconds,
        base=base_key(trial) if search else "",
        weights=plan.keep_weights or (search is not None and point.seed != search["search_seed"]),
        **given,
    )


@functools.cache
def git_commit() -> str:
    """The project's commit, with `-dirty` where tracked files differ; empty outside a checkout."""
    root = Path(study.__file__).resolve().parent.parent
    try:
        out = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return out.stdout.strip()
