"""The ball that an attack lives in, and what an attack returns."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

NORMS = {"linf": math.inf, "l2": 2.0}
ROUNDING = 1e-6  # what float32 may add to a distance


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an attack found on N samples.

    first (N, C, H, W): the first misclassified point it looked at, the clean point where there was none.
    worst (N, C, H, W): the point of highest loss seen (the clean point counts); loss (N,): its cross-entropy.
    robust (N,): True where no point that was looked at was misclassified.
    forward, backward (N,): how often each sample went through the model, and gradients back to it.
    fell (N,): how many forward passes a sample had had before the one that first fooled the net: 0 at the clean point,
    -1 where none did.
    """

    first: Tensor
    worst: Tensor
    loss: Tensor
    robust: Tensor
    forward: Tensor
    backward: Tensor
    fell: Tensor


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
    """The direction of unit norm along which the linearised loss grows fastest: sign(g), or g / ||g||_2.

    Entries that are not finite count as 0: a sample without a finite gradient stays where it is.
    """
    gradient = finite(gradient)
    if norm == "linf":
        return gradient.sign()
    # squares of what lies beyond 1e+-20 are no float32 numbers; times a power of two nothing is rounded
    exponent = torch.frexp(gradient.flatten(1).abs().amax(1)).exponent.clamp(-126, 126)
    gradient = gradient * per_sample(torch.exp2(-exponent.to(gradient.dtype)), gradient)
    return gradient / per_sample(lengths(gradient, norm).clamp_min(1e-12), gradient)


def finite(value: Tensor) -> Tensor:
    """The tensor with 0 where it was NaN or infinite."""
    return value.nan_to_num(0.0, 0.0, 0.0)


def inside(point: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """Which points lie in the ball around x and in the box, to a rounding of the ball; NaN and infinity do not."""
    flat = point.flatten(1)
    return (lengths(point - x, norm) <= eps + ROUNDING) & (flat.amin(1) >= 0) & (flat.amax(1) <= 1)


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
    """ValueError naming the argument when an attack's input is out of range, NaN pixels included.

    That labels are below the number of classes is checked where it is known (check_labels).
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if not (isinstance(eps, (int, float)) and 0 <= eps < math.inf):
        raise ValueError(f"eps must be a finite number of at least 0, got {eps!r}")
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x and y must be of one non-zero length, got {len(x)} and {len(y)}")
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32 or float64 (a net of another precision is given casts), got {x.dtype}")
    if not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise ValueError(f"x must lie in [0, 1], got {float(x.min())} to {float(x.max())}")
    if y.dtype != torch.int64 or y.ndim != 1:
        raise ValueError(f"y must be a label of type int64 per sample, got {y.dtype} of shape {tuple(y.shape)}")


def check_labels(y: Tensor, logits: Tensor) -> None:
    """ValueError for labels that are none of the net's K classes, logits (N, K)."""
    classes = logits.shape[1]
    if not (int(y.min()) >= 0 and int(y.max()) < classes):
        wrong = y[(y < 0) | (y >= classes)].unique().tolist()
        raise ValueError(f"y must lie in 0 to {classes - 1}, the net's {classes} classes, got {wrong[:5]}")


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
    """What an attack divides its logits by, (N, K) -> (N,), so that the two largest differ by `margin` whatever the
    scale that the net gives them.

    Above about 17 the float32 cross-entropy is exactly 0 and its gradient with it, which looks like robustness; well
    before, its rounding hides which step was better, and the softmax over the rivals sees the nearest one alone. Far
    below 1 it sees their mean, and climbs towards no class. The division changes no prediction. Where two classes tie
    a thousandth of the distance to the third counts, or 1 where there is none: a class that the net has switched off,
    at -1e9 or -inf, says nothing of the scale of the others.
    """
    top = logits.topk(min(3, logits.shape[1]), dim=1).values
    spread = (top[:, 0] - top[:, -1]) / 1000
    found = torch.maximum(top[:, 0] - top[:, 1], torch.where(spread.isfinite(), spread, 0.0)) / margin
    return torch.where((found > 0) & found.isfinite(), found, 1.0)


def plain(value: Tensor) -> Tensor:
    """The tensor, or its copy where it was made in inference mode and so could not be part of a gradient."""
    return value.clone() if value.is_inference() else value


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode without parameter gradients; modes, flags and gradients are put back as found.

    Gradients to images are there whatever the caller has switched off (no_grad, inference_mode). Masked and quantized
    weights do not change meanwhile and are computed once, not at every pass.
    """
    modes = {module: module.training for module in model.modules()}
    flags = {p: p.requires_grad for p in model.parameters()}
    gradients = {p: p.grad for p in flags}
    try:
        model.eval()
        for p in flags:
            p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), parametrize.cached():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for p, flag in flags.items():
            p.requires_grad_(flag)
            p.grad = gradients[p]
