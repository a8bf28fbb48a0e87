"""study.json: what was asked of a folder of results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.families import ONCE
from study.spec.knobs import KNOBS
from study.store import layout
from study.store import shapes as of_json

NEEDED = ("configuration", "arms", "seeds", "trials")
# Where the keys of study.json and of its configuration stand in a Manifest under their own names, and what is a tuple.
SINGLE = ("preset", "question", "figure", "baseline", "module", "instance", "gpus_per_trial", "axes_off", "created",
          "sweep", "version", "commit", "command", "complete")  # fmt: skip
LISTS = ("covers", "figures", "claims", "parameters", "seeds", "trials", "earlier", "notes")
CONFIGURATION = ("data", "data_digest", "model", "model_digest", "settings", "revisions", "sources")
SHAPES = {
    **dict.fromkeys(("preset", "question", "figure", "module", "instance", "sweep", "version", "commit", "name", "data",
                     "data_digest", "model", "model_digest"), of_json.text),
    **dict.fromkeys(("covers", "figures", "claims", "parameters", "notes"), of_json.many(of_json.text)),
    **dict.fromkeys(("gpus_per_trial", "created"), of_json.number),
    **dict.fromkeys(("baseline", "axes_off"), of_json.named(of_json.value)),
    "settings": of_json.settings,
    "revisions": of_json.named(of_json.whole),
    "sources": of_json.named(of_json.text),
    "seeds": of_json.many(of_json.whole),
    "trials": of_json.many(of_json.trial),
    "complete": lambda found: isinstance(found, bool),
}  # fmt: skip
ARM = {"name": of_json.text, "family": of_json.text, "axes": of_json.named(of_json.many(of_json.value))}
POINT = {"trial": of_json.trial, "family": of_json.text, "seed": of_json.whole,
         "axes": of_json.named(of_json.value)}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """One family's grid as study.json keeps it; `about` are the axes that it is about, where it says so itself."""

    name: str
    family: str
    axes: Mapping[str, tuple[Value, ...]]
    about: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "ArmRecord":
        """An arm of study.json; TypeError naming what of it has another shape."""
        _check("an arm", found, ARM)
        axes = {axis: tuple(values) for axis, values in found["axes"].items()}
        about = tuple(found.get("about", ()))
        return cls(name=found["name"], family=_family(found["family"]), axes=axes, about=about)

    def record(self) -> dict[str, Any]:
        """The arm in study.json."""
        axes = {axis: list(values) for axis, values in self.axes.items()}
        about = {"about": list(self.about)} if self.about else {}
        return {"name": self.name, "family": self.family, "axes": axes} | about


@dataclass(frozen=True, kw_only=True)
class PointRecord:
    """One point of a search as study.json keeps it: its trial's fingerprint, and the axes that are not off."""

    trial: str
    family: str
    seed: int
    axes: Mapping[str, Value]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "PointRecord":
        """A point of study.json; TypeError naming what of it has another shape."""
        _check("a point", found, POINT)
        return cls(trial=found["trial"], family=_family(found["family"]), seed=found["seed"], axes=found["axes"])

    def record(self) -> dict[str, Any]:
        """The point in study.json."""
        return {"trial": self.trial, "family": self.family, "seed": self.seed, "axes": dict(self.axes)}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was asked of a folder of results: its configuration, its grid or its search, and which version wrote it.

    `name` is the study's, `module` how it was named; `settings`, as JSON has them, and the five fields about data and
    model must not change in a folder, nor may `revisions` (of attacks, those above 1) and `sources` (digests of the
    user's functions). `parameters` are the settings that the preset gives. `claims` and `figures` are ids; None, as for
    `baseline`, where the version that wrote it did not name them. `search` (its knobs, resolved objectives and
    options), `points` and `complete` are of a search alone. `earlier` names finished trials of earlier sources of the
    user's functions: {model_digest, data_digest, sources, trials}, the oldest first. `created` is in seconds since
    1970, `command` the newest that ran here, `notes` say what was left out and why. `unknown` and
    `unknown_configuration` are what a newer version has added.
    """

    name: str = ""
    data: str = ""
    data_digest: str = ""
    model: str = ""
    model_digest: str = ""
    settings: Mapping[str, Any]
    revisions: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    arms: tuple[ArmRecord, ...]
    seeds: tuple[int, ...]
    trials: tuple[str, ...]
    axes_off: Mapping[str, Value] = field(default_factory=dict)
    preset: str = ""
    question: str = ""
    figure: str = ""
    covers: tuple[str, ...] = ()
    figures: tuple[str, ...] | None = None
    claims: tuple[str, ...] | None = None
    baseline: Mapping[str, Value] | None = None
    module: str = ""
    parameters: tuple[str, ...] = ()
    instance: str = ""
    gpus_per_trial: float = 0.0
    created: float = 0.0
    sweep: str = ""
    version: str = ""
    commit: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[PointRecord, ...] = ()
    earlier: tuple[Mapping[str, Any], ...] = ()
    complete: bool = False
    unknown: Mapping[str, Any] = field(default_factory=dict)
    unknown_configuration: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Any) -> "Manifest":
        """study.json of any version, parsed: what it does not say stands at its default, what is not known is kept, and
        a family has its name of today.

        ValueError naming which it lacks of configuration, arms, seeds, trials and settings, or what has another shape.
        """
        lacking = [k for k in NEEDED if not isinstance(found, Mapping) or k not in found]
        if lacking or not isinstance(found["configuration"], Mapping) or "settings" not in found["configuration"]:
            raise ValueError(f"it lacks {', '.join(lacking) or 'settings'}")
        try:
            search = found.get("search", {})
            own: dict[str, Any] = {name: found[name] for name in SINGLE if name in found}
            own |= {name: found[name] for name in LISTS if name in found} | configured(found["configuration"])
            if misshapen := of_json.wrong(own, {name: shape for name, shape in SHAPES.items() if name in own}):
                raise TypeError(", ".join(misshapen))
            arms = tuple(map(ArmRecord.of, found["arms"]))
            for axis in (*own.get("axes_off", ()), *(axis for arm in arms for axis in arm.axes)):
                if axis not in KNOBS:  # every table of a report is taken by its axes
                    raise TypeError(f"{axis} is no axis that this version has")
            own |= {name: tuple(own[name]) for name in LISTS if name in own}
            return cls(
                **own,
                search=search and search | {"family": _family(search["family"])},
                arms=arms,
                points=tuple(map(PointRecord.of, found.get("points", ()))),
                unknown={k: v for k, v in found.items() if k not in (*NEEDED, *SINGLE, *LISTS, "search", "points")},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its parts have another shape: {error}") from None

    def configuration(self) -> dict[str, Any]:
        """What must not change in a folder of results, as study.json has it."""
        return (
            ({"revisions": dict(self.revisions)} if self.revisions else {})
            | {
                "study": self.name,
                "data": self.data,
                "data_digest": self.data_digest,
                "model": self.model,
                "model_digest": self.model_digest,
                "settings": dict(self.settings),
            }
            | ({"sources": dict(self.sources)} if self.sources else {})
            | dict(self.unknown_configuration)
        )

    def record(self) -> dict[str, Any]:
        """study.json: what `of` reads."""
        named: dict[str, Any] = {}
        named |= {} if self.figures is None else {"figures": list(self.figures)}
        named |= {} if self.claims is None else {"claims": list(self.claims)}
        named |= {} if self.baseline is None else {"baseline": dict(self.baseline)}
        named |= {"module": self.module} if self.module else {}
        search: dict[str, Any] = {}
        if self.search:
            points = [point.record() for point in self.points]
            search = {"search": dict(self.search), "points": points, "complete": self.complete}
        return {
            "configuration": self.configuration(),
            "preset": self.preset,
            "question": self.question,
            "figure": self.figure,
            "covers": list(self.covers),
            **named,
            "parameters": list(self.parameters),
            "instance": self.instance,
            "gpus_per_trial": self.gpus_per_trial,
            "arms": [arm.record() for arm in self.arms],
            "seeds": list(self.seeds),
            "axes_off": dict(self.axes_off),
            "trials": list(self.trials),
            "created": self.created,
            "sweep": self.sweep,
            "version": self.version,
            "commit": self.commit,
            **({"command": self.command} if self.command else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
            **search,
            **({"earlier": [dict(source) for source in self.earlier]} if self.earlier else {}),
            **self.unknown,
        }


def configured(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Manifest that stand in the configuration of study.json."""
    own = {name: configuration[name] for name in CONFIGURATION if name in configuration}
    more = {k: v for k, v in configuration.items() if k not in (*CONFIGURATION, "study")}
    return own | {"name": configuration.get("study", ""), "unknown_configuration": more}


def load(folder: str | Path) -> Manifest:
    """study.json of a folder; FileNotFoundError where there is none, ValueError when it is not ours."""
    path = Path(folder) / layout.STUDY
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("it is not a file")
    return Manifest.of(of_json.parsed(path.read_text()))


def absent(folder: Path) -> str:
    """What is wrong with a folder without study.json, and what to do where its tables are there."""
    count = len(layout.tables(folder))
    again = f"; its {count} tables are there: the command that made them writes it again with --resume" if count else ""
    return f"is not a folder of results: it has no {layout.STUDY}{again}"


def read_manifest(folder: Path) -> Manifest | None:
    """study.json of a folder, None where there is none; UsageError when it is not ours."""
    if not (folder / layout.STUDY).exists():
        return None
    try:
        return load(folder)
    except (OSError, ValueError) as error:
        moved = ", or move it away: its command writes it again from the tables, with --resume"
        more = moved if layout.tables(folder) else ""
        path = folder / layout.STUDY
        raise UsageError(f"{path} cannot be read ({error}); choose another --output{more}") from None


def _check(what: str, found: Any, shapes: Mapping[str, of_json.Shape]) -> None:
    if misshapen := of_json.wrong(found, shapes):
        raise TypeError(f"{', '.join(misshapen)} of {what}")


def _family(name: str) -> str:
    """A family's name of today."""
    return ONCE.get(name, name)
