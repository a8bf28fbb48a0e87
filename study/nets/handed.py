"""Models and data that a process hands over as objects, under names: what a notebook has in no file."""

from collections.abc import Callable
from typing import Any

from study.spec.datasets import HANDED

_objects: dict[str, tuple[Callable[..., Any], str]] = {}


def over(name: str, function: Callable[..., Any], digest: str) -> str:
    """Keep a function under given:NAME until the process ends (or the name is taken again); that name. The digest is
    what the function is identified by, as a source is that lies in a file."""
    whole = f"{HANDED}{name}"
    _objects[whole] = (function, digest)
    return whole


def function(name: str) -> Callable[..., Any] | None:
    """The function behind a name; None where this process was handed none."""
    return _objects[name][0] if name in _objects else None


def digest(name: str) -> str:
    """What the function behind a name is identified by; empty where this process was handed none."""
    return _objects[name][1] if name in _objects else ""
