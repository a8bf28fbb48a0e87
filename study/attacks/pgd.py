"""Projected gradient descent that keeps the worst point it saw."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.attacks import ball
from study.attacks.ball import Result


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 50,
    step: float | None = None,
    generator: torch.Generator,
) -> Result:
    """PGD on the cross-entropy from the clean point and, from half of the iterations on, a random start.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). Step size 2.5 eps / iterations of
    one leg unless given, in the direction sign(g) (l_inf) or g / ||g||_2 (l_2); the step halves at half of each leg.
    Every point looked at counts, for the worst loss and for `robust`. The model's mode and gradients are left as found.
    Source: Madry et al. 2018.
    """
    ball.check(x, y, eps, norm)
    shape = (-1, *[1] * (x.ndim - 1))
    with ball.frozen(model):
        temperature = ball.temperature(model, x)
        worst, loss = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        robust = torch.ones(len(x), dtype=torch.bool, device=x.device)
        legs = 2 if iterations >= 2 and eps > 0 else 1
        for leg in range(legs):
            count = iterations // 2 if leg else iterations - (legs - 1) * (iterations // 2)
            delta = ball.random_delta(x, eps, norm, generator) if leg else torch.zeros_like(x)
            point = ball.into_box(x, delta, eps, norm)
            size = 2.5 * eps / max(1, count) if step is None else step
            for i in range(count + 1):
                logits, gradient = _look(model, point, y, temperature)
                here = cross_entropy(logits, y, reduction="none")
                robust &= logits.argmax(1) == y
                better = here > loss
                loss, worst = torch.where(better, here, loss), torch.where(better.view(shape), point, worst)
                if i < count:
                    direction = gradient.sign() if norm == "linf" else _unit(gradient)
                    length = size if i < count // 2 else size / 2
                    point = ball.into_box(x, point + length * direction - x, eps, norm)
    return Result(worst=worst, loss=loss, robust=robust)


def _look(model: nn.Module, point: Tensor, y: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits at a point and the gradient of the cross-entropy of the logits over `temperature`."""
    point = point.detach().requires_grad_(True)
    logits = model(point)
    gradient = torch.autograd.grad(cross_entropy(logits / temperature, y, reduction="sum"), point)[0]
    return logits.detach(), gradient


def _unit(gradient: Tensor) -> Tensor:
    return gradient / ball.lengths(gradient, "l2").clamp_min(1e-30).view(-1, *[1] * (gradient.ndim - 1))
