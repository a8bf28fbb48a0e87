"""Checks for gradient masking: signs that an attack failed because gradients lied, not because the net is robust.

Carlini et al. 2019 ("On Evaluating Adversarial Robustness") and Athalye et al. 2018 name them.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.attacks import ball, memory
from study.attacks.ball import Result
from study.attacks.pgd import pgd
from study.attacks.square import square
from study.nets.net import Net
from study.spec.rows import Row, row

STEPS = 10
TOLERANCE = 1e-6  # a loss may fall by float32 rounding


def checks(
    net: Net,
    x: Tensor,
    y: Tensor,
    attack: Callable[..., Result],
    eps: Sequence[float],
    where: dict[str, Any],
    seed: int,
    by: Mapping[str, str],
) -> list[Row]:
    """zero_gradient_share, loss_monotone and zero_eps_agrees on samples x (N, C, H, W), y (N,).

    `where` holds the coordinates of the rows, the norm among them.

    zero_gradient_share: samples whose input gradient is exactly zero at the clean point (1: nothing to climb).
    loss_monotone: 1 where the mean worst loss of a short PGD grows with eps, as it must for any sound attack, else 0.
    zero_eps_agrees: 1 where the attack at eps = 0 gives clean accuracy, else 0. `by` names the attack (`own`) and the
    PGD (`pgd`) in the rows.
    """
    generator, norm = torch.Generator().manual_seed(seed), where["norm"]
    losses = [
        float(pgd(net, x, y, e, norm, iterations=STEPS, generator=generator).loss.double().mean()) for e in sorted(eps)
    ]
    monotone = all(b >= a - TOLERANCE for a, b in itertools.pairwise(losses))
    at_zero = attack(net, x, y, 0.0, norm, generator=generator).robust
    with torch.no_grad():
        agrees = torch.equal(at_zero, memory.logits(net, x).argmax(1) == y)
    return [
        row("zero_gradient_share", _zero_gradients(net, x, y), **where),
        row("loss_monotone", float(monotone), **where, attack=by["pgd"]),
        row("zero_eps_agrees", float(agrees), **where, attack=by["own"]),
    ]


def _zero_gradients(net: Net, x: Tensor, y: Tensor) -> float:
    zero = []
    with ball.frozen(net):
        size = memory.images(net, x)
        for part, label in zip(x.split(size), y.split(size), strict=True):
            point = part.detach().requires_grad_(True)
            gradient = torch.autograd.grad(cross_entropy(net(point), label, reduction="sum"), point)[0]
            zero.append((gradient.flatten(1) == 0).all(dim=1))
    return float(torch.cat(zero).double().mean())


def audit(
    net: Net, x: Tensor, y: Tensor, robust: Tensor, queries: int, generator: torch.Generator, where: dict[str, Any]
) -> list[Row]:
    """robust_accuracy by Square, an attack without gradients, and audit_flag: 1 where it beats the attack with them.

    `robust` (N,) is the mask that the white-box attack left; `where` has the coordinates, Square's name among them.
    """
    found = square(net, x, y, where["eps"], where["norm"], queries=queries, generator=generator)
    share = float(found.robust.double().mean())
    flag = share < float(robust.double().mean())
    return [row("robust_accuracy", share, **where), row("audit_flag", float(flag), **where)]
