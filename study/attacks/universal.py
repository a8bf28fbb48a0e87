"""One perturbation for all samples (Moosavi-Dezfooli et al. 2017), found by gradient steps on the mean loss."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from study.attacks import ball, memory
from study.attacks.ball import Result
from study.attacks.losses import log_odds
from study.attacks.precision import at_its_own
from study.attacks.record import Record

CAP = 3.0  # the loss beyond which a fooled sample pulls the shared perturbation no further (Shafahi et al. 2020)
# The margin that the median image's logits are scaled to: the cap, and which images the mean loss heeds, would else
# depend on a factor of the logits that changes no prediction. On MNIST (5000 images, one layer of 400) at l_inf 0.12
# the fooling rate is .02, .14, .33, .33 at margins 1, 2, 5, 10; the mean log-odds, which heed images that are out of
# reach as much as those that are not, get .17 at 5.
MARGIN = 5.0


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
    clip(x + delta, 0, 1) of the mean cross-entropy, capped, of logits scaled by one factor (MARGIN); step eps / 4
    unless given. x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives zeros); ||delta|| <= eps. The generator
    orders the batches, whose size is part of the attack.
    Source: Shafahi et al. 2020, Algorithm 2. Raises ValueError for counts below 1.
    """
    _check(x, y, eps, norm, epochs, batch_size)
    size = eps / 4 if step is None else step
    with ball.frozen(model):
        climb = _Climb(model, x, y)
        delta = torch.zeros_like(climb.x[:1])
        for _ in range(epochs if eps > 0 else 0):
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for index in order.split(batch_size):
                gradient = climb.at(delta, index)[1]
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
    batch_size: int = 0,
    step: float | None = None,
    generator: torch.Generator,
) -> Tensor:
    """A shared delta (1, C, H, W): projected steps up the mean loss over all samples; the best delta seen.

    As `universal_fgsm`, with the exact gradient of the mean, step 2.5 eps / `iterations` unless given, halved after
    half of them. Begins at 0 and is deterministic: the generator is there for the common signature. batch_size 0: what
    memory holds; it changes no answer but by rounding.
    """
    _check(x, y, eps, norm, iterations, batch_size or 1)
    size = 2.5 * eps / iterations if step is None else step
    with ball.frozen(model):
        climb = _Climb(model, x, y, batch_size)
        best = delta = torch.zeros_like(climb.x[:1])
        highest = -torch.inf
        for i in range(iterations + 1 if eps > 0 else 0):
            loss, gradient = climb.at(delta, climb.all)
            if loss > highest:
                best, highest = delta, loss
            length = size if 2 * i < iterations else size / 2
            delta = ball.project(delta + length * ball.steepest(gradient, norm), eps, norm)
    return best


def _check(x: Tensor, y: Tensor, eps: float, norm: str, count: int, batch_size: int) -> None:
    ball.check(x, y, eps, norm)
    ball.check_counts(iterations=count, batch_size=batch_size)


class _Climb:
    """The summed capped cross-entropy of samples under a shared delta, and its gradient; the model must be frozen."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 0) -> None:
        self.model, self.x, self.y = at_its_own(model, x), ball.plain(x), ball.plain(y)
        self.all = torch.arange(len(x), device=x.device)
        self.batch = batch_size or memory.images(self.model, self.x)
        clean = memory.logits(self.model, self.x)
        ball.check_labels(self.y, clean)
        self.temperature = ball.temperature(clean, MARGIN).median()

    def at(self, delta: Tensor, index: Tensor) -> tuple[float, Tensor]:
        """The sum over the samples in `index` (n,) at delta (1, C, H, W), and its gradient, batch by batch."""
        total, gradient = 0.0, torch.zeros_like(delta)
        for part in index.split(self.batch):
            moved = delta.detach().requires_grad_(True)
            logits = self.model((self.x[part] + moved).clamp(0.0, 1.0)) / self.temperature
            value = softplus(log_odds(logits, self.y[part])).clamp_max(CAP).sum()
            gradient += torch.autograd.grad(value, moved)[0]
            total += float(value.detach())
        return total, gradient


def random_perturbations(x: Tensor, eps: float, norm: str, generator: torch.Generator) -> Tensor:
    """The floor of a universal or any other perturbation: one per image of x (N, C, H, W), of norm exactly eps, that
    knows nothing of the net. l_inf: eps times random signs, which has the l_2 norm of a step of sign(g) as well;
    l_2: a uniform direction. Drawn on the CPU's stream."""
    if norm == "linf":
        return (eps * (2.0 * torch.randint(2, x.shape, generator=generator) - 1.0)).to(x)
    return ball.random_edge(x, eps, norm, generator)


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
        model = at_its_own(model, x)
        parts = x.split(memory.images(model, x))
        changed = [model(part).argmax(1) != model((part + delta).clamp(0.0, 1.0)).argmax(1) for part in parts]
    return float(torch.cat(changed).double().mean())
