"""What Tab offers at the command line: studies, presets, data sets, and after --set axes, settings and their values."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from study.spec.errors import UsageError
from study.spec.expand import moving
from study.spec.knobs import AXES, KNOBS, SEARCH, SETTINGS, named
from study.spec.studies import Preset
from study.sweep.plan.catalogue import find_study, study_names

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

Offer = tuple[str, str]  # what may stand there, and what it is


def studies(context: "CompletionContext") -> list[Offer]:
    """The studies by name, with the question of each."""
    return [(name, find_study(name).question) for name in study_names()]


def presets(context: "CompletionContext") -> list[str]:
    """The presets of the study that is named, of any where none is."""
    return list(dict.fromkeys(name for study in _named(context) for name in study))


def knobs(context: "CompletionContext") -> list[Offer]:
    """`axis=` and `setting=` of the study that is named, its own axes first; after the sign a knob's words."""
    name, sign, typed = context.incomplete.partition("=")
    if sign:
        return [(f"{name}={before}{value}", "") for before, value in _values(name, typed)]
    chosen = [preset for study in _named(context) for preset in study.values()]
    own = dict.fromkeys(axis for preset in chosen for axis in moving(preset) if axis in KNOBS)
    families = {arm.family for preset in chosen for arm in preset.arms}
    families |= {preset.search.family for preset in chosen if preset.search}
    taken = [n for n in (*AXES, *SETTINGS) if families & set(KNOBS[n].families)]
    options = [n for preset in chosen if preset.search for n in SEARCH]
    return [(f"{n}=", (KNOBS | SEARCH)[n].help) for n in dict.fromkeys([*own, *options, *taken])]


def _named(context: "CompletionContext") -> list[dict[str, Preset]]:
    """The presets of the study on the command line; of every study of ours where none, or no known one, is there."""
    typed = context["study"].raw or ""
    try:
        return [dict(find_study(typed).presets)] if typed else [dict(find_study(n).presets) for n in study_names()]
    except UsageError:
        return []


def _values(name: str, typed: str) -> Iterator[tuple[str, str]]:
    """What stands before the value that is being typed, and each value that may stand there."""
    knob = (KNOBS | SEARCH).get(name)
    before = typed[: typed.rfind(",") + 1]
    for value in (knob.choices or ()) if knob else ():
        yield before, named(name, value)
    for word in knob.words if knob else ():
        yield before, word
