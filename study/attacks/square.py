"""The Square attack: random search without gradients (Andriushchenko et al. 2020), a check on gradient masking."""

import math

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.ball import Result
from study.attacks.losses import margin
from study.attacks.record import Record

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10 000 queries: where the changed share halves


def square(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    queries: int = 1000,
    share: float = 0.8,
    restarts: int = 1,
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """Random squares of +-2 eps (l_inf) or moved l_2 mass, kept where the margin grows; fooled samples are retired.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). One forward pass per query, no
    backward pass. `share` in (0, 1] is the first square's share of the image; it halves on the paper's schedule,
    stretched to `queries`. A query's window is the same for all samples, its signs are not.
    batch_size 0: what memory holds. Raises ValueError for a share or a count out of range.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(queries=queries, restarts=restarts)
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share!r}")
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        for _ in range(restarts if eps > 0 else 0):
            if len(record.left()):
                _search(record, record.left(), eps, norm, queries, share, generator)
    return record.result()


def _search(
    record: Record, index: Tensor, eps: float, norm: str, queries: int, share: float, generator: torch.Generator
) -> None:
    x = record.x[index]
    start, propose = (_stripes, _flip_square) if norm == "linf" else (_bumps, _move_mass)
    best = ball.into_box(x, start(x, eps, generator), eps, norm)
    highest = margin(record.look(index, best), record.y[index])
    for query in range(1, queries):
        kept = record.robust[index].nonzero()[:, 0]
        if len(kept) < len(index):
            index, x, best, highest = index[kept], x[kept], best[kept], highest[kept]
        if not len(index):
            return
        size = _side(x, share, query / queries)
        point = ball.into_box(x, propose(x, best - x, size, eps, generator), eps, norm)
        value = margin(record.look(index, point), record.y[index])
        better = value > highest
        highest = torch.where(better, value, highest)
        best = torch.where(ball.per_sample(better, x), point, best)


def _side(x: Tensor, share: float, done: float) -> int:
    """The square's side when the part `done` of the queries is spent."""
    halvings = sum(done * 10000 > mark for mark in HALVINGS)
    h, w = x.shape[-2:]
    return min(max(1, round(math.sqrt(share / 2**halvings * h * w))), h, w)


def _signs(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(2, shape, generator=generator) * 2.0 - 1.0).to(like)


def _corner(x: Tensor, size: int, generator: torch.Generator) -> tuple[int, int]:
    h, w = x.shape[-2:]
    row = int(torch.randint(h - size + 1, (1,), generator=generator))
    column = int(torch.randint(w - size + 1, (1,), generator=generator))
    return row, column


def _stripes(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    n, c, _, w = x.shape
    return (eps * _signs((n, c, 1, w), x, generator)).expand_as(x)


def _flip_square(x: Tensor, delta: Tensor, size: int, eps: float, generator: torch.Generator) -> Tensor:
    """A window of the perturbation set to +-eps, one sign per sample and channel."""
    row, column = _corner(x, size, generator)
    delta = delta.clone()
    delta[:, :, row : row + size, column : column + size] = eps * _signs((*x.shape[:2], 1, 1), x, generator)
    return delta


def _bump(height: int, width: int) -> Tensor:
    """A pyramid of unit l_2 norm on a rectangle: rings around its centre, each adding its inverse square size."""
    out = torch.zeros(height, width)
    for ring in range((min(height, width) + 1) // 2):
        rows, columns = slice(ring, height - ring), slice(ring, width - ring)
        out[rows, columns] += 1.0 / ((min(height, width) + 1) // 2 - ring) ** 2
    return out / out.norm()


def _double_bump(size: int, upright: bool) -> Tensor:
    """The window's update: two halves with opposite bumps, of unit l_2 norm, upright or lying."""
    if size == 1:
        return torch.ones(1, 1)
    half = size // 2
    out = torch.cat([_bump(half, size), -_bump(size - half, size)])
    out = out / out.norm()
    return out if upright else out.T


def _bumps(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """A grid of bumps of random signs over the image, of norm eps."""
    n, c, h, w = x.shape
    side = max(1, h // 5)
    delta = torch.zeros_like(x)
    for row in range(0, h, side):
        for column in range(0, w, side):
            window = delta[:, :, row : row + side, column : column + side]
            window += _bump(*window.shape[-2:]).to(x) * _signs((n, c, 1, 1), x, generator)
    return eps * ball.steepest(delta, "l2")


def _move_mass(x: Tensor, delta: Tensor, size: int, eps: float, generator: torch.Generator) -> Tensor:
    """Empty a second window and give its l_2 mass, and what the ball has unused, to bumps in a first one.

    The first window keeps its old direction beside the new bump; channels share the mass equally.
    """
    rows, columns = _corner(x, size, generator)
    new = (slice(None), slice(None), slice(rows, rows + size), slice(columns, columns + size))
    rows, columns = _corner(x, size, generator)
    old = (slice(None), slice(None), slice(rows, rows + size), slice(columns, columns + size))
    upright = bool(torch.randint(2, (1,), generator=generator))
    bump = _double_bump(size, upright).to(x) * _signs((*x.shape[:2], 1, 1), x, generator)
    either = torch.zeros_like(delta)
    either[new], either[old] = 1.0, 1.0
    mass = (delta * either).square().sum((1, 2, 3))
    unused = (eps**2 - delta.square().sum((1, 2, 3))).clamp_min(0)
    length = ((mass + unused) / x.shape[1]).sqrt().view(-1, 1, 1, 1)
    window = delta[new]
    window = bump + window / window.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    window = window / window.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    delta = delta.clone()
    delta[old] = 0.0
    delta[new] = window * length
    return delta
