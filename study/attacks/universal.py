"""One perturbation for all samples (Moosavi-Dezfooli et al. 2017), found by gradient steps on the mean loss."""

import torch
from torch import Tensor, nn

from study.attacks import ball, memory
from study.attacks.ball import Result
from study.attacks.losses import log_odds
from study.attacks.record import Record

CAP = 3.0  # log-odds beyond which a fooled sample pulls the shared perturbation no further (Shafahi et al. 2020)


def universal_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    epochs: int = 5,
    batch_size: int = 128,
    step: float | None = None,
    generator: torch.Generator,
) -> Tensor:
    """A shared delta (1, C, H, W): a projected step per batch up its mean loss, in the norm's steepest direction.

    delta <- P(delta + step sign(g)) (l_inf) or P(delta + step g / ||g||_2) (l_2), g the gradient at
    clip(x + delta, 0, 1) of the mean log-odds, capped; step eps / 4 unless given. x (N, C, H, W) in [0, 1], y (N,),
    eps in pixel units (0 gives zeros); ||delta|| <= eps. The generator orders the batches.
    Source: Shafahi et al. 2020, Algorithm 2. Raises ValueError for counts below 1.
    """
    _check(x, y, eps, norm, epochs, batch_size)
    size = eps / 4 if step is None else step
    with ball.frozen(model):
        x, y, delta = ball.plain(x), ball.plain(y), torch.zeros(1, *x.shape[1:], dtype=x.dtype, device=x.device)
        for _ in range(epochs if eps > 0 else 0):
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for index in order.split(batch_size):
                gradient = _gradient(model, x[index], y[index], delta)[1]
                delta = ball.project(delta + size * ball.steepest(gradient, norm), eps, norm)
    return delta


def universal_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 20,
    batch_size: int = 512,
    step: float | None = None,
    generator: torch.Generator,
) -> Tensor:
    """A shared delta (1, C, H, W): projected steps up the mean loss over all samples; the best delta seen.

    As `universal_fgsm`, with the exact gradient of the mean, step 2.5 eps / `iterations` unless given, halved after
    half of them. Begins at 0 and is deterministic: the generator is there for the common signature.
    """
    _check(x, y, eps, norm, iterations, batch_size)
    size = 2.5 * eps / iterations if step is None else step
    with ball.frozen(model):
        x, y, delta = ball.plain(x), ball.plain(y), torch.zeros(1, *x.shape[1:], dtype=x.dtype, device=x.device)
        best, highest = delta, -torch.inf
        for i in range(iterations + 1 if eps > 0 else 0):
            parts = [
                _gradient(model, a, b, delta) for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True)
            ]
            loss = float(torch.stack([value for value, _ in parts]).sum())
            if loss > highest:
                best, highest = delta, loss
            gradient = torch.stack([g for _, g in parts]).sum(0)
            length = size if 2 * i < iterations else size / 2
            delta = ball.project(delta + length * ball.steepest(gradient, norm), eps, norm)
    return best


def _check(x: Tensor, y: Tensor, eps: float, norm: str, count: int, batch_size: int) -> None:
    ball.check(x, y, eps, norm)
    ball.check_counts(iterations=count, batch_size=batch_size)


def _gradient(model: nn.Module, x: Tensor, y: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """The summed capped log-odds of a batch and its gradient at delta."""
    delta = delta.detach().requires_grad_(True)
    value = log_odds(model((x + delta).clamp(0.0, 1.0)), y).clamp_max(CAP).sum()
    return value.detach(), torch.autograd.grad(value, delta)[0]


def judge(model: nn.Module, x: Tensor, y: Tensor, delta: Tensor) -> Result:
    """What a shared perturbation does to each sample, at clip(x + delta, 0, 1); one pass beside the clean one."""
    with ball.frozen(model):
        record = Record(model, x, y)
        record.look(record.all, (x + delta).clamp(0.0, 1.0))
    return record.result()


@torch.no_grad()
def fooling_rate(model: nn.Module, x: Tensor, delta: Tensor) -> float:
    """The share of samples whose prediction the perturbation changes, in [0, 1]; labels play no part."""
    with ball.frozen(model):
        parts = x.split(memory.images(model, x))
        changed = [model(part).argmax(1) != model((part + delta).clamp(0.0, 1.0)).argmax(1) for part in parts]
    return float(torch.cat(changed).double().mean())
