"""One gradient step to the edge of the ball."""

import torch
from torch import Tensor, nn

from study.attacks import ball, draws, losses
from study.attacks.ball import Result
from study.attacks.record import Record

SOFT = 10.0  # 8 digits and MNIST nets: .2 points fewer images robust than at 5, .7 than at 2


def fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    random_start: bool = False,
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """x + eps sign(g) (l_inf) or x + eps g / ||g||_2 (l_2), g the gradient of the cross-entropy at x, of logits scaled
    to a margin of SOFT there: no constant factor of theirs counts.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units. With `random_start` the gradient is taken at a random point
    of the ball and the step is 1.25 eps, projected (Wong, Rice and Kolter 2020). The generator is drawn from only
    then. Exact on a linear net of two classes away from the box's border.
    batch_size 0: what memory holds. Source: Goodfellow et al. 2015.
    """
    ball.check(x, y, eps, norm)
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        parts = record.parts() if eps > 0 else ()
        shifts = draws.deltas(x, parts, eps, norm, generator) if random_start else [None] * len(parts)
        for index, delta in zip(parts, shifts, strict=True):
            here = x[index]
            start = here if delta is None else ball.into_box(here, delta, eps, norm)
            gradient = record.climb(index, start, losses.log_odds, margin=SOFT)[2]
            length = 1.25 * eps if random_start else eps
            step = start + length * ball.steepest(gradient, norm) - here
            record.look(index, ball.into_box(here, step, eps, norm))
    return record.result()
