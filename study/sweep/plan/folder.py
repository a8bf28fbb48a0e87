"""A plan against the folder that it is to run in: what stands there, what differs, what is extended."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from study import __version__
from study.spec.attack_names import KEPT, differing, revisions
from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.expand import axes_of, moving, settings_for
from study.spec.knobs import AXES, KNOBS, SETTINGS
from study.spec.names import reproduced
from study.spec.studies import Arm, Point, Preset
from study.store import layout, results
from study.store.manifest import ArmRecord, Manifest, configured, read_manifest
from study.sweep.plan import fitting, mended, search_record
from study.sweep.plan.plan import Plan, git_commit, with_jobs
from study.sweep.plan.remade import refuse_other_points, remade


def manifest(plan: Plan, past: Manifest | None = None, complete: bool = False) -> Manifest:
    """What study.json says of a plan: the configuration, the grid or the search, and which version wrote it.

    A folder keeps its name, its beginning and what a newer version has added from what it said in the `past`.
    """
    return Manifest(
        **configured(plan.configuration()),
        **search_record.part(plan, complete),
        preset=plan.preset_name,
        question=plan.study.question,
        figure=reproduced(plan.study.reproduces),
        covers=plan.study.covers,
        figures=tuple(f if isinstance(f, str) else f[0] for f in plan.study.figures),
        claims=tuple(c if isinstance(c, str) else c.id for c in plan.study.claims),
        baseline=plan.study.baseline,
        module=plan.module,
        parameters=tuple(plan.preset.settings),
        instance=plan.preset.instance,
        gpus_per_trial=plan.gpus_per_trial,
        arms=tuple(ArmRecord(name=a.name, family=a.family, axes=a.axes, about=a.about) for a in plan.preset.arms),
        seeds=plan.seeds,
        axes_off=plan.axes_off,
        trials=tuple(plan.jobs),
        created=(past and past.created) or time.time(),
        sweep=(past and past.sweep) or f"{plan.study.name}-{plan.preset_name}-{time.time_ns():x}",
        version=__version__,
        commit=git_commit(),
        earlier=plan.earlier,
        notes=plan.notes,
        unknown=past.unknown if past else {},
    )


def against_folder(plan: Plan, resume: bool, retry_failed: bool = False) -> tuple[Plan, Manifest | None]:
    """The plan as it can run in its folder, extended by what stands there, and the manifest found.

    With `retry_failed` functions of the user's may have been mended since. UsageError when the folder holds something
    else, another configuration (with a diff), or is unfinished (or asked for more) without --resume. A folder without
    study.json is known by its tables, with --resume.
    """
    folder = plan.folder
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is a file; choose a folder")
    found = read_manifest(folder)
    lost = found is None and bool(layout.tables(folder))
    if lost:
        results.refuse_newer(folder)
        found = remade(plan, manifest(plan))
    if found is None:
        if folder.is_dir() and any(p.name != layout.LOCK for p in folder.iterdir()):  # a first start refused leaves one
            raise UsageError(f"--output {folder} is not empty and holds no results of a study; choose another folder")
        return plan, None
    results.refuse_newer(folder)
    search_record.refuse_other(plan, found)
    edited = mended.edited(plan, found)
    plan = _at_its_revisions(_at_its_settings(plan, found), found)
    preset = fitting.as_before(plan.preset, plan.model, plan.data, plan.settings, found.arms)
    if preset != plan.preset:
        plan = with_jobs(dataclasses.replace(plan, preset=preset, jobs={}))
    plan = mended.kept(plan, found, bool(edited) and retry_failed)
    defaults = {k: list(v) if isinstance(v, tuple) else v for k, v in settings_for(Preset(arms=(), seeds=())).items()}
    settings = {k: v for k, v in found.settings.items() if k not in AXES or v != AXES[k].default}  # once a setting
    there = found.configuration() | {"settings": defaults | settings}
    if differences := _differences(there | (edited if retry_failed else {}), plan.configuration()):
        retry = edited and not _differences(there | edited, plan.configuration())
        raise UsageError(
            f"{plan.place} holds another configuration; choose another --output, or ask for the same:\n"
            + "\n".join(f"  {d}" for d in differences)
            + (f"\n{mended.HINT}" if retry else "")
        )
    missing = set(found.trials) - set(layout.finished(folder)) - set(results.failures(folder))
    more = set(plan.jobs) - set(found.trials)
    asks = plan.preset.search is not None and not search_record.complete(plan, found)
    again = retry_failed and results.failures(folder)
    if plan.revisions and (missing or more or asks or again):
        raise UsageError(
            f"{plan.place} holds numbers of other revisions of the attacks "
            f"({differing(plan.settings, found.revisions)}); those of two are not mixed. What is there is still read "
            "and reported. For more choose another --output, where all is measured anew, or the version that wrote it"
            f"{f' ({found.commit})' if found.commit else ''}"
        )
    if lost and not (resume or retry_failed):
        raise UsageError(
            f"{plan.place} has lost its {layout.STUDY}; {len(found.trials)} trials of this study stand there: add "
            "--resume to write it again from their tables and go on"
        )
    if (missing or more or asks) and not (resume or retry_failed):
        state = f"{len(missing)} of {len(found.trials)} trials are not finished" if missing else "it is finished"
        wish = f", and {len(more)} more are asked for" if more else ", and the search is not at its end" if asks else ""
        raise UsageError(f"{plan.place} holds this study: {state}{wish}; add --resume to go on there")
    extended = _extended(plan, found)
    plan = plan if extended == plan else with_jobs(extended)
    if lost:
        refuse_other_points(plan, found)
    return plan, found


def _at_its_settings(plan: Plan, found: Manifest) -> Plan:
    """The plan with the settings that it moves where the folder has them: an axis may begin at what was a setting."""
    there = {n: found.settings[n] for n in moving(plan.preset) if n in SETTINGS and n in found.settings}
    settings = {**plan.settings, **there}
    return plan if settings == plan.settings else with_jobs(dataclasses.replace(plan, settings=settings))


def _at_its_revisions(plan: Plan, found: Manifest) -> Plan:
    """The plan with the attacks as the folder has them, where those are earlier ones: its trials are then known by
    their names, but no more of them can be made."""
    if not plan.data:
        return plan
    there, here = {**KEPT, **found.revisions}, revisions(plan.settings)
    held = there if any(there[name] < number for name, number in here.items()) else {}
    return plan if held == plan.revisions else with_jobs(dataclasses.replace(plan, revisions=held, jobs={}))


def _extended(plan: Plan, found: Manifest) -> Plan:
    """The plan whose axes and seeds are those found in the folder and those asked for now."""
    stored = {a.name: a for a in found.arms}
    arms = []
    for arm in plan.preset.arms:
        old = stored.pop(arm.name, None)
        arms.append(dataclasses.replace(arm, axes=_joined(old.axes, arm.axes, plan)) if old else arm)
    for left in stored.values():
        axes = {k: v for k, v in left.axes.items() if k in KNOBS}
        arms.append(Arm(name=left.name, family=left.family, axes=axes, about=left.about))
    seeds = tuple(dict.fromkeys([*found.seeds, *plan.seeds]))
    points = [
        Point(family=p.family, arms=(), seed=p.seed, axes=axes_of(p.axes, plan.axes_off), settings=plan.settings)
        for p in found.points
    ]
    preset = dataclasses.replace(plan.preset, arms=tuple(arms))
    return dataclasses.replace(plan, preset=preset, seeds=seeds, points=tuple(points))


def _joined(
    old: Mapping[str, tuple[Value, ...]], new: Mapping[str, tuple[Value, ...]], plan: Plan
) -> dict[str, tuple[Value, ...]]:
    """The axes of an arm at the values of both; where one of the two does not move an axis it holds it, at the setting
    or off."""
    held = {name: plan.settings.get(name, KNOBS[name].default) for name in [*old, *new] if name in KNOBS}
    return {name: tuple(dict.fromkeys([*old.get(name, (at,)), *new.get(name, (at,))])) for name, at in held.items()}


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [d for k in keys for d in _differences(old.get(k), new.get(k), f"{where}.{k}" if where else k)]
    return [] if old == new else [f"{where}: there {old!r}, asked {new!r}"]
