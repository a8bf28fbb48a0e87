"""From what was typed to a plan: every part validated, nothing touched."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.spec import datasets
from study.spec.errors import UsageError, closest
from study.spec.expand import axes_of, expand, settled, with_overrides
from study.spec.studies import Point, Preset, Search
from study.spec.values import shown
from study.store import mirror, places
from study.sweep.plan import costs, fitting, pretraining, refusals, selection
from study.sweep.plan.catalogue import find_study
from study.sweep.plan.plan import Plan, job_of, with_jobs


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
    keep_weights: bool = False


def make_plan(request: Request, *, need_data: bool = True, need_warm_start: bool = True, look: bool = False) -> Plan:
    """The plan of a request, without touching the output folder; UsageError for anything that is not accepted.

    Without `need_data` a data set that is not there is let pass (its trials' fingerprints are then provisional);
    without `need_warm_start` earlier results that are not. With `look` a net of somebody's is tried where its data are
    there, though they are not needed.
    """
    study = find_study(request.study)
    if request.preset not in study.presets:
        raise UsageError(
            f"unknown preset {request.preset!r} of {study.name}{closest(request.preset, study.presets)} "
            f"Presets: {', '.join(study.presets)}"
        )
    preset = study.presets[request.preset]
    if not preset.data and (request.data or request.model or request.keep_weights):
        raise UsageError(f"{study.name} works without data and model; leave --data, --model and --keep-weights away")
    data = request.data or preset.data
    preset, settings = with_overrides(preset, request.overrides, data)
    preset = _with_search(preset, request, need_warm_start)
    model = request.model or preset.model
    preset, notes = _fitted(preset, model, data, settings, request.overrides)
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
        sources=refusals.sources_of(preset, settings)
        | pretraining.digests(pretraining.names(preset, settings), request.data_dir, need_data),
        place=place,
        folder=mirror.working_folder(place),
        cpus_per_trial=request.cpus_per_trial,
        gpus_per_trial=gpus,
        keep_weights=request.keep_weights,
        notes=tuple(notes),
    )
    plan = with_jobs(_without_refused(plan))
    if need_data or (look and (datasets.is_user_function(model) or settings["weights"])):
        plan = _tried(plan, request.overrides)
    if plan.preset.search:
        _try_ends(plan, plan.preset.search)
    return plan


def _tried(plan: Plan, typed: Iterable[str]) -> Plan:
    """The plan of an audit, or of a search from a net that is there, without what this very net cannot be given, which
    its notes say; they say too where the data are not there to try it on."""
    optional = any(arm.optional for arm in plan.preset.arms)
    searched = plan.preset.search is not None and plan.settings["epochs"] == 0
    if not optional and not searched:
        return plan
    if not plan.data_digest:
        untried = "what this net cannot be given shows when it is tried, which takes its data"
        return dataclasses.replace(plan, notes=(*plan.notes, untried))
    from study.sweep.plan import given

    plan = with_jobs(given.looked_at(plan)) if optional else plan
    return given.searched(plan, typed) if searched else plan


def _fitted(
    preset: Preset, model: str, data: str, settings: Mapping[str, Any], typed: Iterable[str]
) -> tuple[Preset, list[str]]:
    """The preset with what the model and its width can take, and what was left out."""
    said: list[str] = []
    if preset.search:
        search, given = fitting.to_given(preset.search, typed) if settings["epochs"] == 0 else (preset.search, [])
        search, said = fitting.to_model(search, model, typed)
        said = [*given, *said]
        preset = dataclasses.replace(preset, search=search)
    preset, more = fitting.to_width(preset, model, data, settings)
    return preset, said + more


def _without_refused(plan: Plan) -> Plan:
    """The plan without the optional arms that its model is refused, which its notes say."""
    kept, notes = [], list(plan.notes)
    for arm in plan.preset.arms:
        try:
            if arm.optional:
                for point in expand(dataclasses.replace(plan.preset, arms=(arm,)), plan.settings, plan.seeds[:1]):
                    job_of(plan, point)
            kept.append(arm)
        except UsageError as error:
            notes.append(f"{arm.name} is left out: {error}")
    return dataclasses.replace(plan, preset=dataclasses.replace(plan.preset, arms=tuple(kept)), notes=tuple(notes))


def _try_ends(plan: Plan, search: Search) -> None:
    """UsageError for a search that would be refused in its middle: every end of every knob is made into a job."""
    for chosen in fitting.ends(search.knobs):
        axes = settled(axes_of(chosen, plan.axes_off), plan.settings)
        try:
            job_of(plan, Point(family=search.family, arms=(), seed=search["search_seed"], axes=axes,
                               settings=plan.settings))  # fmt: skip
        except UsageError as error:
            point = ", ".join(f"{name} {shown(value)}" for name, value in axes.items() if value != plan.axes_off[name])
            raise UsageError(f"{error}; the search would ask for {point}") from None


def _with_search(preset: Preset, request: Request, need_warm_start: bool) -> Preset:
    """The preset with the search's storage and warm start."""
    if preset.search is None:
        if request.search_storage or request.warm_start:
            raise UsageError(f"{request.study} is no search; leave --search-storage and --warm-start away")
        return preset
    warm = tuple(refusals.warm_start(output, need_warm_start) for output in request.warm_start)
    search = dataclasses.replace(preset.search, storage=request.search_storage, warm_start=warm)
    return dataclasses.replace(preset, search=search)
