"""What the arms of a study move, what they only hold, and which value of an axis is the baseline."""

import itertools
from dataclasses import replace
from typing import Any

from study.spec.domains import Value
from study.spec.knobs import KNOBS
from study.spec.values import shown
from study.store.manifest import ArmRecord, Manifest


def _named(study: Manifest) -> dict[str, list[tuple[Value, ...]]]:
    """Every axis that an arm names, with the values that each such arm gives it."""
    found: dict[str, list[tuple[Value, ...]]] = {}
    for arm in study.arms:
        for axis, values in arm.axes.items():
            found.setdefault(axis, []).append(values)
    return found


def _levels(study: Manifest, axis: str) -> set[Value | None]:
    """The values that an axis takes in a study; an arm that does not name it has it off."""
    return {v for arm in study.arms for v in arm.axes.get(axis, (study.axes_off.get(axis),))}


def held(study: Manifest) -> list[str]:
    """The axes that the arms only hold (a Frobenius norm, a share of adversarial batches), in the study's order.

    Such an axis has no compressed end, and every arm that names it has it at one or more values in common. What an arm
    is about is the rest: what compresses by degrees, and what tells arms apart. Where nothing else moves the study is
    about these axes after all, and none is held. An arm that names its own axes under `about` holds none of them.
    """
    own = {axis for arm in study.arms for axis in arm.about}
    named = _named(study)
    candidates = [
        axis
        for axis, values in named.items()
        if axis not in own and not (axis in KNOBS and KNOBS[axis].compressed) and set.intersection(*map(set, values))
    ]
    moves = any(len(_levels(study, axis)) > 1 for axis in named if axis not in candidates)
    return candidates if moves else []


def moved(study: Manifest) -> list[str]:
    """The axes that take two values or more in a study and are not held, in the study's order."""
    at_rest = held(study)
    return [axis for axis in _named(study) if axis not in at_rest and len(_levels(study, axis)) > 1]


def differing(study: Manifest) -> list[str]:
    """The axes that take two values or more in a study, held ones too, in the study's order."""
    return [axis for axis in _named(study) if len(_levels(study, axis)) > 1]


def along(study: Manifest, arm: ArmRecord) -> list[str]:
    """The axes that an arm itself moves: two values or more, and not held."""
    at_rest = held(study)
    return [axis for axis, values in arm.axes.items() if axis not in at_rest and len(set(values)) > 1]


def baseline(study: Manifest, axis: str) -> Value | None:
    """The value of an axis that stands for no compression: the study's own where it names one, else off."""
    named = study.baseline or {}
    return named[axis] if axis in named else study.axes_off.get(axis)


def slices(study: Manifest) -> list[tuple[str, Manifest]]:
    """The study at one value at a time of every axis that its arms only hold (frobenius, ...), with a label each.

    Nets of two Frobenius norms are two populations: pooling them would correlate the norm, and count a seed twice.
    """
    at_rest = held(study)
    values: dict[str, list[Any]] = {}
    for arm in study.arms:
        for axis, given in arm.axes.items():
            if axis in at_rest:
                values.setdefault(axis, []).extend(v for v in given if v not in values.get(axis, []))
    several = {axis: given for axis, given in values.items() if len(given) > 1}
    out = []
    for fixed in itertools.product(*several.values()):
        at = dict(zip(several, fixed, strict=True))
        arms = tuple(
            replace(arm, axes={a: (at[a],) if a in at else v for a, v in arm.axes.items()}) for arm in study.arms
        )
        label = ", ".join(f"{axis} {shown(value)}" for axis, value in at.items())
        out.append((label, replace(study, arms=arms)))
    return out
