"""What a plan has to rehearse, what rehearsed.json beside this file knows of it, and what a trial then takes. No torch.

The record is written by `python -m study.launch --rehearse --output study/sweep/plan/rehearsed.json`; `--list` and
`--dry-run` read it. One entry per kind of trial (study.spec.rehearsal.kind) of each study and preset.
"""

import functools
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import study
from study.spec.config import Ascend, Load, Train, Trial
from study.spec.datasets import DATASETS
from study.spec.expand import axes_of, settled
from study.spec.measures import CHECKED
from study.spec.rehearsal import features, kind
from study.spec.studies import Point, Search
from study.store.manifest import Manifest, read_manifest
from study.sweep.plan import costs, fitting
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan, job_of

RECORD = Path(__file__).with_name("rehearsed.json")
RESULTS = Path(study.__file__).resolve().parent.parent / "docs" / "results"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of trial of a plan: the arms that have it, and the job that stands for it, the longest by estimate."""

    name: str
    arms: tuple[str, ...]
    job: Job


def kinds(plan: Plan) -> list[Kind]:
    """Every kind of trial of a plan at its first seed, in the order of its points; of a search a few points that have
    everything that the ends of its knobs have, evaluations and finalists alike."""
    found: dict[str, tuple[list[str], Job]] = {}
    for arms, job in _searched(plan, plan.preset.search) if plan.preset.search else _of_arms(plan):
        name = kind(job.trial)
        names, longest = found.get(name, ([], job))
        found[name] = (names + [a for a in arms if a not in names],
                       job if job.estimated_seconds > longest.estimated_seconds else longest)  # fmt: skip
    return [Kind(name=name, arms=tuple(arms), job=job) for name, (arms, job) in found.items()]


def _of_arms(plan: Plan) -> list[tuple[tuple[str, ...], Job]]:
    jobs = {(job.trial.seed, *job.axes.values()): job for job in plan.jobs.values()}
    return [(p.arms, jobs[p.seed, *p.axes.values()]) for p in plan.points if p.seed == plan.seeds[0]]


def _searched(plan: Plan, search: Search) -> list[tuple[tuple[str, ...], Job]]:
    """The first choice of every knob as an evaluation and as a finalist, then finalists at the ends of the knobs until
    nothing new comes."""
    seen: frozenset[str] = frozenset()
    out: list[tuple[tuple[str, ...], Job]] = []
    for chosen in fitting.ends(search.knobs):
        axes = settled(axes_of(chosen, plan.axes_off), plan.settings)
        for arm, seed in (("finalist", plan.seeds[0]), ("evaluation", search["search_seed"])):
            point = Point(family=search.family, arms=(arm,), seed=seed, axes=axes, settings=plan.settings)
            job = job_of(plan, point)
            if new := features(job.trial) - seen:
                seen |= new
                out.append(((arm,), job))
    return out


@functools.cache
def record() -> Mapping[str, Any]:
    """The committed record: {machine, date, torch, entries}; empty where there is none."""
    return read(RECORD)


def read(path: Path) -> dict[str, Any]:
    """A record of rehearsals; without entries where there is none, or it is no record."""
    try:
        found = json.loads(path.read_text())
        entries = [e for e in found["entries"] if {"study", "preset", "kind", "error"} <= e.keys()]
        return {**found, "entries": entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"entries": []}


def entries(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """The entries of a plan's study and preset that went well, by kind."""
    at = (plan.study.name, plan.preset_name)
    return {e["kind"]: e for e in record()["entries"] if (e["study"], e["preset"]) == at and not e["error"]}


def trial_seconds(plan: Plan) -> float:
    """Mean seconds of a trial of the plan on the rehearsal's CPU at most, its epochs all run; 0 where a kind has not
    been rehearsed. Of a search the mean over the kinds."""
    known = {name: entry for name, entry in entries(plan).items() if entry.get("clock") == "processor"}
    if not known or any(k.name not in known for k in kinds(plan)):
        return 0.0
    jobs = [k.job for k in kinds(plan)] if plan.preset.search else [j for _, j in _of_arms(plan)]
    return sum(seconds(job.trial, known[kind(job.trial)]) for job in jobs) / len(jobs)


def seconds(trial: Trial, entry: Mapping[str, Any]) -> float:
    """Seconds of a whole trial by those of its rehearsed steps: steps of every training, attacks, the measures once."""
    loads = {s.name: s for s in trial.stages if isinstance(s, Load)}
    trainings = [s for s in trial.stages if isinstance(s, Train)]
    total = entry["measure_seconds"]
    for stage, step in zip(trainings, entry["trainings"], strict=False):
        load = loads[stage.on]
        images = _images(load)[0] * (1 - load.validation)
        per_image = step["seconds"] / step["images"] * _passes(stage, stage.train_steps) / _passes(stage, 1)
        total += stage.epochs * math.ceil(images / stage.batch_size) * stage.batch_size * per_image
    for measure in trial.measures:
        tested = [_images(load)[1] for name, load in loads.items() if name == getattr(measure, "on", "")]
        for images in tested:  # none where there are no images at all
            total += attack_passes(measure, images) * images * entry["attack_seconds"] / entry[
                "attack_images"]  # fmt: skip
    return float(total + sum(s.steps for s in trial.stages if isinstance(s, Ascend)) * entry.get("ascent_seconds", 0.0))


def _images(load: Load) -> tuple[int, int]:
    train, test = DATASETS[load.data].images if load.data in DATASETS else costs.OTHER_IMAGES
    return load.train_size or train, load.test_size or test


def _passes(stage: Train, steps: int) -> float:
    """Passes over an image of a batch in the mean, its adversary's `steps` included."""
    ratio = stage.adversarial_ratio
    if stage.train_attack == "free":
        return float(steps if ratio else 1)
    return 1 + ratio * (1 if stage.train_attack == "fgsm_rs" else steps)


def attack_passes(measure: Any, images: int) -> float:
    """Passes over each of so many images of a measure that attacks by iterations at budgets, by the names of its fields
    (a curve of pruned nets attacks each of them); 0 for any other. The checks for masking attack the first CHECKED
    images once more."""
    budgets = [getattr(measure, f.name) for f in fields(measure) if f.name.split("_")[0] == "eps"]
    if not hasattr(measure, "iterations") or not budgets:
        return 0.0
    once = float(measure.iterations * getattr(measure, "restarts", 1))
    if getattr(measure, "attack", "").startswith("autoattack"):
        once = costs.LEFT * (2 * 19 * measure.iterations + (getattr(measure, "queries", 0) or costs.QUERIES))
    count = sum(len(b) if isinstance(b, tuple) else 1 for b in budgets)
    nets = math.prod(len(getattr(measure, name, ("",))) for name in ("methods", "kept"))
    again = 1 + min(1.0, CHECKED / images) if getattr(measure, "checks", False) else 1.0
    gaps = len(getattr(measure, "gap_eps", ())) * getattr(measure, "gap_iterations", 0)
    queries = getattr(measure, "audit_queries", 0) * min(1.0, (getattr(measure, "audit_images", 0) or images) / images)
    return count * nets * once * again + gaps + queries


def marks(plan: Plan) -> dict[str, str]:
    """What is known of a study's preset besides its estimate: `rehearsed`, that and where its kinds of trial were
    rehearsed, and `run`, on what data it was really run, with how many seeds, on what and when; empty for neither."""
    known, rehearsed = entries(plan), ""
    if known:
        wanted = {k.name for k in kinds(plan)}
        done = len(wanted & known.keys())
        some = f"{done}" if done == len(wanted) else f"{done} of {len(wanted)}"
        facts = record()
        rehearsed = f"{some} kinds of trial on a {facts['machine']} CPU, {facts['date']}" if done else ""
    return {"rehearsed": rehearsed, "run": "; ".join(_run(plan))}


def mark_text(found: Mapping[str, str]) -> str:
    """The marks of a preset in plain words."""
    if found["run"]:
        return f"run: {found['run']}" + (f"; rehearsed: {found['rehearsed']}" if found["rehearsed"] else "")
    return f"only rehearsed: {found['rehearsed']}" if found["rehearsed"] else "neither run for the record nor rehearsed"


def told() -> str:
    """Where the seconds of a rehearsal are from."""
    facts = record()
    return f"from a rehearsal on CPU: {facts['machine']}, {facts['threads']} thread, {facts['date']}"


def _run(plan: Plan) -> Iterator[str]:
    for found in committed():
        if (found.name, found.preset) == (plan.study.name, plan.preset_name):
            day = time.strftime("%Y-%m-%d", time.gmtime(found.created))
            on = f"{found.data}: " if found.data else ""
            machine = "GPU" if found.gpus_per_trial else "CPU"
            yield f"{on}{len(found.seeds)} seeds, {len(found.trials)} trials on a {machine}, {day}"


@functools.cache
def committed() -> tuple[Manifest, ...]:
    """What the folders of docs/results say of their sweeps; none where the package is installed without them."""
    folders = sorted(path.parent for path in RESULTS.glob("*/study.json"))
    return tuple(found for folder in folders if (found := read_manifest(folder)) is not None)
