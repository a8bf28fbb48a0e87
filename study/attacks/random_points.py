"""Uniform draws from ball and box together: how a net fares against perturbations nobody chose."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.ball import Result
from study.attacks.record import Record

BLOCK = 256  # images whose l_2 draws are made together, in some ten float64 copies


def random_points(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    samples: int = 10,
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """`samples` independent uniform points of {z : ||z - x|| <= eps, 0 <= z <= 1} per sample; every one counts.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). One forward pass per point.
    batch_size 0: what memory holds. Raises ValueError for a number of samples below 1.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(samples=samples)
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        for z in uniform_points(x, eps, norm, samples if eps > 0 else 0, generator):
            record.look(record.all, z)
    return record.result()


def uniform_points(x: Tensor, eps: float, norm: str, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`count` times a uniform point of ball and box per sample, one at a time, drawn on the CPU's stream.

    l_inf: each pixel uniform on its interval. l_2: exact rejection sampling of the direction. A perturbation proposed
    from centred normals of width s cut off at the box has its direction v with density G(b), G(r) the mass that D free
    normals put into the ball of radius r and b the distance from x to the box's side along v; uniform points have it
    with density min(b, eps)^D. The ratio of the two is largest at b = eps, so v is accepted with that share of it, and
    the radius is min(b, eps) u^(1 / D). s, which decides the cost alone, makes the mean of ||d||^2 about eps^2; it is
    sought once for all points.
    """
    if norm == "linf":
        low, high = (x - eps).clamp_min(0.0), (x + eps).clamp_max(1.0)
        for _ in range(count):
            share = torch.rand(x.shape, generator=generator).to(x.device)
            yield (low + share * (high - low)).clamp(low, high)
        return
    blocks = [(part, _width(*_sides(part, eps), eps)) for part in x.split(BLOCK)] if count else []
    for _ in range(count):
        yield torch.cat([_in_ball(part, eps, width, generator) for part, width in blocks])


def _sides(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """How far each pixel can fall and rise, (N, D) each in float64."""
    flat = x.detach().cpu().double().flatten(1)
    return (-flat).clamp_min(-eps), (1 - flat).clamp_max(eps)


def _in_ball(x: Tensor, eps: float, width: Tensor, generator: torch.Generator) -> Tensor:
    lower, upper = _sides(x, eps)
    delta = torch.zeros_like(lower)
    left = torch.arange(len(x))
    while len(left):
        tried, taken = _direction(lower[left], upper[left], width[left], eps, generator)
        delta[left[taken]] = tried[taken]
        left = left[~taken]
    return ball.into_box(x, delta.to(x).view_as(x), eps, "l2")


def _direction(
    lower: Tensor, upper: Tensor, width: Tensor, eps: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A proposal per sample, already at its radius, and which of them are accepted."""
    d = lower.shape[1]
    tried = _cut_normal(lower, upper, width, generator)
    length = tried.norm(dim=1)
    side = length * (torch.where(tried > 0, upper, -lower) / tried.abs()).nan_to_num(nan=torch.inf).amin(1)
    reach = side.clamp_max(eps)
    mass = _log_mass(d, torch.stack([side, torch.full_like(side, eps)]) / width)
    chance = (d * (reach.log() - math.log(eps)) - mass[0] + mass[1]).exp()
    u, v = torch.rand(2, len(tried), generator=generator, dtype=torch.float64)
    radius = reach * v ** (1 / d)
    return tried * (radius / length)[:, None], u < chance


def _log_mass(d: int, radius: Tensor) -> Tensor:
    """log P(||g||_2 <= r) for d standard normals: the regularised incomplete gamma function at (d / 2, r^2 / 2).

    Below the mean by its power series in logarithms, since the mass itself underflows there.
    """
    a, z = d / 2, radius.square() / 2
    terms = (z.clamp_max(a)[..., None] / (a + torch.arange(1, 20 + int(12 * a**0.5)))).cumprod(-1).sum(-1)
    series = a * z.log() - z - math.lgamma(a + 1) + terms.log1p()
    return torch.where(z < a, series, torch.special.gammainc(torch.tensor(a, dtype=z.dtype), z).log())


def _width(lower: Tensor, upper: Tensor, eps: float) -> Tensor:
    """The width s (N,) at which cut-off normals have mean squared length eps^2, by bisection of log s."""
    small = torch.full((len(lower),), math.log(1e-3 * eps), dtype=torch.float64)
    large = torch.full_like(small, math.log(10 * eps))
    for _ in range(30):
        middle = (small + large) / 2
        short = _mean_square(lower, upper, middle.exp()) < eps**2
        small, large = torch.where(short, middle, small), torch.where(short, large, middle)
    return ((small + large) / 2).exp()


def _mean_square(lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
    """E ||d||^2 for independent normals of width s cut off at [lower, upper], lower <= 0 <= upper."""
    s = width[:, None]
    a, b = lower / s, upper / s
    density = [(-t.square() / 2).exp() / math.sqrt(2 * math.pi) for t in (a, b)]
    mass = (torch.special.ndtr(b) - torch.special.ndtr(a)).clamp_min(1e-300)
    # over a narrow interval the normal is flat and the formula's differences cancel
    exact = s.square() * (1 + (a * density[0] - b * density[1]) / mass)
    flat = (upper**2 + upper * lower + lower**2) / 3
    return torch.where(b - a < 1e-3, flat, exact).sum(1)


def _cut_normal(lower: Tensor, upper: Tensor, width: Tensor, generator: torch.Generator) -> Tensor:
    """Normals of width s cut off at [lower, upper], by the inverse of their distribution function."""
    s = width[:, None]
    a, b = torch.special.ndtr(lower / s), torch.special.ndtr(upper / s)
    share = torch.rand(lower.shape, generator=generator, dtype=torch.float64)
    drawn = torch.special.ndtri(a + share * (b - a)) * s
    return drawn.clamp(lower, upper)
