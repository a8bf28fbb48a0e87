"""From what was typed to a plan: every part validated, nothing touched."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study.spec.errors import UsageError, closest
from study.spec.expand import with_overrides
from study.spec.studies import Preset
from study.store import mirror, places
from study.sweep.plan import costs, refusals, selection
from study.sweep.plan.catalogue import find_study
from study.sweep.plan.plan import Plan, with_jobs


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


def make_plan(request: Request, *, need_data: bool = True, need_warm_start: bool = True) -> Plan:
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
    seeds = request.seeds or preset.seeds
    if preset.search:
        selection.check(preset.search, model, settings, seeds)
    place = places.at(request.output or f"results/{study.name}-{request.preset}")
    plan = Plan(
        study=study,
        module=request.study,
        preset_name=request.preset,
        preset=preset,
        settings=settings,
        seeds=seeds,
        data=data,
        data_dir=str(Path(request.data_dir).resolve()),
        data_digest=refusals.data_digest(data, request.data_dir, need_data) if data else "",
        model=model,
        model_digest=refusals.model_digest(model) if model else "",
        sources=refusals.sources_of(preset, settings),
        place=place,
        folder=mirror.working_folder(place),
        cpus_per_trial=request.cpus_per_trial,
        gpus_per_trial=gpus,
    )
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
