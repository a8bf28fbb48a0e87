"""From what the user typed to the list of trials: studies by name, validation, the output folder's contract."""

import dataclasses
import importlib
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study import __version__, costs, datasets, mirror, results, storage
from study.config import UsageError, base_key
from study.job import Job
from study.space import AXES, Arm, Point, Preset, Study, closest, expand, settings_for, with_overrides
from study.storage import Place
from study.trainables import FAMILIES

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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A validated sweep: every job, and where its results go.

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

    def configuration(self) -> dict[str, Any]:
        """What must not change in a folder of results."""
        return {
            "study": self.study.name,
            "data": datasets.label(self.data),
            "data_digest": self.data_digest,
            "model": self.model,
            "model_digest": self.model_digest,
            "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in self.settings.items()},
        }


def make(request: Request, *, need_data: bool = True) -> Plan:
    """The plan of a request, without touching the output folder; UsageError for anything that is not accepted.

    Without `need_data` a data set that is not there is let pass (its trials' fingerprints are then provisional).
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
    model = request.model or preset.model
    gpus = request.gpus_per_trial
    if gpus is None:  # a preset says whether it is made for GPUs; how much of one, its largest family and model do
        shares = [costs.gpu_share(arm.family, model, settings["width"]) for arm in preset.arms]
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
        data_digest=_data_digest(data, request.data_dir, need_data) if data else "",
        model=model,
        model_digest=_model_digest(model) if model else "",
        place=place,
        folder=mirror.working_folder(place),
        cpus_per_trial=request.cpus_per_trial,
        gpus_per_trial=gpus,
    )
    _check_sizes(plan)
    _check_attack(plan)
    return with_jobs(plan)


def _check_attack(plan: Plan) -> None:
    """Attacks that this data or model cannot be given."""
    attack, backend = plan.settings["attack"], plan.settings["attack_backend"]
    if plan.settings["binary"] and attack in ("apgd_dlr", "autoattack", "autoattack_pair"):
        raise UsageError(
            f"--set attack: {attack} uses the DLR loss, which needs three classes; give apgd, pgd or square"
        )
    if plan.settings["certify"] and (plan.model != "fcn" or attack != "apgd" or backend != "native"):
        raise UsageError(
            f"--set certify: certificates go with attack=apgd, attack_backend=native and model fcn, "
            f"got {attack}, {backend}, {plan.model or 'no model'}"
        )


def _check_sizes(plan: Plan) -> None:
    """The split's arithmetic, where the data set's size is known: every part must hold each class once."""
    info = datasets.DATASETS.get(plan.data)
    if info is None:
        return
    left = {}
    for name, have in zip(("train_size", "test_size"), info.images, strict=True):
        size = left[name] = plan.settings[name] or have
        if size > have:
            raise UsageError(f"--set {name}: {size} is more than the {have} images of {plan.data}")
        if size < have and not info.classes <= size <= have - info.classes:
            raise UsageError(
                f"--set {name}: {size} of {have} images cannot be drawn with all {info.classes} classes of {plan.data} "
                f"on both sides; give {info.classes} to {have - info.classes}, or 0 for all"
            )
    share = plan.settings["validation"]
    if share and not info.classes <= round(share * left["train_size"]) <= left["train_size"] - info.classes:
        raise UsageError(
            f"--set validation: {share:g} of {left['train_size']} training images are too few "
            f"for the {info.classes} classes of {plan.data}; give a larger share"
        )


def _data_digest(data: str, data_dir: str, need_data: bool) -> str:
    try:
        return datasets.digest(data, data_dir)
    except UsageError:
        if need_data or data not in datasets.DATASETS:
            raise
        return ""


MODELS = ("fcn", "resnet18", "vit")


def _model_digest(model: str) -> str:
    if datasets.is_user_function(model):
        return datasets.source_digest(datasets.user_function(model, "model"))
    if model not in MODELS:
        raise UsageError(
            f"unknown model {model!r}{closest(model, MODELS)} Models: {', '.join(MODELS)} or package:function"
        )
    return ""


def with_jobs(plan: Plan) -> Plan:
    """The plan with its points expanded and every point built into a job."""
    points = expand(plan.preset, plan.settings, plan.seeds)
    gpu = plan.gpus_per_trial > 0
    ratio, past = costs.past_ratio(plan.folder.parent, "cuda" if gpu else "cpu")
    raws = [
        costs.trial_seconds(plan.data, plan.model, plan.settings, gpu, float(point.axes["adversarial_ratio"]))
        for point in points
    ]
    shared = {
        "data": datasets.label(plan.data),
        "data_digest": plan.data_digest,
        "data_dir": datasets.folder(plan.data, plan.data_dir),
        "model": plan.model,
        "model_digest": plan.model_digest,
    }
    commit = git_commit()
    jobs = {}
    for point, raw in zip(points, raws, strict=True):
        values = {**point.settings, **point.axes, **shared, "seed": point.seed}
        job = Job(
            study=plan.study.name,
            family=point.family,
            axes=point.axes,
            trial=FAMILIES[point.family](values),
            folder=str(plan.place),
            data=plan.data,
            model=plan.model,
            device="cuda" if gpu else "cpu",
            gpu_fraction=plan.gpus_per_trial,
            commit=commit,
            search_path=str(Path.cwd()),
            estimated_seconds=raw,
        )
        jobs[job.fingerprint] = job
    bases = Counter(base_key(job.trial) for job in jobs.values())
    for name, job in jobs.items():
        if bases[key := base_key(job.trial)] > 1:
            jobs[name] = dataclasses.replace(job, base=key)
    return dataclasses.replace(
        plan,
        points=tuple(points),
        jobs=jobs,
        estimated_trial_seconds=ratio * sum(raws) / max(1, len(raws)),
        past_trials=past,
    )


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


def manifest(plan: Plan, past: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """study.json: the configuration, the grid, and which project version wrote it."""
    past = past or {}
    return {
        "configuration": plan.configuration(),
        "preset": plan.preset_name,
        "question": plan.study.question,
        "figure": plan.study.figure,
        "covers": list(plan.study.covers),
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
    }


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
    old = found["configuration"]
    defaults = {
        k: list(v) if isinstance(v, tuple) else v for k, v in settings_for(Preset(arms=(), seeds=()), "").items()
    }
    differences = _differences(old | {"settings": defaults | old["settings"]}, plan.configuration())
    if differences:
        raise UsageError(
            f"{plan.place} holds another configuration; choose another --output, or ask for the same:\n"
            + "\n".join(f"  {d}" for d in differences)
        )
    missing = set(found["trials"]) - set(done(folder)) - set(results.failures(folder))
    more = set(plan.jobs) - set(found["trials"])
    if (missing or more) and not (resume or retry_failed):
        state = f"{len(missing)} of {len(found['trials'])} trials are not finished" if missing else "it is finished"
        wish = f", and {len(more)} more are asked for" if more else ""
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
    return dataclasses.replace(plan, preset=dataclasses.replace(plan.preset, arms=tuple(arms)), seeds=seeds)


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [d for k in keys for d in _differences(old.get(k), new.get(k), f"{where}.{k}" if where else k)]
    return [] if old == new else [f"{where}: there {old!r}, asked {new!r}"]
