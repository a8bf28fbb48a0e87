"""A study as its module declares it: arms or a search, presets, points. Declarative: no torch, no Ray."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from study.spec.domains import Domain, Value
from study.spec.knobs import SEARCH


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One family's grid: the product of its axes' values.

    What an arm is about follows from its axes: those that compress by degrees, and those that tell arms apart; the
    others are held, and claims are judged at each of their values. `about` says it where that is not meant. An arm that
    is `optional` is left out, which is said, where the model cannot be given it; another makes the study refused.
    """

    name: str
    family: str
    axes: Mapping[str, tuple[Value, ...]]
    about: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search in place of arms: one family's knobs, asked in this order, and what is sought (the names of SEARCH).

    A knob is an axis, or a switch: a Choice under another name, which only decides what the knobs after it are asked.
    """

    family: str
    knobs: Mapping[str, Domain]
    options: Mapping[str, Any] = field(default_factory=dict)
    storage: str = ""
    warm_start: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        """An option of the search, at its default where it is not set."""
        return self.options.get(name, SEARCH[name].default)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One scale of a study: arms (or a search), seeds and settings.

    `by_data` has what is otherwise where another data set is named ("*": any that has no entry): settings, and, as
    tuples, the levels of axes in the arms that have them: a rank grid follows the width.
    """

    seeds: tuple[int, ...]
    arms: tuple[Arm, ...] = ()
    search: Search | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = "digits"
    model: str = "fcn"
    by_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gpus_per_trial: float = 0.0
    instance: str = ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A named study: what it asks, what it reproduces, and its presets.

    `reproduces` names figures and tables of the papers (A.fig5, B.tab2; a part after another dot: A.fig5.top), `covers`
    the rows of docs/protocol.md whose setting the preset `paper` runs. `figures` and `claims` are what its report shows
    and judges, by id (analysis/figures, analysis/claims) or, in a study of one's own, as objects: (name, title,
    function) and analysis.claims.Claim. `baseline` has the axes of the net that others are compared with, where these
    are not at their off values.
    """

    name: str
    question: str
    presets: Mapping[str, Preset]
    reproduces: tuple[str, ...] = ()
    covers: tuple[str, ...] = ()
    figures: tuple[Any, ...] = ()
    claims: tuple[Any, ...] = ()
    baseline: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One trial of a study before it is built: family, seed, every axis, every setting, and which of these were said
    rather than left at their defaults."""

    family: str
    arms: tuple[str, ...]
    seed: int
    axes: Mapping[str, Value]
    settings: Mapping[str, Any]
    said: frozenset[str] = frozenset()
