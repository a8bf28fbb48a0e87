"""From a preset and what was typed to points: settings, overrides, the product of every arm's axes."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from study.spec.domains import Choice, Domain, Value, asked, holds
from study.spec.errors import UsageError, closest
from study.spec.knobs import AXES, SEARCH, SETTINGS, Knob, parse_value
from study.spec.objectives import OBJECTIVES
from study.spec.studies import Point, Preset, Search


def settings_for(preset: Preset, data: str) -> dict[str, Any]:
    """The preset's settings on a data set, over the defaults."""
    out = {name: knob.default for name, knob in SETTINGS.items()} | dict(preset.settings)
    if data != preset.data:
        out |= dict(preset.by_data.get(data, preset.by_data.get("*", {})))
    return out


def with_overrides(preset: Preset, overrides: Mapping[str, str], data: str) -> tuple[Preset, dict[str, Any]]:
    """The preset and its settings after `--set NAME=V1,V2`; UsageError for an unknown name or value."""
    settings = settings_for(preset, data)
    known = sorted(set(moving(preset)))
    for name, text in overrides.items():
        parts = [p.strip() for p in text.split(",") if p.strip()]
        if not parts:
            raise UsageError(f"--set {name}=: no value given; write --set {name}=V1,V2")
        if preset.search and (name in preset.search.knobs or name in SEARCH):
            preset = replace(preset, search=_searched(preset.search, name, parts))
        elif name in known:
            values = tuple(dict.fromkeys(parse_value(name, AXES[name], p) for p in parts))
            arms = tuple(
                replace(arm, axes={**arm.axes, name: values}) if name in arm.axes else arm for arm in preset.arms
            )
            preset = replace(preset, arms=arms)
        elif name in SETTINGS:
            knob = SETTINGS[name]
            numbers = tuple(parse_value(name, knob, p) for p in parts)
            if not knob.several and len(numbers) > 1:
                raise UsageError(f"--set {name}: one value is accepted, {len(numbers)} were given; it is not an axis")
            settings[name] = numbers if knob.several else numbers[0]
        else:
            search = list(dict.fromkeys([*preset.search.knobs, *SEARCH])) if preset.search else []
            names = [*known, *search, *SETTINGS]
            words = f"Knobs and options of the search: {', '.join(search)}" if search else f"Axes: {', '.join(known)}"
            raise UsageError(
                f"--set {name}: no such axis or setting{closest(name, names)} {words}. Settings: {', '.join(SETTINGS)}."
            )
    for norm in ("linf", "l2"):
        judged, budgets = settings[f"judged_{norm}"], settings[f"eps_{norm}"]
        if judged not in budgets and f"judged_{norm}" in overrides:
            raise UsageError(
                f"--set judged_{norm}: {judged:g} is none of the budgets ({', '.join(f'{b:g}' for b in budgets)}); "
                f"name it in --set eps_{norm} too"
            )
        if judged not in budgets:
            settings[f"judged_{norm}"] = budgets[len(budgets) // 2]
    if settings["patience"] and not settings["validation"]:
        raise UsageError("--set patience: early stopping needs a validation share; add --set validation=0.05")
    return preset, settings


def moving(preset: Preset) -> list[str]:
    """The axes that a study moves, in its own order."""
    knobs = preset.search.knobs if preset.search else {}
    return list(dict.fromkeys([*(a for arm in preset.arms for a in arm.axes), *(k for k in knobs if k in AXES)]))


def _searched(search: Search, name: str, parts: list[str]) -> Search:
    """The search with a knob narrowed to the given values, or with one of its options set."""
    if name in search.knobs:
        old = search.knobs[name]
        if name in AXES:
            values = tuple(dict.fromkeys(parse_value(name, AXES[name], p) for p in parts))
        else:
            assert isinstance(old, Choice)
            switch = Knob(kind=str, default="", choices=tuple(map(str, old.values)), help="")
            values = tuple(dict.fromkeys(parse_value(name, switch, p) for p in parts))
        return replace(search, knobs={**search.knobs, name: Choice(values=values, when=old.when)})
    knob = SEARCH[name]
    given = tuple(dict.fromkeys(parse_value(name, knob, p) for p in parts))
    if name == "objectives" and not 2 <= len(given) <= 3:
        raise UsageError(f"--set objectives: give two or three of {', '.join(OBJECTIVES)}, got {', '.join(parts)}")
    if not knob.several and len(parts) > 1:
        raise UsageError(f"--set {name}: one value is accepted, {len(parts)} were given")
    return replace(search, options={**search.options, name: given if knob.several else given[0]})


def axes_of(chosen: Mapping[str, Value]) -> dict[str, Value]:
    """Every axis of chosen knobs, those that were not asked at their defaults; switches are left out."""
    return {name: chosen.get(name, knob.default) for name, knob in AXES.items()}


def fit(knobs: Mapping[str, Domain], axes: Mapping[str, Value]) -> dict[str, Value] | None:
    """The choice of knobs (switches included) that gives exactly these axes; None where there is none."""

    def walk(left: list[str], chosen: dict[str, Value]) -> dict[str, Value] | None:
        if not left:
            return chosen if axes_of(chosen) == dict(axes) else None
        name, domain = left[0], knobs[left[0]]
        if not asked(domain, chosen):
            return walk(left[1:], chosen)
        options = (axes[name],) if name in AXES else domain.values if isinstance(domain, Choice) else ()
        tries = (walk(left[1:], chosen | {name: v}) for v in options if holds(domain, v))
        return next((found for found in tries if found is not None), None)

    return walk(list(knobs), {})


def expand(preset: Preset, settings: Mapping[str, Any], seeds: Iterable[int]) -> list[Point]:
    """Every point of every arm for every seed, seeds outermost; a point that two arms share stands once."""
    points: dict[tuple[Any, ...], Point] = {}
    for seed in seeds:
        for arm in preset.arms:
            for values in itertools.product(*arm.axes.values()):
                axes = {name: knob.default for name, knob in AXES.items()} | dict(zip(arm.axes, values, strict=True))
                key = (seed, *axes.values())
                if key in points:
                    points[key] = replace(points[key], arms=(*points[key].arms, arm.name))
                else:
                    points[key] = Point(family=arm.family, arms=(arm.name,), seed=seed, axes=axes, settings=settings)
    return list(points.values())
