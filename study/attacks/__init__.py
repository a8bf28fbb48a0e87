"""Attacks: pure functions in pixel units, always inside [0, 1] and inside the ball of radius eps.

    attack(model, x, y, eps, norm, *, ..., generator) -> Result

The model's mode and gradients are left as found, and all randomness comes from the generator. `universal` makes one
perturbation for all samples; `art` has the same attacks through the toolbox, and is imported by those who ask for it.
"""

from collections.abc import Callable

from study.attacks.apgd import apgd
from study.attacks.autoattack import autoattack
from study.attacks.ball import Result
from study.attacks.cw import cw
from study.attacks.fab import fab
from study.attacks.fgsm import fgsm
from study.attacks.pgd import pgd
from study.attacks.random_points import random_points
from study.attacks.square import square

ATTACKS: dict[str, Callable[..., Result]] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "apgd": apgd,
    "autoattack": autoattack,
    "cw": cw,
    "fab": fab,
    "square": square,
    "random_points": random_points,
}
