"""A study checked when it is loaded: every name, value and range, so that a slip is a message and not a null result."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from study.spec import attack_settings, budgets
from study.spec.datasets import DATASETS, shape
from study.spec.domains import Choice, Domain
from study.spec.errors import UsageError, closest
from study.spec.expand import at_data, levels_of
from study.spec.families import FAMILIES
from study.spec.knobs import AXES, KNOBS, SEARCH, SETTINGS, WHOLE, takes
from study.spec.names import source_name
from study.spec.recipes import PREFIXES
from study.spec.studies import Arm, Preset, Search, Study
from study.spec.values import refusal, shown


def check_study(study: Study) -> Study:
    """The study itself; UsageError naming the preset, the arm, what was given and what would be accepted."""
    for source in study.reproduces:
        source_name(source)
    for axis in study.baseline:
        _known(axis, KNOBS, f"study {study.name}: the baseline")
        _values(axis, (study.baseline[axis],), f"study {study.name}: the baseline")
    for name, preset in study.presets.items():
        _preset(preset, f"study {study.name}, preset {name}")
    return study


def _preset(preset: Preset, where: str) -> None:
    if bool(preset.arms) == bool(preset.search):
        raise UsageError(f"{where}: it needs arms or a search, and not both")
    if not preset.seeds or len(set(preset.seeds)) < len(preset.seeds):
        raise UsageError(f"{where}: its seeds must be some, each once; got {preset.seeds}")
    names = [arm.name for arm in preset.arms]
    if len(set(names)) < len(names):
        raise UsageError(f"{where}: two arms have one name: {', '.join(names)}")
    for arm in preset.arms:
        _arm(arm, f"{where}, arm {arm.name}")
    families = {arm.family for arm in preset.arms}
    if preset.search:
        _search(preset.search, f"{where}, its search")
        families = {preset.search.family}
    taken = {name for family in families for name in takes(family)}
    for data, settings in {"": preset.settings, **preset.by_data}.items():
        at = f"{where}{f', data {data}' if data else ''}"
        levels = levels_of(preset, settings) if data else {}
        for axis, values in levels.items():
            _levels(axis, values, at)
        _settings({n: v for n, v in settings.items() if n not in levels}, taken, at, preset.settings)
        _budgets(at_data(preset, data) if data else preset, shape(data or preset.data), at)
    for data in preset.by_data:
        if data not in (*DATASETS, "*") and ":" not in data:
            raise UsageError(f"{where}: by_data names no data {data!r}{closest(data, DATASETS)} Or *, for all others")


def _family(family: str, where: str) -> None:
    if family not in FAMILIES:
        raise UsageError(f"{where}: no family {family!r}{closest(family, FAMILIES)} Families: {', '.join(FAMILIES)}")


def _known(name: str, names: Iterable[str], where: str) -> None:
    if name not in names:
        raise UsageError(f"{where}: no knob {name!r}{closest(name, names)} Knobs: {', '.join(names)}")


def _values(name: str, values: Iterable[Any], where: str) -> None:
    for value in values:
        if why := refusal(KNOBS[name], value):
            raise UsageError(f"{where}: {name} {value!r} is not accepted; give {why}")


def _levels(axis: str, values: Any, where: str) -> None:
    if not isinstance(values, tuple) or not values or len(set(map(repr, values))) < len(values):
        raise UsageError(f"{where}: {axis} needs some values, each once; got {values!r}")
    _values(axis, values, where)


def _arm(arm: Arm, where: str) -> None:
    _family(arm.family, where)
    for axis, values in arm.axes.items():
        _known(axis, KNOBS, where)
        if axis in WHOLE:
            raise UsageError(f"{where}: {axis} is of the whole study and no axis")
        if arm.family not in KNOBS[axis].families:
            raise UsageError(f"{where}: the family {arm.family} does not take {axis}; it takes {_list(arm.family)}")
        _levels(axis, values, where)
    for axis in arm.about:
        _known(axis, arm.axes, f"{where}, what it is about")


def _list(family: str) -> str:
    return ", ".join(takes(family))


def _settings(settings: Mapping[str, Any], taken: Iterable[str], where: str, base: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        _known(name, KNOBS, where)
        if name in AXES:
            raise UsageError(f"{where}: {name} is a column of the table; give it to the arms as an axis")
        if name not in taken:
            raise UsageError(f"{where}: none of its families takes the setting {name}")
        if SETTINGS[name].several != isinstance(value, tuple):
            wanted = "a tuple" if SETTINGS[name].several else "one value"
            raise UsageError(f"{where}: {name} takes {wanted}, got {value!r}")
        given = value if SETTINGS[name].several else (value,)
        if len(set(given)) < len(given):
            raise UsageError(f"{where}: {name} has a value twice: {', '.join(map(shown, given))}")
        _values(name, given, where)
    at_default = {name: SETTINGS[name].default for name in ("attack", "attack_iterations")}
    attack_settings.check({**at_default, **base, **settings}, settings, f"{where}: ")
    for norm in ("linf", "l2"):
        judged, given = settings.get(f"judged_{norm}"), {**base, **settings}.get(f"eps_{norm}")
        given = SETTINGS[f"eps_{norm}"].default if given is None else given
        if judged is not None and judged not in given:
            raise UsageError(f"{where}: judged_{norm} {judged:g} is none of the budgets eps_{norm} {given}")


def _budgets(preset: Preset, image: tuple[int, ...], where: str) -> None:
    """No budget is so large that any image reaches any other; the radius of training in whichever norm it is used."""
    settings = preset.settings
    budgets.check({name: settings[name] for name in budgets.NORM if name in settings}, image, where)
    moved: list[Mapping[str, Iterable[Any]]] = [arm.axes for arm in preset.arms]
    moved += [{name: _ends(domain) for name, domain in preset.search.knobs.items()}] if preset.search else []
    for axes in moved:
        values = [axes.get(n, (settings.get(n, SETTINGS[n].default),)) for n in ("train_norm", "train_eps")]
        for norm, radius in itertools.product(*values):
            budgets.check({"train_norm": norm, "train_eps": radius}, image, where)


def _ends(domain: Domain) -> tuple[Any, ...]:
    return domain.values if isinstance(domain, Choice) else (domain.low, domain.high)


def _search(search: Search, where: str) -> None:
    _family(search.family, where)
    earlier: dict[str, Domain] = {}
    for name, domain in search.knobs.items():
        if name in KNOBS:
            if search.family not in KNOBS[name].families:
                raise UsageError(f"{where}: the family {search.family} does not take {name}; {_list(search.family)}")
            if name in PREFIXES or name in WHOLE:
                raise UsageError(f"{where}: {name} is of the whole study; a search cannot choose it")
            _values(name, _ends(domain), where)
        elif not isinstance(domain, Choice):
            raise UsageError(f"{where}: no knob {name!r}{closest(name, KNOBS)} A switch needs listed values")
        for way in domain.when:
            for other, values in way.items():
                _known(other, earlier, f"{where}, when {name} is asked (knobs before it)")
                known = earlier[other]
                if isinstance(known, Choice) and not set(values) <= set(known.values):
                    raise UsageError(f"{where}: {name} waits for {other} {values}, which has {known.values}")
        earlier[name] = domain
    for option in search.options:
        _known(option, SEARCH, f"{where}, its options")
    switches = {n for n in search.knobs if n not in KNOBS}
    unused = switches - {other for domain in search.knobs.values() for way in domain.when for other in way}
    if unused:
        near = closest(min(unused), KNOBS)
        raise UsageError(f"{where}: no knob {min(unused)!r}{near} As a switch nothing waits for it")
