"""Axes, settings, presets and studies, and their expansion to points. Declarative: no torch, no Ray."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from study.spec.domains import Value
from study.spec.errors import UsageError, closest
from study.spec.objectives import OBJECTIVES


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
