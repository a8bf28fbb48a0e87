"""Carlini and Wagner's attacks: the logit margin in place of the cross-entropy."""

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.ball import Result
from study.attacks.losses import Loss, margin, right
from study.attacks.pgd import ascend
from study.attacks.record import Record


def cw(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int | None = None,
    step: float | None = None,
    confidence: float | None = None,
    searches: int = 6,
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """l_inf: projected sign steps up the margin, cut at `confidence`; l_2: the smallest perturbation, judged at eps.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point).
    l_inf, from the clean point: 10 steps of 2 / 255, confidence 50 (Madry et al. 2018 with the loss of Carlini and
    Wagner 2017, equation 6). l_2: min ||d||^2 + c max(0, z_y - max_{j != y} z_j + confidence) with x + d = (tanh w +
    1) / 2, Adam on w (100 steps of 0.05, confidence 0), c found per sample by `searches` runs; a point counts only
    inside the ball. Both are deterministic: the generator is there for the common signature.
    batch_size 0: what memory holds. Raises ValueError for a step or a count out of range.
    """
    ball.check(x, y, eps, norm)
    count = (10 if norm == "linf" else 100) if iterations is None else iterations
    size = (2 / 255 if norm == "linf" else 0.05) if step is None else step
    kappa = (50.0 if norm == "linf" else 0.0) if confidence is None else confidence
    ball.check_counts(iterations=count, searches=searches)
    if not size > 0:
        raise ValueError(f"step must be positive, got {size!r}")
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        if eps > 0 and norm == "linf":
            for index in record.parts():
                ascend(record, index, x[index], eps, norm, [size] * count, _up_to(kappa))
        elif eps > 0:
            for index in record.parts(record.left()):
                _smallest(record, index, eps, count, size, kappa, searches)
    return record.result()


def _up_to(confidence: float) -> Loss:
    def loss(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        return margin(logits, y).clamp_max(confidence)

    return loss


def _smallest(
    record: Record, index: Tensor, eps: float, iterations: int, step: float, confidence: float, searches: int
) -> None:
    """The l_2 attack on samples that the net gets right: a search for c around Adam in tanh space."""
    x = record.x[index]
    # the c that balances both terms at the linearised boundary: free of the logits' scale
    _, value, gradient = record.climb(index, x, margin)
    c = (2 * (confidence - value) / ball.lengths(gradient, "l2").square().clamp_min(1e-30)).clamp_min(1e-30)
    low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    for _ in range(searches):
        fooled = _adam(record, index, x, c, eps, iterations, step, confidence)
        high, low = torch.where(fooled, c, high), torch.where(fooled, low, c)
        c = torch.where(high.isinf(), low * 10, (low + high) / 2)


def _adam(
    record: Record,
    index: Tensor,
    x: Tensor,
    c: Tensor,
    eps: float,
    iterations: int,
    step: float,
    confidence: float,
) -> Tensor:
    """Adam on w for fixed c; which samples were fooled at any distance. Inside the ball a point enters the record."""
    start = torch.atanh((2 * x - 1) * 0.999999)
    w, mean, square = start.clone(), torch.zeros_like(x), torch.zeros_like(x)
    fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for k in range(1, iterations + 1):
        point = ((w.tanh() + 1) / 2).clamp(0.0, 1.0)
        inside = record.inside(index, point, eps, "l2")
        logits, value, gradient = record.climb(index, point, margin, inside=inside)
        fooled |= ~right(logits, record.y[index])
        push = ball.per_sample(c * (value < confidence), x)
        slope = (2 * (point - x) - push * gradient) * (1 - w.tanh().square()) / 2
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope.square()
        w = w - step * (mean / (1 - 0.9**k)) / ((square / (1 - 0.999**k)).sqrt() + 1e-8)
    point = ((w.tanh() + 1) / 2).clamp(0.0, 1.0)
    logits = record.look(index, point, record.inside(index, point, eps, "l2"))
    return fooled | ~right(logits, record.y[index])
