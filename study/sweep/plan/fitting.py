"""What a preset loses on a model, at a width, or by what was typed: left out while it is planned, and said.

Every function returns the preset (or search) as it can be run, and a sentence for each thing that it has lost.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from study.spec import datasets
from study.spec.domains import Choice, Domain, Uniform, Value, asked
from study.spec.errors import UsageError
from study.spec.expand import at_data
from study.spec.families.compressed import FCN_ALONE, OF_TRAINING, REMOVABLE, removable
from study.spec.knobs import KNOBS, named
from study.spec.studies import Preset, Search, Study
from study.spec.values import shown
from study.store.manifest import ArmRecord


def to_given(search: Search, typed: Iterable[str]) -> tuple[Search, list[str]]:
    """The search without the knobs of a first training, for a net that is taken as its weights are (epochs 0);
    UsageError where one of them was typed."""
    gone = [name for name in (*OF_TRAINING, "penalty", "frobenius") if name in search.knobs]
    search = _with_factors(search)
    if asked := [name for name in gone if name in set(typed)]:
        raise UsageError(f"--set {asked[0]}: it acts in the first training, and epochs is 0; leave it away")
    if not gone:
        return search, []
    said = f"epochs 0, the net as it is: {', '.join(gone)}, which act in its training, are left out of the search"
    return replace(search, knobs=without(search.knobs, gone)), [said]


def _with_factors(search: Search) -> Search:
    """The search with factors of the finished layers in place of the rank that they would be trained at, where it
    chooses among ways to compress and knows no such factors yet."""
    ways = search.knobs.get("compression")
    if not isinstance(ways, Choice) or "low_rank" not in ways.values or "factorize_ratio" in search.knobs:
        return search
    knobs: dict[str, Domain] = {}
    for name, domain in search.knobs.items():
        when = tuple({s: (*vs, "factors") if s == "compression" and "low_rank" in vs and name != "rank" else vs
                      for s, vs in way.items()} for way in domain.when)  # fmt: skip
        knobs[name] = replace(domain, when=when)
        if name == "compression":
            knobs[name] = replace(ways, values=(*ways.values, "factors"))
        if name == "rank":
            knobs["factorize_ratio"] = Uniform(low=0.1, high=0.9, when=({"compression": ("factors",)},))
    return replace(search, knobs=knobs)


def to_refused(search: Search, why: Mapping[str, str], model: str, typed: Iterable[str]) -> tuple[Search, list[str]]:
    """The search without knobs that this very net cannot be given, and why each; UsageError where one of them was
    typed, or nothing that compresses is left."""
    gone = [name for name in why if name in search.knobs]
    if asked := [name for name in gone if name in set(typed)]:
        raise UsageError(f"--set {asked[0]}: {model} cannot be given it: {why[asked[0]]}")
    left = without(search.knobs, gone)
    if not any(name in KNOBS and KNOBS[name].compressed for name in left):
        raise UsageError(f"{model} cannot be compressed: {'; '.join(dict.fromkeys(why[name] for name in gone))}")
    return replace(search, knobs=left), [f"{name} is left out of the search: {why[name]}" for name in gone]


def to_model(search: Search, model: str, typed: Iterable[str]) -> tuple[Search, list[str]]:
    """The search without the knobs that its family cannot give to this model; UsageError where one of them was typed,
    or a switch has nothing left to choose."""
    takers = {**dict.fromkeys(FCN_ALONE, ("fcn",)), "prune_ratio": REMOVABLE} if search.family == "compressed" else {}
    lacking = [name for name, models in takers.items() if model not in models]
    lacking = [name for name in lacking if not (name == "prune_ratio" and removable(model))]
    gone = [name for name in lacking if name in search.knobs]
    if not gone:
        return search, []
    if asked := [name for name in gone if name in set(typed)]:
        raise UsageError(
            f"--set {asked[0]}: it goes with model {', '.join(takers[asked[0]])}, got {model}; leave it away"
        )
    left = without(search.knobs, gone)
    for name, domain in left.items():
        if isinstance(domain, Choice) and not domain.values:
            raise UsageError(f"--set {name}: model {model} takes none of what is asked for; leave it away")
    said = f"{model} takes no {', '.join(n for n in search.knobs if n not in left)}: left out of the search"
    switches = [f"{n} {', '.join(map(shown, d.values))}" for n, d in left.items()
                if n not in KNOBS and isinstance(d, Choice) and d != search.knobs[n]]  # fmt: skip
    return replace(search, knobs=left), [f"{said}, which asks {'; '.join(switches)}" if switches else said]


def without(knobs: Mapping[str, Domain], names: Iterable[str]) -> dict[str, Domain]:
    """The knobs but some, without what could then never be asked, and without the values of switches that only opened
    what is gone."""
    gone = set(names)
    while True:
        lost = {(switch, value) for n in gone for way in knobs[n].when for switch, values in way.items()
                if switch not in KNOBS for value in values}  # fmt: skip
        out: dict[str, Domain] = {}
        for name, domain in ((n, d) for n, d in knobs.items() if n not in gone):
            ways = [{s: tuple(v for v in vs if (s, v) not in lost) for s, vs in way.items()} for way in domain.when]
            when = tuple(way for way in ways if all(way.values()) and not gone & set(way))
            values = tuple(v for v in domain.values if (name, v) not in lost) if isinstance(domain, Choice) else ()
            out[name] = replace(domain, when=when, values=values) if isinstance(domain, Choice) else replace(
                domain, when=when
            )  # fmt: skip
        idle = {name for name, domain in out.items() if knobs[name].when and not domain.when}
        if not idle:
            return out
        gone |= idle


def ends(knobs: Mapping[str, Domain]) -> Iterator[dict[str, Value]]:
    """For every end of every knob a choice of knobs that has it, as near to the first values of all others as its
    condition lets it be."""
    for name, domain in knobs.items():
        for value in _ends(domain):
            wanted: dict[str, Value] = {name: value}
            for at in [name, *reversed(list(knobs))]:  # a condition names knobs before it
                if at in wanted and not asked(knobs[at], wanted):
                    wanted |= {n: values[0] for n, values in knobs[at].when[0].items() if n not in wanted}
            chosen: dict[str, Value] = {}
            for n, d in knobs.items():
                if asked(d, chosen):
                    chosen[n] = wanted.get(n, _ends(d)[0])
            if chosen.get(name) == value:
                yield chosen


def _ends(domain: Domain) -> tuple[Value, ...]:
    return domain.values if isinstance(domain, Choice) else (domain.low, domain.high)


def most_rank(width: int, depth: int, image: tuple[int, ...]) -> int:
    """The largest rank that a hidden layer of a fully connected net has: its width, or less where there is one layer
    alone and the image has fewer pixels."""
    return min(width, math.prod(image)) if depth == 1 and image else width


def to_width(preset: Preset, model: str, data: str, settings: Mapping[str, Any]) -> tuple[Preset, list[str]]:
    """The preset with no rank above what the hidden layers have: such a net is that of the most, under another name.

    Only of fully connected nets: of others the layers are not known here. UsageError where the width is moved too and a
    rank fits some widths alone.
    """
    if model != "fcn":
        return preset, []
    image, notes, arms = datasets.shape(data), [], []
    for arm in preset.arms:
        widths, depths = (arm.axes.get(n, (settings[n],)) for n in ("width", "depth"))
        sizes = [most_rank(int(w), int(d), image) for w in widths for d in depths]
        ranks = [int(r) for r in arm.axes.get("rank", ())]
        most = min(sizes)
        if over := [r for r in ranks if r > most]:
            if max(sizes) > most:
                raise UsageError(
                    f"--set rank: {over[0]} is more than {most}, the most that the smallest of arm {arm.name}'s nets "
                    f"has; give at most {most}, or full"
                )
            notes.append(f"rank {', '.join(map(str, over))}: the hidden layers have at most {most}, which is taken")
            arm = replace(arm, axes={**arm.axes, "rank": tuple(dict.fromkeys(min(r, most) for r in ranks))})
        arms.append(arm)
    search = preset.search
    if search and "rank" in search.knobs:
        most, domain = most_rank(settings["width"], settings["depth"], image), search.knobs["rank"]
        if isinstance(domain, Choice):
            over = [int(v) for v in domain.values if int(v) > most]
            fits: Domain = replace(domain, values=tuple(dict.fromkeys(min(int(v), most) for v in domain.values)))
        else:
            over = [int(domain.high)] if domain.high > most else []
            fits = replace(domain, low=min(domain.low, most), high=min(domain.high, most))
        if over:
            notes.append(f"rank {', '.join(map(str, over))}: the hidden layers have at most {most}, which is taken")
            search = replace(search, knobs={**search.knobs, "rank": fits})
    return replace(preset, arms=tuple(arms), search=search), list(dict.fromkeys(notes))


def as_before(preset: Preset, model: str, data: str, settings: Mapping[str, Any], arms: Iterable[ArmRecord]) -> Preset:
    """The preset without the largest rank in arms of a folder that has it under a larger number, from before such
    numbers were taken for it: those nets stand there."""
    there, most = {arm.name: arm.axes.get("rank", ()) for arm in arms}, 0
    if model == "fcn":
        most = most_rank(int(settings["width"]), int(settings["depth"]), datasets.shape(data))
    out = []
    for arm in preset.arms:
        old, ranks = there.get(arm.name, ()), arm.axes.get("rank", ())
        if most and most in ranks and most not in old and any(int(r) > most for r in old):
            arm = replace(arm, axes={**arm.axes, "rank": tuple(r for r in ranks if r != most)})
        out.append(arm)
    return replace(preset, arms=tuple(out))


def lost_baselines(study: Study, name: str, data: str, after: Preset) -> list[str]:
    """A sentence for every axis of an arm that compresses, or that the study names a baseline of, and no longer has
    the value which its nets are compared with."""
    there, out = {arm.name: arm.axes for arm in at_data(study.presets[name], data).arms}, []
    for arm in after.arms:
        for axis, values in arm.axes.items():
            first = study.baseline.get(axis, KNOBS[axis].default)
            if not KNOBS[axis].compressed and axis not in study.baseline:
                continue
            if first in there.get(arm.name, {}).get(axis, ()) and first not in values:
                word = named(axis, first)
                out.append(
                    f"{axis} {word}, the baseline of arm {arm.name}, is not among its levels: what is compared with it "
                    f"cannot be told (--set {axis}={word},{','.join(named(axis, v) for v in values)})"
                )
    return out
