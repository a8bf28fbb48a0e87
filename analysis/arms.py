"""What the arms of a study move, what they only hold, and which value of an axis is the baseline."""

from study.spec.domains import Value
from study.spec.knobs import KNOBS
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


def along(study: Manifest, arm: ArmRecord) -> list[str]:
    """The axes that an arm itself moves: two values or more, and not held."""
    at_rest = held(study)
    return [axis for axis, values in arm.axes.items() if axis not in at_rest and len(set(values)) > 1]


def baseline(study: Manifest, axis: str) -> Value | None:
    """The value of an axis that stands for no compression: the study's own where it names one, else off."""
    named = study.baseline or {}
    return named[axis] if axis in named else study.axes_off.get(axis)
