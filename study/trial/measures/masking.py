"""Checks for gradient masking: signs that an attack failed because gradients lied, not because the net is robust.

Carlini et al. 2019 ("On Evaluating Adversarial Robustness") and Athalye et al. 2018 name them. None moves when the
logits are multiplied by a constant, as robust accuracy does not.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from study.attacks import ball, memory
from study.attacks.ball import Result
from study.attacks.losses import log_odds, right
from study.attacks.pgd import pgd
from study.attacks.square import square
from study.spec.measures import CHECKED
from study.spec.rows import Row, row

STEPS = 10
MARGIN = 5.0  # what the median image's two largest logits are made to differ by
TOLERANCE = 1e-5  # of the loss, which may fall by float32 rounding
SLACK, LEVEL = 0.01, 0.05  # the share that a sound attack may leave to Square, and how rarely chance may exceed it


class Scaled(nn.Module):
    """A net whose logits are divided by a constant of its own: the same for a net and for that net times a constant."""

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():
            top = memory.logits(net, x).topk(2, dim=1).values
        unit = float((top[:, 0] - top[:, 1]).median()) / MARGIN
        self.unit = unit if 0 < unit < math.inf else 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) / self.unit


def checks(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Callable[..., Result],
    eps: Sequence[float],
    where: dict[str, Any],
    seed: int,
    by: Mapping[str, str],
) -> list[Row]:
    """zero_gradient_share, loss_monotone and zero_eps_agrees on samples x (N, C, H, W), y (N,).

    `where` holds the coordinates of the rows, the norm among them. The last two look at the first CHECKED samples.

    zero_gradient_share: samples whose input gradient is exactly zero at the clean point (1: nothing to climb).
    loss_monotone: 1 where the mean worst loss of a short PGD grows with eps, as it must for any sound attack, else 0.
    zero_eps_agrees: 1 where the attack at eps = 0 gives clean accuracy, else 0. `by` names the attack (`own`) and the
    PGD (`pgd`) in the rows.
    """
    generator, norm, scaled = torch.Generator().manual_seed(seed), where["norm"], Scaled(net, x)
    few, some, of_some = where | {"n": min(len(y), CHECKED)}, x[:CHECKED], y[:CHECKED]
    losses = [
        float(pgd(scaled, some, of_some, e, norm, iterations=STEPS, generator=generator).loss.double().mean())
        for e in sorted(eps)
    ]
    monotone = all(b >= a - TOLERANCE * max(1.0, a) for a, b in itertools.pairwise(losses))
    at_zero = attack(net, some, of_some, 0.0, norm, generator=generator).robust
    with torch.no_grad():
        agrees = torch.equal(at_zero, right(memory.logits(net, some), of_some))
    return [
        row("zero_gradient_share", zero_gradients(scaled, x, y), **where),
        row("loss_monotone", float(monotone), **few, attack=by["pgd"]),
        row("zero_eps_agrees", float(agrees), **few, attack=by["own"]),
    ]


def zero_gradients(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of samples x (N, C, H, W), y (N,) at which the log-odds of the label have no gradient at all.

    Those of the cross-entropy vanish by rounding where a net is sure of itself; the log-odds do not saturate.
    """
    zero = []
    with ball.frozen(net), torch.enable_grad():
        size = memory.images(net, x)
        for part, label in zip(x.split(size), y.split(size), strict=True):
            point = part.detach().requires_grad_(True)
            gradient = torch.autograd.grad(log_odds(net(point), label).sum(), point)[0]
            zero.append((gradient.flatten(1) == 0).all(dim=1))
    return float(torch.cat(zero).double().mean())


def audit(
    net: nn.Module, x: Tensor, y: Tensor, robust: Tensor, queries: int, seed: int, where: dict[str, Any]
) -> list[Row]:
    """robust_accuracy by Square, an attack without gradients, and audit_flag: 1 where it finds what gradients hide.

    That is where it fools more of the images that the attack with gradients left than `beaten` allows. `robust` (M,) is
    the mask which that attack left, of as many images as there are or more: the first N count. `where` has the
    coordinates, Square's name among them.
    """
    generator = torch.Generator().manual_seed(seed)
    found = square(net, x, y, where["eps"], where["norm"], queries=queries, generator=generator)
    alone, where = int((robust[: len(y)] & ~found.robust).sum()), where | {"n": len(y)}
    return [
        row("robust_accuracy", float(found.robust.double().mean()), **where),
        row("audit_flag", float(beaten(alone, len(y))), **where),
    ]


def beaten(alone: int, n: int) -> bool:
    """Whether `alone` of n images, fooled by the second attack alone, are too many for a sound first one.

    A sound attack misses some: a share of SLACK is let pass, and of n images as many as a binomial of that share gives
    in all but LEVEL of cases (3 of 40, 8 of 360, 16 of 1000 are too many).
    """
    if alone == 0:
        return False
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(SLACK)
        + (n - k) * math.log1p(-SLACK)
        for k in range(alone)
    )
    return 1 - sum(map(math.exp, logs)) < LEVEL
