"""From a preset and what was typed to points: settings, overrides, the product of every arm's axes."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from study.spec import attack_settings, budgets
from study.spec.datasets import shape
from study.spec.domains import Choice, Domain, Value, asked, holds
from study.spec.errors import UsageError, closest
from study.spec.knobs import AXES, KNOBS, SEARCH, SETTINGS, WHOLE, off
from study.spec.objectives import OBJECTIVES
from study.spec.recipes import PREFIXES, RECIPES, parts
from study.spec.studies import Arm, Point, Preset, Search
from study.spec.values import Knob, parse_value, shown, spread


def at_data(preset: Preset, data: str) -> Preset:
    """The preset as it is on a data set: the settings and the levels of its arms' axes that `by_data` gives there."""
    there = preset.by_data.get(data, preset.by_data.get("*", {})) if data != preset.data else {}
    levels = levels_of(preset, there)
    arms = (replace(a, axes={name: levels.get(name, values) for name, values in a.axes.items()}) for a in preset.arms)
    settings = {**preset.settings, **{name: value for name, value in there.items() if name not in levels}}
    return replace(preset, arms=tuple(arms), settings=settings, by_data={})


def levels_of(preset: Preset, there: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
    """What is no setting of the data in `by_data`: tuples for axes that arms have; those arms get these levels."""
    axes = {name for arm in preset.arms for name in arm.axes}
    return {name: value for name, value in there.items() if name in axes and isinstance(value, tuple)}


def settings_for(preset: Preset, typed: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a preset (on its data), over its recipes (but those that are `typed`), over the defaults."""
    recipes = {name: value for name, value in preset.settings.items() if name not in typed}
    return {name: knob.default for name, knob in SETTINGS.items()} | _parts(recipes) | dict(preset.settings)


def _parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that recipes among the values set; a part that is a column of the tables is left to `settled`."""
    return {name: value for name, value in parts(values).items() if name not in AXES}


def with_overrides(preset: Preset, overrides: Mapping[str, str], data: str) -> tuple[Preset, dict[str, Any]]:
    """The preset on a data set and its settings after `--set NAME=V1,V2`; UsageError for an unknown name or value.

    A knob that no arm moves becomes an axis of all arms, where it is given several values or is a column of the tables,
    and every arm's family takes it. A recipe that is typed replaces the preset's own settings of its parts.
    """
    preset = at_data(preset, data)
    settings = settings_for(preset, overrides)
    typed: dict[str, Any] = {}
    for name, text in overrides.items():
        given = [p.strip() for p in text.split(",") if p.strip()]
        if not given:
            raise UsageError(f"--set {name}=: no value given; write --set {name}=V1,V2")
        words = [w for p in given for w in (spread(name, KNOBS[name], p) if name in KNOBS else [p])]
        if preset.search and (name in preset.search.knobs or name in SEARCH):
            preset = replace(preset, search=_searched(preset.search, name, words))
            continue
        if name not in KNOBS or (name in AXES and not _holders(preset, name)):
            raise _unknown(preset, name)
        values = tuple(dict.fromkeys(parse_value(name, KNOBS[name], w) for w in words))
        if name in AXES or name in moving(preset) or (len(values) > 1 and not KNOBS[name].several):
            preset = _moved(preset, name, values)
        else:
            typed[name] = values if KNOBS[name].several else values[0]
    settings |= _parts(typed) | typed
    replaced = set(_parts(typed)) | {p for name in PREFIXES if name in overrides for p in _any_part(name)}
    own = {name: value for name, value in preset.settings.items() if name not in replaced} | typed
    budgets.check(settings, shape(data))
    return replace(preset, settings=own), _checked(settings, overrides, preset)


def _any_part(recipe: str) -> set[str]:
    """Whatever a recipe of this kind may set."""
    return {part for name in RECIPES for part in parts({recipe: name})}


def _unknown(preset: Preset, name: str) -> UsageError:
    axes = sorted(set(moving(preset)))
    search = list(dict.fromkeys([*preset.search.knobs, *SEARCH])) if preset.search else []
    words = f"Knobs and options of the search: {', '.join(search)}" if search else f"Axes: {', '.join(axes)}"
    near = closest(name, [*axes, *search, *SETTINGS])
    if (meant := CALLED.get(name.lower())) and (meant in SETTINGS or meant in axes or meant in search):
        near = f"; did you mean {meant}?"
    if name in KNOBS:
        others = sorted({arm.family for arm in preset.arms} - set(KNOBS[name].families))
        return UsageError(
            f"--set {name}: no arm moves it, and not every arm could: {', '.join(others)} takes no {name}"
        )
    return UsageError(f"--set {name}: no such axis or setting{near} {words}. Settings: {', '.join(SETTINGS)}.")


CALLED = {  # what others call a knob
    "lr": "learning_rate", "wd": "weight_decay", "bs": "batch_size", "batch": "batch_size", "eps": "eps_linf",
    "epsilon": "eps_linf", "n_epochs": "epochs", "hidden": "width", "hidden_size": "width", "layers": "depth",
    "n_layers": "depth", "dropout": "keep_prob", "sparsity": "prune_ratio", "reg": "alpha", "l1": "alpha",
    "opt": "optimizer", "scheduler": "schedule", "trials": "evaluations", "n_trials": "evaluations",
    "steps": "attack_iterations", "fro": "frobenius", "lambda": "lam", "p": "keep_prob", "retention": "keep_prob",
    "retention_probability": "keep_prob", "pruning_probability": "keep_prob",  # paper B calls it both
}  # fmt: skip


def _holders(preset: Preset, name: str) -> list[str]:
    """The arms that a new level of an axis is for: those that have it, or all of them where every family takes it."""
    have = [arm.name for arm in preset.arms if name in arm.axes]
    taken = all(arm.family in KNOBS[name].families for arm in preset.arms)
    return have or ([arm.name for arm in preset.arms] if taken else [])


def _moved(preset: Preset, name: str, values: tuple[Value, ...]) -> Preset:
    """The preset with an axis at these values."""
    have = _holders(preset, name)
    if name in WHOLE or preset.search or not have:
        raise UsageError(f"--set {name}: one value is accepted, {len(values)} were given; it is not an axis here")
    arms = (replace(a, axes={**a.axes, name: values}) if a.name in have else a for a in preset.arms)
    return replace(preset, arms=tuple(arms))


def _checked(settings: dict[str, Any], overrides: Mapping[str, str], preset: Preset) -> dict[str, Any]:
    """The settings with a judged budget among the budgets; UsageError for what was typed and would do nothing. What a
    point needs, its job is checked for (sweep.plan.refusals)."""
    for norm in ("linf", "l2"):
        judged, budgets = settings[f"judged_{norm}"], settings[f"eps_{norm}"]
        if not budgets:  # a norm that this study does not attack in
            continue
        if judged not in budgets and f"judged_{norm}" in overrides:
            raise UsageError(
                f"--set judged_{norm}: {judged:g} is none of the budgets ({', '.join(f'{b:g}' for b in budgets)}); "
                f"name it in --set eps_{norm} too"
            )
        if judged not in budgets:
            settings[f"judged_{norm}"] = budgets[len(budgets) // 2]
    for name, (knob, value) in GO_WITH.items():
        same = knob.removeprefix("finetune_").removeprefix("pretrain_")
        given = settings[knob] if settings[knob] is not None else settings[same]
        if name in overrides and settings[name] and knob not in moving(preset) and given != value:
            raise UsageError(f"--set {name}: it goes with {knob}={value}, got {given}")
    attack_settings.check(settings, overrides, "--set ")
    families = {arm.family for arm in preset.arms} | ({preset.search.family} if preset.search else set())
    for name in overrides:
        if name in SETTINGS and not families & set(KNOBS[name].families):
            raise UsageError(f"--set {name}: no family of this study takes it ({', '.join(sorted(families))})")
    return settings


GO_WITH = {  # what does nothing but with a value of another setting
    "momentum": ("optimizer", "sgd"),
    "milestones": ("schedule", "multistep"),
    "finetune_momentum": ("finetune_optimizer", "sgd"),
    "finetune_milestones": ("finetune_schedule", "multistep"),
    "pretrain_momentum": ("pretrain_optimizer", "sgd"),
    "pretrain_milestones": ("pretrain_schedule", "multistep"),
}


def moving(preset: Preset) -> list[str]:
    """The axes that a study moves, in its own order."""
    knobs = preset.search.knobs if preset.search else {}
    return list(dict.fromkeys([*(a for arm in preset.arms for a in arm.axes), *(k for k in knobs if k in KNOBS)]))


def _searched(search: Search, name: str, words: list[str]) -> Search:
    """The search with a knob narrowed to the given values, or with one of its options set."""
    if name in search.knobs:
        old = search.knobs[name]
        if name in KNOBS:
            values = tuple(dict.fromkeys(parse_value(name, KNOBS[name], w) for w in words))
        else:
            assert isinstance(old, Choice)
            switch = Knob(str, "", choices=tuple(map(str, old.values)), help="")
            values = tuple(dict.fromkeys(parse_value(name, switch, w) for w in words))
        return replace(search, knobs={**search.knobs, name: Choice(values=values, when=old.when)})
    knob = SEARCH[name]
    given = tuple(dict.fromkeys(parse_value(name, knob, w) for w in words))
    if name == "objectives" and not 2 <= len(given) <= 3:
        raise UsageError(f"--set objectives: give two or three of {', '.join(OBJECTIVES)}, got {', '.join(words)}")
    if not knob.several and len(words) > 1:
        raise UsageError(f"--set {name}: one value is accepted, {len(words)} were given")
    return replace(search, options={**search.options, name: given if knob.several else given[0]})


def axes_off(preset: Preset, settings: Mapping[str, Any]) -> dict[str, Value]:
    """Every axis of a study's points where nothing moves it: the columns of all tables at their defaults, and what else
    the study moves at its setting."""
    more = {name: settings[name] for name in moving(preset) if name not in AXES}
    return {name: knob.default for name, knob in AXES.items()} | more


def axes_of(chosen: Mapping[str, Value], base: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Every axis of chosen knobs, those that were not asked as in `base` (see axes_off); switches are left out."""
    base = {name: knob.default for name, knob in AXES.items()} if base is None else base
    return {name: chosen.get(name, value) for name, value in base.items()}


def settled(axes: Mapping[str, Value], settings: Mapping[str, Any]) -> dict[str, Value]:
    """The axes of a point as its trial has them: the epochs of a recipe of fine-tuning, idle knobs at their base."""
    out = dict(axes)
    recipe = {**settings, **axes}.get("finetune_recipe", "")
    if recipe and out["finetune"] != "none" and not out["finetune_epochs"]:
        out["finetune_epochs"] = parts({"finetune_recipe": recipe}).get("finetune_epochs", 0)
    return off(out, settings)


def fit(
    knobs: Mapping[str, Domain], axes: Mapping[str, Value], base: Mapping[str, Value] | None = None
) -> dict[str, Value] | None:
    """The choice of knobs (switches included) that gives exactly these axes; None where there is none."""

    def walk(left: list[str], chosen: dict[str, Value]) -> dict[str, Value] | None:
        if not left:
            return chosen if axes_of(chosen, base) == dict(axes) else None
        name, domain = left[0], knobs[left[0]]
        if not asked(domain, chosen):
            return walk(left[1:], chosen)
        options = (axes[name],) if name in KNOBS else domain.values if isinstance(domain, Choice) else ()
        tries = (walk(left[1:], chosen | {name: v}) for v in options if holds(domain, v))
        return next((found for found in tries if found is not None), None)

    return walk(list(knobs), {})


def expand(preset: Preset, settings: Mapping[str, Any], seeds: Iterable[int]) -> list[Point]:
    """Every point of every arm for every seed, seeds outermost; a point that two arms share stands once."""
    points: dict[tuple[Any, ...], Point] = {}
    base, said = axes_off(preset, settings), frozenset(preset.settings)
    grids = [
        (
            arm,
            [
                settled(base | dict(zip(arm.axes, v, strict=True)), settings)
                for v in itertools.product(*arm.axes.values())
            ],
        )
        for arm in preset.arms
    ]
    for seed in seeds:
        for arm, grid in grids:
            for axes in grid:
                key = (seed, *axes.values())
                if key in points:
                    arms = tuple(dict.fromkeys((*points[key].arms, arm.name)))
                    points[key] = replace(points[key], arms=arms)
                else:
                    points[key] = Point(family=arm.family, arms=(arm.name,), seed=seed, axes=axes, settings=settings,
                                        said=said)  # fmt: skip
    for arm in preset.arms:
        _all_matter(arm, [p for p in points.values() if arm.name in p.arms])
    return list(points.values())


def _all_matter(arm: Arm, points: list[Point]) -> None:
    """UsageError for a value of an axis that no point of an arm has: it was idle at each of them."""
    for axis, values in arm.axes.items():
        lost = [v for v in values if all(p.axes[axis] != v for p in points)]
        if points and lost:
            with_ = f"; it goes with {' or '.join(KNOBS[axis].only_with)}" if KNOBS[axis].only_with else ""
            raise UsageError(f"arm {arm.name}: {axis} {shown(lost[0])} does nothing at any of its points{with_}")


def knob_values(point: Point) -> dict[str, Any]:
    """Every knob of a point: its settings, over them the parts of recipes that it moves (but those that are `said`
    beside the recipe), over them its axes."""
    moved = {name: value for name, value in _parts(point.axes).items() if name not in point.said}
    return {**point.settings, **moved, **point.axes}
