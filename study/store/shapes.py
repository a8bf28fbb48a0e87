"""What a note of ours (study.json, a failure, a sign of life, a lock) must look like: JSON of any other shape is
damage, found where it is read and not where it is used."""

import json
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from study.spec.knobs import KNOBS
from study.store.places import safe

Shape = Callable[[Any], bool]


def parsed(content: str | bytes) -> Any:
    """JSON read; ValueError for all that is none, nested deeper than the parser goes too."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def text(found: Any) -> bool:
    """A string."""
    return isinstance(found, str)


def number(found: Any) -> bool:
    """A number; true and false are none."""
    return isinstance(found, numbers.Real) and not isinstance(found, bool)


def whole(found: Any) -> bool:
    """A whole number."""
    return isinstance(found, int) and not isinstance(found, bool)


def value(found: Any) -> bool:
    """What an axis or a setting may be."""
    return isinstance(found, str | int | float)


def trial(found: Any) -> bool:
    """The fingerprint of a trial, which is a file's name too."""
    return isinstance(found, str) and safe(found) and "/" not in found


def many(one: Shape) -> Shape:
    """A list of such."""
    return lambda found: isinstance(found, list | tuple) and all(map(one, found))


def named(one: Shape) -> Shape:
    """An object whose values are such."""
    return lambda found: isinstance(found, Mapping) and all(map(one, found.values()))


def settings(found: Any) -> bool:
    """Settings by name, those that are known of their knob's kind."""
    return isinstance(found, Mapping) and all(_setting(name, given) for name, given in found.items())


def _setting(name: str, given: Any) -> bool:
    if given is None or name not in KNOBS:
        return True
    kind = {int: whole, float: number, str: text}.get(KNOBS[name].kind, lambda found: isinstance(found, bool | int))
    return all(map(kind, given)) if isinstance(given, list | tuple) else kind(given)


def wrong(found: Any, shapes: Mapping[str, Shape]) -> list[str]:
    """The names of what has not the shape it should have, or is not there; all of them where `found` is no object."""
    if not isinstance(found, Mapping):
        return list(shapes)
    return [name for name, fits in shapes.items() if name not in found or not fits(found[name])]
