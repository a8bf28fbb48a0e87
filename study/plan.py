"""From what the user typed to the list of trials: studies by name, validation, the output folder's contract."""

import dataclasses
import functools
import importlib
import math
import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study import __version__, costs, datasets, mirror, refusals, results, searching, storage
from study.config import UsageError, base_key
from study.job import Job
from study.names import revisions
from study.space import (
    AXES,
    Arm,
    Choice,
    Domain,
    Point,
    Preset,
    Study,
    axes_of,
    closest,
    expand,
    settings_for,
    with_overrides,
)
from study.storage import Place
from study.trainables import FAMILIES
from study.trainables.common import off

STUDIES = Path(__file__).resolve().parent.parent / "search_spaces"


def study_names() -> list[str]:
    """Every study there is: the modules of search_spaces."""
    return sorted(p.stem for p in STUDIES.glob("*.py") if p.stem != "__init__")


def find_study(name: str) -> Study:
    """The study of a name; UsageError with the near and the known names otherwise."""
    if name.replace("-", "_") not in study_names():
        known = study_names()
        raise UsageError(f"unknown study {name!r}{closest(name, known)} Studies: {', '.join(known)}")
    return importlib.import_module(f"search_spaces.{name.replace('-', '_')}").STUDY


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked on the command line, unparsed."""

    study: str
    preset: str = "laptop"
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    data: str = ""
    data_dir: str = "data"
    model: str = ""
    output: str = ""
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    search_storage: str = ""
    warm_start: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A validated sweep: every job (of a search those asked for so far), and where its results go.

    `place` is the output, `folder` what the driver reads of it on its own disk: the same unless the output is in S3.
    """

    study: Study
    preset_name: str
    preset: Preset
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    data: str
    data_dir: str
    data_digest: str
    model: str
    model_digest: str
    place: Place
    folder: Path
    cpus_per_trial: float
    gpus_per_trial: float
    points: tuple[Point, ...] = ()
    jobs: Mapping[str, Job] = dataclasses.field(default_factory=dict)
    estimated_trial_seconds: float = 0.0
    past_trials: int = 0

    @property
    def total(self) -> int:
        """Trials in the end; of a search the least, as long as its front is not known."""
        search = self.preset.search
        if search is None:
            return len(self.jobs)
        rerun = min(search["finalists"], search["evaluations"]) * (len(self.seeds) - 1)
        return max(len(self.jobs), search["evaluations"] + rerun)

    def configuration(self) -> dict[str, Any]:
        """What must not change in a folder of results; revisions of attacks stand there once one is above 1."""
        raised = {name: n for name, n in revisions(self.settings).items() if n > 1} if self.data else {}
        return ({"revisions": raised} if raised else {}) | {
            "study": self.study.name,
            "data": datasets.label(self.data),
            "data_digest": self.data_digest,
            "model": self.model,
            "model_digest": self.model_digest,
            "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in self.settings.items()},
        }


def make(request: Request, *, need_data: bool = True, need_warm_start: bool = True) -> Plan:
    """The plan of a request, without touching the output folder; UsageError for anything that is not accepted.

    Without `need_data` a data set that is not there is let pass (its trials' fingerprints are then provisional);
    without `need_warm_start` earlier results that are not.
    """
    study = find_study(request.study)
    if request.preset not in study.presets:
        raise UsageError(
            f"unknown preset {request.preset!r} of {study.name}{closest(request.preset, study.presets)} "
            f"Presets: {', '.join(study.presets)}"
        )
    preset = study.presets[request.preset]
    if not preset.data and (request.data or request.model):
        raise UsageError(f"{study.name} works without data and model; leave --data and --model away")
    data = request.data or preset.data
    preset, settings = with_overrides(preset, request.overrides, data)
    preset = _with_search(preset, request, need_warm_start)
    model = request.model or preset.model
    gpus = request.gpus_per_trial
    if gpus is None:  # a preset says whether it is made for GPUs; how much of one, its largest family and model do
        families = [arm.family for arm in preset.arms] + ([preset.search.family] if preset.search else [])
        shares = [costs.gpu_share(family, model, settings["width"]) for family in families]
        gpus = max(shares) if preset.gpus_per_trial else 0.0
    place = storage.at(request.output or f"results/{study.name}-{request.preset}")
    plan = Plan(
        study=study,
        preset_name=request.preset,
        preset=preset,
        settings=settings,
        seeds=request.seeds or preset.seeds,
        data=data,
        data_dir=str(Path(request.data_dir).resolve()),
        data_digest=refusals.data_digest(data, request.data_dir, need_data) if data else "",
        model=model,
        model_digest=refusals.model_digest(model) if model else "",
        place=place,
        folder=mirror.working_folder(place),
        cpus_per_trial=request.cpus_per_trial,
        gpus_per_trial=gpus,
    )
    refusals.check_sizes(plan.data, plan.settings)
    refusals.check_attack(plan.model, plan.settings)
    return with_jobs(plan)


def _with_search(preset: Preset, request: Request, need_warm_start: bool) -> Preset:
    """The preset with the search's storage and warm start."""
    if preset.search is None:
        if request.search_storage or request.warm_start:
            raise UsageError(f"{request.study} is no search; leave --search-storage and --warm-start away")
        return preset
    warm = tuple(refusals.warm_start(output, need_warm_start) for output in request.warm_start)
    search = dataclasses.replace(preset.search, storage=request.search_storage, warm_start=warm)
    return dataclasses.replace(preset, search=search)


def with_jobs(plan: Plan) -> Plan:
    """The plan with its points expanded (of a search: those that it has) and every point built into a job."""
    search = plan.preset.search
    points = list(plan.points) if search else _points(plan)
    device = "cuda" if plan.gpus_per_trial > 0 else "cpu"
    ratio, past = costs.past_ratio(plan.folder.parent, device)
    jobs = {job.fingerprint: job for job in (job_of(plan, point) for point in points)}
    bases = Counter(base_key(job.trial) for job in jobs.values())
    for name, job in jobs.items():
        if bases[key := base_key(job.trial)] > 1:
            jobs[name] = dataclasses.replace(job, base=key)
    raws = _guesses(plan, search.knobs) if search else [job.estimated_seconds for job in jobs.values()]
    return dataclasses.replace(
        plan,
        points=tuple(points),
        jobs=jobs,
        estimated_trial_seconds=ratio * sum(raws) / max(1, len(raws)),
        past_trials=past,
    )


def _points(plan: Plan) -> list[Point]:
    """The points of every arm, knobs that do nothing at their defaults; what then is one point stands once."""
    out: dict[tuple[Any, ...], Point] = {}
    for point in expand(plan.preset, plan.settings, plan.seeds):
        axes = off(point.axes)
        key = (point.seed, *axes.values())
        arms = (*out[key].arms, *point.arms) if key in out else point.arms
        out[key] = dataclasses.replace(out.get(key, point), axes=axes, arms=tuple(dict.fromkeys(arms)))
    return list(out.values())


def seconds_from_environment(name: str, default: float) -> float:
    """A positive number of seconds that an environment variable sets; UsageError when it is none."""
    text = os.environ.get(name, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"{name}={text!r} is not accepted; give seconds above 0")
    return seconds


def _seconds(plan: Plan, axes: Mapping[str, Any]) -> float:
    return costs.trial_seconds(plan.data, plan.model, {**plan.settings, **axes}, plan.gpus_per_trial > 0)


def _guesses(plan: Plan, knobs: Mapping[str, Domain]) -> list[float]:
    """Seconds of trials at the ends of every knob, the others off: what a search may cost, before it asks."""
    ends = [
        (n, v) for n, d in knobs.items() if n in AXES for v in (d.values if isinstance(d, Choice) else (d.low, d.high))
    ]
    return [_seconds(plan, axes_of({name: value})) for name, value in ends]


def job_of(plan: Plan, point: Point) -> Job:
    """The job of one point of a plan. A search keeps the weights of its models."""
    shared = {
        "data": datasets.label(plan.data),
        "data_digest": plan.data_digest,
        "data_dir": datasets.folder(plan.data, plan.data_dir),
        "model": plan.model,
        "model_digest": plan.model_digest,
    }
    axes = off(point.axes)
    trial = FAMILIES[point.family]({**point.settings, **axes, **shared, "seed": point.seed})
    return Job(
        study=plan.study.name,
        family=point.family,
        axes=axes,
        trial=trial,
        folder=str(plan.place),
        data=plan.data,
        model=plan.model,
        device="cuda" if plan.gpus_per_trial > 0 else "cpu",
        gpu_fraction=plan.gpus_per_trial,
        commit=git_commit(),
        search_path=str(Path.cwd()),
        estimated_seconds=_seconds(plan, axes),
        checkpoint_seconds=seconds_from_environment("STUDY_CHECKPOINT_SECONDS", Job.checkpoint_seconds),
        base=base_key(trial) if plan.preset.search else "",
        weights=plan.preset.search is not None,
    )


@functools.cache
def git_commit() -> str:
    """The project's commit, with `-dirty` where tracked files differ; empty outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        out = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return out.stdout.strip()


def manifest(plan: Plan, past: Mapping[str, Any] | None = None, complete: bool = False) -> dict[str, Any]:
    """study.json: the configuration, the grid or the search, and which project version wrote it."""
    past = past or {}
    return {
        "configuration": plan.configuration(),
        "preset": plan.preset_name,
        "question": plan.study.question,
        "figure": plan.study.figure,
        "covers": list(plan.study.covers),
        "parameters": list(plan.preset.settings),
        "instance": plan.preset.instance,
        "gpus_per_trial": plan.gpus_per_trial,
        "arms": [
            {"name": a.name, "family": a.family, "axes": {k: list(v) for k, v in a.axes.items()}}
            for a in plan.preset.arms
        ],
        "seeds": list(plan.seeds),
        "axes_off": {name: knob.default for name, knob in AXES.items()},
        "trials": list(plan.jobs),
        "created": past.get("created", time.time()),
        "sweep": past.get("sweep", f"{plan.study.name}-{plan.preset_name}-{time.time_ns():x}"),
        "version": __version__,
        "commit": git_commit(),
    } | searching.part(plan, complete)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """study.json of a folder, None where there is none; UsageError when it is not ours."""
    if not (folder / "study.json").exists():
        return None
    try:
        return results.read_study(folder)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}/study.json cannot be read ({error}); choose another --output") from None


def against_folder(plan: Plan, resume: bool, retry_failed: bool = False) -> tuple[Plan, dict[str, Any] | None]:
    """The plan as it can run in its folder, extended by what stands there, and the manifest found.

    UsageError when the folder holds something else, another configuration (with a diff), or is unfinished (or asked
    for more) without --resume.
    """
    folder = plan.folder
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is a file; choose a folder")
    found = read_manifest(folder)
    if found is None:
        if folder.is_dir() and any(p.name != ".lock" for p in folder.iterdir()):  # a first start refused leaves one
            raise UsageError(f"--output {folder} is not empty and holds no results of a study; choose another folder")
        return plan, None
    results.refuse_newer(folder)
    old = found["configuration"]
    defaults = {
        k: list(v) if isinstance(v, tuple) else v for k, v in settings_for(Preset(arms=(), seeds=()), "").items()
    }
    settings = {k: v for k, v in old["settings"].items() if k not in AXES or v != AXES[k].default}  # once a setting
    differences = _differences(old | {"settings": defaults | settings}, plan.configuration())
    if differences:
        raise UsageError(
            f"{plan.place} holds another configuration; choose another --output, or ask for the same:\n"
            + "\n".join(f"  {d}" for d in differences)
        )
    missing = set(found["trials"]) - set(done(folder)) - set(results.failures(folder))
    more = set(plan.jobs) - set(found["trials"])
    asks = plan.preset.search is not None and not searching.complete(plan, found)
    if (missing or more or asks) and not (resume or retry_failed):
        state = f"{len(missing)} of {len(found['trials'])} trials are not finished" if missing else "it is finished"
        wish = f", and {len(more)} more are asked for" if more else ", and the search is not at its end" if asks else ""
        raise UsageError(f"{plan.place} holds this study: {state}{wish}; add --resume to go on there")
    return with_jobs(_extended(plan, found)), found


def done(folder: Path) -> list[str]:
    """Fingerprints of the trials whose file is there (its digest is checked when it is read)."""
    return [p.stem for p in (folder / "trials").glob("*.parquet")]


def _extended(plan: Plan, found: Mapping[str, Any]) -> Plan:
    """The plan whose axes and seeds are those found in the folder and those asked for now."""
    stored = {a["name"]: a for a in found["arms"]}
    arms = []
    for arm in plan.preset.arms:
        old = stored.pop(arm.name, {"axes": {}})["axes"]
        axes = {k: tuple(dict.fromkeys([*old.get(k, ()), *v])) for k, v in arm.axes.items()}
        arms.append(dataclasses.replace(arm, axes=axes))
    for arm in stored.values():
        axes = {k: tuple(v) for k, v in arm["axes"].items() if k in AXES}
        arms.append(Arm(name=arm["name"], family=arm["family"], axes=axes))
    seeds = tuple(dict.fromkeys([*found["seeds"], *plan.seeds]))
    points = [
        Point(family=p["family"], arms=(), seed=p["seed"], axes=axes_of(p["axes"]), settings=plan.settings)
        for p in found.get("points", ())
    ]
    preset = dataclasses.replace(plan.preset, arms=tuple(arms))
    return dataclasses.replace(plan, preset=preset, seeds=seeds, points=tuple(points))


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [d for k in keys for d in _differences(old.get(k), new.get(k), f"{where}.{k}" if where else k)]
    return [] if old == new else [f"{where}: there {old!r}, asked {new!r}"]
