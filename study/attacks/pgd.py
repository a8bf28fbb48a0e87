"""Projected gradient ascent at fixed step sizes that keeps the worst point it saw."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.attacks import ball, draws, losses
from study.attacks.ball import Result
from study.attacks.losses import Loss
from study.attacks.record import Record

# The margins that the logits are scaled to, in the first and in the second half of a leg: soft ones find the rival
# class, hard ones reach it. Digits and MNIST nets (8 kinds, 2 norms, 200 images, 20 iterations) against AutoPGD with 9
# targets and 50 iterations: 2.5 points more images robust (3.8 by the logits as they are, 8 on a masked net of small
# ones); 2.8 at 5 throughout, 2.4 at 10 or 20 but with smaller losses, 3.7 at 2 and 10. The mean worst loss is .5 %
# below that of the logits as they are.
SOFT = (5.0, 20.0)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 50,
    step: float | None = None,
    restarts: int = 1,
    loss: str = "ce",
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """PGD from the clean point and, from half of the iterations on, a random start; then `restarts` - 1 more of these.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). Step size 2.5 eps / iterations of
    one leg unless given, in the direction sign(g) (l_inf) or g / ||g||_2 (l_2); the step halves at half of each leg.
    Restarts after the first begin both of their legs at random. On the cross-entropy ("ce") steps follow the log-odds
    of logits scaled to a fixed margin at the clean point (SOFT), so that no constant factor of theirs counts. Every
    point looked at counts, for the worst loss and for `robust`; no sample is retired, so that the worst loss is sought
    to the end. Source: Madry et al. 2018.
    batch_size 0: what memory holds. Raises ValueError for a loss that is not ce, dlr or margin, or iterations or
    restarts below 1.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(iterations=iterations, restarts=restarts)
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        parts = record.parts()
        climbed = losses.untargeted(loss)
        legs = [iterations - iterations // 2, iterations // 2] if iterations >= 2 else [iterations]
        for number, count in enumerate(legs * restarts if eps > 0 else []):
            size = 2.5 * eps / count if step is None else step
            sizes = [size if i < count // 2 else size / 2 for i in range(count)]
            shifts = draws.deltas(x, parts, eps, norm, generator) if number else [x.new_zeros(())] * len(parts)
            for index, delta in zip(parts, shifts, strict=True):
                start = ball.into_box(x[index], delta.expand_as(x[index]), eps, norm)
                ascend(record, index, start, eps, norm, sizes, climbed, SOFT if loss == "ce" else ())
    return record.result()


def ascend(
    record: Record,
    index: Tensor,
    start: Tensor,
    eps: float,
    norm: str,
    sizes: Sequence[float],
    loss: Loss,
    margins: Sequence[float] = (),
) -> None:
    """Projected steps of the given sizes up the gradient of `loss`, from `start` (n, C, H, W), for the samples in
    `index` (n,), at most a batch; the last point counts.

    `margins` are those to which logits are scaled (Record.climb), one for each equal part of the steps; as they are
    where there are none. One forward and one backward pass per step and one forward pass for the last point.
    """
    x, point = record.x[index], start
    for i, size in enumerate(sizes):
        margin = margins[i * len(margins) // len(sizes)] if margins else 0.0
        gradient = record.climb(index, point, loss, margin=margin)[2]
        point = ball.into_box(x, point + size * ball.steepest(gradient, norm) - x, eps, norm)
    record.look(index, point)
