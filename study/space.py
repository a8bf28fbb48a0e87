"""Axes, settings, presets and studies, and their expansion to points. Declarative: no torch, no Ray."""

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from study.config import UsageError
from study.domains import Choice as Choice
from study.domains import Domain as Domain
from study.domains import LogUniform as LogUniform
from study.domains import Uniform as Uniform
from study.domains import Value as Value
from study.domains import asked as asked
from study.domains import holds as holds
from study.objectives import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One named number (or word) of an experiment: its kind, valid range or choices, default, whether it takes several.

    An axis makes one trial per value; a setting holds for the whole sweep. A default means "off" where there is one.
    `compressed` says which end of a knob that compresses is the most compressed one: high, low, or "" for a knob that
    does not compress by degrees.
    """

    kind: type
    default: Any
    help: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    several: bool = False
    words: Mapping[str, Value] = field(default_factory=dict)
    choices: tuple[Value, ...] = ()
    compressed: str = ""

    def range_text(self) -> str:
        """The valid values in words."""
        if self.choices:
            return f"one of {', '.join(map(shown, self.choices))}"
        noun = {int: "whole numbers", float: "numbers"}[self.kind]
        least = f" {'above' if self.open_low else 'from'} {self.low:g}" if self.low > -math.inf else ""
        most = f" {'below' if self.open_high else 'to'} {self.high:.10g}" if self.high < math.inf else ""
        words = "".join(f", or {w}" for w in self.words)
        return (
            f"{noun}{least}{most} (8/255 is a number){words}" if self.kind is float else f"{noun}{least}{most}{words}"
        )


MOST_UNITS, MOST = 100_000, 10**9
PENALTIES = ("group_lasso", "nuclear_norm", "nuclear_norm_prox")
ATTACKS = ("apgd", "apgd_dlr", "pgd", "fgsm", "autoattack", "autoattack_pair", "cw", "square")

AXES: dict[str, Knob] = {
    "alpha": Knob(
        kind=float, default=0.0, low=0, compressed="high", help="strength of the penalty (group lasso, nuclear norm)"
    ),
    "rank": Knob(
        kind=int,
        default=0,
        low=0,
        high=MOST_UNITS,
        words={"full": 0},
        compressed="low",
        help="inner dimension of every hidden layer; 0 = full",
    ),
    "frobenius": Knob(
        kind=float, default=1.0, low=0, help="hidden layers held at this multiple of their initial norm; 0 = free"
    ),
    "plant_rows": Knob(
        kind=float, default=0.0, low=0, compressed="high", help="control: strength of a planted row concentration"
    ),
    "plant_spectrum": Knob(
        kind=float, default=0.0, low=0, compressed="high", help="control: strength of a planted spectral concentration"
    ),
    "adversarial_ratio": Knob(
        kind=float, default=0.0, low=0, high=1, help="share of each training batch replaced by adversarial examples"
    ),
    "ascended_norm": Knob(
        kind=str, default="", choices=("linf", "l2"), help="operator norm that gradient ascent raises on a matrix"
    ),
    "penalty": Knob(kind=str, default="group_lasso", choices=PENALTIES, help="what alpha weighs"),
    "prune_ratio": Knob(
        kind=float,
        default=0.0,
        low=0,
        high=1,
        open_high=True,
        compressed="high",
        help="share of every hidden layer's rows removed",
    ),
    "keep_prob": Knob(
        kind=float,
        default=1.0,
        low=0,
        high=1,
        open_low=True,
        compressed="low",
        help="share of the hidden weights that a mask keeps",
    ),
    "mask": Knob(
        kind=str, default="magnitude", choices=("magnitude", "bernoulli"), help="which weights keep_prob or lam keeps"
    ),
    "lam": Knob(
        kind=float,
        default=0.0,
        low=0,
        high=1,
        compressed="high",
        help="trade-off that sets each layer's keep_prob: 0 = off, 1 = least",
    ),
    "bits": Knob(
        kind=int,
        default=0,
        choices=(0, 8, 4, 2, 1),
        compressed="low",
        help="bits of weights and activations; 0 = float32",
    ),
    "finetune": Knob(
        kind=str, default="none", choices=("none", "standard", "adversarial"), help="training of the compressed net"
    ),
    "finetune_epochs": Knob(kind=int, default=0, low=0, high=MOST, help="epochs of fine-tuning"),
}

SETTINGS: dict[str, Knob] = {
    "width": Knob(kind=int, default=200, low=1, high=MOST_UNITS, help="units of a hidden layer"),
    "depth": Knob(kind=int, default=4, low=1, high=1000, help="hidden layers"),
    "train_size": Knob(kind=int, default=0, low=0, high=MOST, help="training images; 0 = all"),
    "test_size": Knob(kind=int, default=0, low=0, high=MOST, help="test images; 0 = all"),
    "validation": Knob(
        kind=float, default=0.0, low=0, high=0.5, help="share of the training images kept for validation"
    ),
    "epochs": Knob(kind=int, default=40, low=1, high=MOST, help="passes over the training images, at most"),
    "patience": Knob(
        kind=int, default=0, low=0, high=MOST, help="epochs without a better validation loss; 0 = no early stopping"
    ),
    "batch_size": Knob(kind=int, default=100, low=1, high=MOST, help="images per step"),
    "learning_rate": Knob(kind=float, default=1e-3, low=0, open_low=True, help="AdamW's learning rate"),
    "weight_decay": Knob(kind=float, default=0.01, low=0, help="AdamW's weight decay"),
    "penalty_refresh": Knob(
        kind=int, default=10, low=0, high=MOST, help="steps between polar factors of the nuclear norm; 0 = plain SVD"
    ),
    "schedule": Knob(
        kind=str, default="constant", choices=("constant", "cosine"), help="learning rate over the epochs"
    ),
    "augment": Knob(kind=str, default="none", choices=("none", "crop_flip"), help="random crop (4 pixels) and flip"),
    "train_norm": Knob(kind=str, default="linf", choices=("linf", "l2"), help="norm of adversarial training"),
    "train_eps": Knob(kind=float, default=8 / 255, low=0, open_low=True, help="radius of adversarial training"),
    "train_attack": Knob(
        kind=str, default="pgd", choices=("pgd", "fgsm_rs", "free"), help="adversary of training; free replays batches"
    ),
    "train_steps": Knob(kind=int, default=10, low=1, high=1000, help="the adversary's steps (free: replays)"),
    "finetune_learning_rate": Knob(
        kind=float, default=1e-3, low=0, open_low=True, help="AdamW's learning rate of fine-tuning"
    ),
    "keep_floor": Knob(
        kind=float, default=0.05, low=0, high=1, open_low=True, open_high=True, help="least keep_prob that lam may set"
    ),
    "eps_linf": Knob(kind=float, default=(16 / 255,), low=0, several=True, help="l_inf budgets in pixel units"),
    "eps_l2": Knob(kind=float, default=(0.5,), low=0, several=True, help="l_2 budgets in pixel units"),
    "judged_linf": Knob(kind=float, default=16 / 255, low=0, help="the l_inf budget that claims are judged at"),
    "judged_l2": Knob(kind=float, default=0.5, low=0, help="the l_2 budget that claims are judged at"),
    "attack": Knob(kind=str, default="apgd", choices=ATTACKS, help="attack behind robust accuracy"),
    "attack_backend": Knob(
        kind=str, default="native", choices=("native", "art"), help="whose attack; art: the toolbox"
    ),
    "attack_iterations": Knob(kind=int, default=20, low=1, high=MOST, help="the attack's iterations"),
    "attack_restarts": Knob(kind=int, default=1, low=1, high=MOST, help="the attack's random starts"),
    "certify": Knob(kind=int, default=0, low=0, high=1, help="1: images proven safe are not attacked (dense nets)"),
    "audit_queries": Knob(
        kind=int, default=0, low=0, high=MOST, help="queries of Square, the gradient-free second opinion; 0 = none"
    ),
    "binary": Knob(
        kind=int, default=0, low=0, high=1, help="1: two classes, the lower half of the labels and the upper"
    ),
    "sensitivity": Knob(kind=int, default=0, low=0, high=1, help="1: local sensitivity of the encoder at the attacks"),
    "rows": Knob(kind=int, default=100, low=1, high=MOST_UNITS, help="rows of a Gaussian matrix"),
    "columns": Knob(kind=int, default=100, low=1, high=MOST_UNITS, help="columns of a Gaussian matrix"),
    "ascent_steps": Knob(kind=int, default=300, low=1, high=MOST, help="steps of gradient ascent on a matrix"),
    "ascent_step_size": Knob(
        kind=float, default=0.02, low=0, open_low=True, help="length of an ascent step, as a share of ||W||_F"
    ),
    "gap_iterations": Knob(kind=int, default=50, low=1, high=MOST, help="PGD's iterations for the loss gap"),
}


SAMPLERS = ("tpe", "nsga2", "qmc", "random")

# What a search is told besides its knobs: `--set NAME=VALUE`, in studies that search.
SEARCH: dict[str, Knob] = {
    "objectives": Knob(kind=str, default=("robust_accuracy", "stored_bytes"), choices=tuple(OBJECTIVES), several=True,
                       help="two or three numbers to be traded against each other"),
    "floor": Knob(kind=float, default=0.0, low=0, high=1, help="least clean accuracy of an acceptable model; 0 = none"),
    "evaluations": Knob(kind=int, default=60, low=1, high=MOST_UNITS, help="points to try, at the first seed each"),
    "finalists": Knob(kind=int, default=16, low=1, high=MOST_UNITS,
                      help="points, at least, that are run at every seed in the end"),
    "sampler": Knob(kind=str, default="tpe", choices=SAMPLERS, help="who proposes points"),
    "sampler_seed": Knob(kind=int, default=0, low=0, high=MOST, help="the sampler's own seed"),
}  # fmt: skip


def closest(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?` when a known word is near, else a full stop."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else "."


def shown(value: Value) -> str:
    """An axis value as people read it: 0.01, 16, linf."""
    return value if isinstance(value, str) else f"{value:g}"


def by_strength(axis: str, values: Iterable[Value]) -> list[Value]:
    """The distinct values of an axis: off first where it is among them, then towards the compressed end.

    An axis that does not compress by degrees, or is not known, stands sorted.
    """
    knob = AXES.get(axis)
    order = sorted(set(values), reverse=knob is not None and knob.compressed == "low")
    return sorted(order, key=lambda value: knob is None or value != knob.default)  # a stable sort: only off moves


def parse_number(text: str) -> float:
    """A finite number, written plainly or as a fraction (8/255); ValueError otherwise."""
    number = float(Fraction(text.replace(" ", ""))) if "/" in text else float(text)
    if not math.isfinite(number):
        raise ValueError(f"not finite: {text}")
    return number


def parse_value(name: str, knob: Knob, text: str) -> Value:
    """One value of an axis or setting, checked against its range; UsageError naming what would be accepted."""
    refusal = UsageError(f"--set {name}: {text!r} is not accepted; give {knob.range_text()}")
    if text in knob.words:
        return knob.words[text]
    if knob.kind is str:
        if text not in knob.choices:
            near = closest(text, map(str, knob.choices))
            raise UsageError(f"{refusal}{near}" if near != "." else str(refusal))
        return text
    try:
        number = parse_number(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise refusal from None
    inside = knob.low <= number <= knob.high
    if not inside or (knob.open_low and number == knob.low) or (knob.open_high and number == knob.high):
        raise refusal
    if knob.choices and number not in knob.choices:
        raise refusal
    if knob.kind is int:
        if number != int(number):
            raise refusal
        return int(number)
    return number


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One family's grid: the product of its axes' values."""

    name: str
    family: str
    axes: Mapping[str, tuple[Value, ...]]


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
    """One scale of a study: arms (or a search), seeds and settings; `by_data` overrides settings where another data set
    is named."""

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
    """A named study: what it asks, the rows of the protocol that its paper preset covers, and its presets."""

    name: str
    question: str
    figure: str
    covers: tuple[str, ...]
    presets: Mapping[str, Preset]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One trial of a study before it is built: family, seed, every axis, every setting."""

    family: str
    arms: tuple[str, ...]
    seed: int
    axes: Mapping[str, Value]
    settings: Mapping[str, Any]


def settings_for(preset: Preset, data: str) -> dict[str, Any]:
    """The preset's settings on a data set, over the defaults."""
    out = {name: knob.default for name, knob in SETTINGS.items()} | dict(preset.settings)
    if data != preset.data:
        out |= dict(preset.by_data.get(data, preset.by_data.get("*", {})))
    return out


def with_overrides(preset: Preset, overrides: Mapping[str, str], data: str) -> tuple[Preset, dict[str, Any]]:
    """The preset and its settings after `--set NAME=V1,V2`; UsageError for an unknown name or value."""
    settings = settings_for(preset, data)
    known = sorted(set(moving(preset)))
    for name, text in overrides.items():
        parts = [p.strip() for p in text.split(",") if p.strip()]
        if not parts:
            raise UsageError(f"--set {name}=: no value given; write --set {name}=V1,V2")
        if preset.search and (name in preset.search.knobs or name in SEARCH):
            preset = replace(preset, search=_searched(preset.search, name, parts))
        elif name in known:
            values = tuple(dict.fromkeys(parse_value(name, AXES[name], p) for p in parts))
            arms = tuple(
                replace(arm, axes={**arm.axes, name: values}) if name in arm.axes else arm for arm in preset.arms
            )
            preset = replace(preset, arms=arms)
        elif name in SETTINGS:
            knob = SETTINGS[name]
            numbers = tuple(parse_value(name, knob, p) for p in parts)
            if not knob.several and len(numbers) > 1:
                raise UsageError(f"--set {name}: one value is accepted, {len(numbers)} were given; it is not an axis")
            settings[name] = numbers if knob.several else numbers[0]
        else:
            search = list(dict.fromkeys([*preset.search.knobs, *SEARCH])) if preset.search else []
            names = [*known, *search, *SETTINGS]
            words = f"Knobs and options of the search: {', '.join(search)}" if search else f"Axes: {', '.join(known)}"
            raise UsageError(
                f"--set {name}: no such axis or setting{closest(name, names)} {words}. Settings: {', '.join(SETTINGS)}."
            )
    for norm in ("linf", "l2"):
        judged, budgets = settings[f"judged_{norm}"], settings[f"eps_{norm}"]
        if judged not in budgets and f"judged_{norm}" in overrides:
            raise UsageError(
                f"--set judged_{norm}: {judged:g} is none of the budgets ({', '.join(f'{b:g}' for b in budgets)}); "
                f"name it in --set eps_{norm} too"
            )
        if judged not in budgets:
            settings[f"judged_{norm}"] = budgets[len(budgets) // 2]
    if settings["patience"] and not settings["validation"]:
        raise UsageError("--set patience: early stopping needs a validation share; add --set validation=0.05")
    return preset, settings


def moving(preset: Preset) -> list[str]:
    """The axes that a study moves, in its own order."""
    knobs = preset.search.knobs if preset.search else {}
    return list(dict.fromkeys([*(a for arm in preset.arms for a in arm.axes), *(k for k in knobs if k in AXES)]))


def _searched(search: Search, name: str, parts: list[str]) -> Search:
    """The search with a knob narrowed to the given values, or with one of its options set."""
    if name in search.knobs:
        old = search.knobs[name]
        if name in AXES:
            values = tuple(dict.fromkeys(parse_value(name, AXES[name], p) for p in parts))
        else:
            assert isinstance(old, Choice)
            switch = Knob(kind=str, default="", choices=tuple(map(str, old.values)), help="")
            values = tuple(dict.fromkeys(parse_value(name, switch, p) for p in parts))
        return replace(search, knobs={**search.knobs, name: Choice(values=values, when=old.when)})
    knob = SEARCH[name]
    given = tuple(dict.fromkeys(parse_value(name, knob, p) for p in parts))
    if name == "objectives" and not 2 <= len(given) <= 3:
        raise UsageError(f"--set objectives: give two or three of {', '.join(OBJECTIVES)}, got {', '.join(parts)}")
    if not knob.several and len(parts) > 1:
        raise UsageError(f"--set {name}: one value is accepted, {len(parts)} were given")
    return replace(search, options={**search.options, name: given if knob.several else given[0]})


def axes_of(chosen: Mapping[str, Value]) -> dict[str, Value]:
    """Every axis of chosen knobs, those that were not asked at their defaults; switches are left out."""
    return {name: chosen.get(name, knob.default) for name, knob in AXES.items()}


def fit(knobs: Mapping[str, Domain], axes: Mapping[str, Value]) -> dict[str, Value] | None:
    """The choice of knobs (switches included) that gives exactly these axes; None where there is none."""

    def walk(left: list[str], chosen: dict[str, Value]) -> dict[str, Value] | None:
        if not left:
            return chosen if axes_of(chosen) == dict(axes) else None
        name, domain = left[0], knobs[left[0]]
        if not asked(domain, chosen):
            return walk(left[1:], chosen)
        options = (axes[name],) if name in AXES else domain.values if isinstance(domain, Choice) else ()
        tries = (walk(left[1:], chosen | {name: v}) for v in options if holds(domain, v))
        return next((found for found in tries if found is not None), None)

    return walk(list(knobs), {})


def expand(preset: Preset, settings: Mapping[str, Any], seeds: Iterable[int]) -> list[Point]:
    """Every point of every arm for every seed, seeds outermost; a point that two arms share stands once."""
    points: dict[tuple[Any, ...], Point] = {}
    for seed in seeds:
        for arm in preset.arms:
            for values in itertools.product(*arm.axes.values()):
                axes = {name: knob.default for name, knob in AXES.items()} | dict(zip(arm.axes, values, strict=True))
                key = (seed, *axes.values())
                if key in points:
                    points[key] = replace(points[key], arms=(*points[key].arms, arm.name))
                else:
                    points[key] = Point(family=arm.family, arms=(arm.name,), seed=seed, axes=axes, settings=settings)
    return list(points.values())
