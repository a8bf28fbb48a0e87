"""Adversarial points looked at a second time, in other batches: does what was found hold?"""

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.ball import Result
from study.attacks.losses import right
from study.attacks.precision import at_its_own

AT_ONCE = 7  # images; the attack had more, and kernels round differently at another batch size


@torch.no_grad()
def recheck(model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str, result: Result) -> Tensor:
    """The fooled samples whose first misclassified point does not hold, a mask (N,).

    A point holds where it is finite, inside ball and box (to a rounding of 1e-6) and still misclassified when the net
    is given AT_ONCE images at a time, one forward pass each. What does not hold was a tie that rounding decides, or the
    net's output depends on its batch or on chance. x (N, C, H, W), y (N,), eps and norm are those of the attack.
    """
    fooled = (~result.robust).nonzero()[:, 0]
    bad = torch.zeros_like(result.robust)
    with ball.frozen(model):
        net = at_its_own(model, x)
        for index in fooled.split(AT_ONCE) if len(fooled) else ():
            point = result.first[index]
            holds = ball.inside(point, x[index], eps, norm) & ~right(net(point), y[index])
            bad[index] = ~holds
    return bad
