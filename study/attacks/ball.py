"""The ball that an attack lives in, and what an attack returns."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

NORMS = {"linf": math.inf, "l2": 2.0}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an attack found on N samples.

    first (N, C, H, W): the first misclassified point it looked at, the clean point where there was none.
    worst (N, C, H, W): the point of highest loss seen (the clean point counts); loss (N,): its cross-entropy.
    robust (N,): True where no point that was looked at was misclassified.
    forward, backward (N,): how often each sample went through the model, and gradients back to it.
    """

    first: Tensor
    worst: Tensor
    loss: Tensor
    robust: Tensor
    forward: Tensor
    backward: Tensor


def lengths(delta: Tensor, norm: str) -> Tensor:
    """The norm of each sample's perturbation, (N, ...) -> (N,)."""
    return torch.linalg.vector_norm(delta.flatten(1), ord=NORMS[norm], dim=1)


def project(delta: Tensor, eps: float, norm: str) -> Tensor:
    """The nearest perturbation inside the ball of radius eps, sample by sample."""
    if norm == "linf":
        return delta.clamp(-eps, eps)
    factor = (eps / lengths(delta, norm).clamp_min(1e-12)).clamp_max(1.0)
    return delta * per_sample(factor, delta)


def per_sample(value: Tensor, like: Tensor) -> Tensor:
    """A tensor (N,) shaped (N, 1, ..., 1), to be broadcast over samples of the shape of `like`."""
    return value.view(-1, *[1] * (like.ndim - 1))


def put(target: Tensor, value: Tensor, mask: Tensor, index: Tensor | None = None) -> None:
    """target[index][mask] = value[mask], in place (all rows without `index`).

    On a CPU the chosen rows alone are copied; on a GPU, where counting them would wait for the device, all are.
    """
    if target.is_cuda:
        place = slice(None) if index is None else index
        target[place] = torch.where(per_sample(mask, value), value, target[place])
    else:
        rows = mask.nonzero()[:, 0]
        target[rows if index is None else index[rows]] = value[rows]


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """The direction of unit norm along which the linearised loss grows fastest: sign(g), or g / ||g||_2."""
    if norm == "linf":
        return gradient.sign()
    return gradient / per_sample(lengths(gradient, norm).clamp_min(1e-30), gradient)


def into_box(x: Tensor, delta: Tensor, eps: float, norm: str) -> Tensor:
    """x + delta inside ball and box.

    In l_2 clipped first: what the box takes then does not count against eps, and shortening the rest towards x in
    [0, 1] stays inside the box. Projecting first loses up to two points of attack on images with black backgrounds.
    """
    if norm == "linf":
        return (x + project(delta, eps, norm)).clamp_(0.0, 1.0)
    return (x + project((x + delta).clamp_(0.0, 1.0) - x, eps, norm)).clamp_(0.0, 1.0)


def random_delta(x: Tensor, eps: float, norm: str, generator: torch.Generator) -> Tensor:
    """A uniform draw from the l_inf cube, or a direction of uniform radius in the l_2 ball, on the CPU's stream."""
    if norm == "linf":
        return ((torch.rand(x.shape, generator=generator) * 2 - 1) * eps).to(x.device)
    delta = torch.randn(x.shape, generator=generator)
    radius = torch.rand(len(x), generator=generator) * eps / lengths(delta, norm).clamp_min(1e-12)
    return (delta * per_sample(radius, delta)).to(x.device)


def random_edge(x: Tensor, eps: float, norm: str, generator: torch.Generator) -> Tensor:
    """A draw of norm eps: a uniform direction of the l_inf cube (by its interior) or of the l_2 sphere."""
    if norm == "linf":
        delta = torch.rand(x.shape, generator=generator) * 2 - 1
    else:
        delta = torch.randn(x.shape, generator=generator)
    return (delta * per_sample(eps / lengths(delta, norm).clamp_min(1e-12), delta)).to(x.device)


def check(x: Tensor, y: Tensor, eps: float, norm: str) -> None:
    """ValueError naming the argument when an attack's input is out of range."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if not (isinstance(eps, (int, float)) and 0 <= eps < math.inf):
        raise ValueError(f"eps must be a finite number of at least 0, got {eps!r}")
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x and y must be of one non-zero length, got {len(x)} and {len(y)}")
    if float(x.min()) < 0 or float(x.max()) > 1:
        raise ValueError(f"x must lie in [0, 1], got {float(x.min())} to {float(x.max())}")


def check_counts(**counts: int) -> None:
    """ValueError naming the argument for a count (of iterations, restarts, ...) that is not a whole number from 1."""
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """ValueError naming the argument and its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def temperature(logits: Tensor, margin: float) -> Tensor:
    """What an attack divides its logits by, (N, K) -> (N,): so much, and at least 1, that the two largest differ by at
    most `margin`.

    Above about 17 the float32 cross-entropy is exactly 0 and its gradient with it, which looks like robustness; well
    before, its rounding hides which step was better, and the softmax over the rivals sees the nearest one alone. The
    division changes no prediction.
    """
    top = logits.topk(2, dim=1).values
    return ((top[:, 0] - top[:, 1]) / margin).clamp_min(1.0)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode without parameter gradients; modes, flags and gradients are put back as found.

    Masked and quantized weights do not change meanwhile and are computed once, not at every pass.
    """
    modes = {module: module.training for module in model.modules()}
    flags = {p: p.requires_grad for p in model.parameters()}
    gradients = {p: p.grad for p in flags}
    try:
        model.eval()
        for p in flags:
            p.requires_grad_(False)
        with parametrize.cached():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for p, flag in flags.items():
            p.requires_grad_(flag)
            p.grad = gradients[p]
