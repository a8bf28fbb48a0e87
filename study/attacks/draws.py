"""Random perturbations batch by batch, equal to those that one draw for all images would have given."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from study.attacks import ball

BLOCK = 16  # torch makes normals in blocks of 16 numbers and the last 16 anew: parts must end where a block ends


def deltas(x: Tensor, parts: Sequence[Tensor], eps: float, norm: str, generator: torch.Generator) -> Iterator[Tensor]:
    """ball.random_delta for the images x[part], one tensor for each part of consecutive images.

    As one call for all of them; the generator ends where it would have ended.
    """
    if norm == "linf" or len(parts) < 2:
        yield from (ball.random_delta(x[part], eps, norm, generator) for part in parts)
        return
    count = sum(map(len, parts))
    behind = torch.Generator().set_state(generator.get_state())
    for _ in _normals(x, parts, generator):  # the radii come after all directions
        pass
    radii = torch.rand(count, generator=generator).split([len(part) for part in parts])
    for delta, radius in zip(_normals(x, parts, behind), radii, strict=True):
        scale = radius * eps / ball.lengths(delta, norm).clamp_min(1e-12)
        yield (delta * ball.per_sample(scale, delta)).to(x.device)


def edges(x: Tensor, parts: Sequence[Tensor], eps: float, norm: str, generator: torch.Generator) -> Iterator[Tensor]:
    """ball.random_edge for the images x[part], one tensor for each part, as one call for all of them."""
    if norm == "linf" or len(parts) < 2:
        yield from (ball.random_edge(x[part], eps, norm, generator) for part in parts)
        return
    for delta in _normals(x, parts, generator):
        scale = eps / ball.lengths(delta, norm).clamp_min(1e-12)
        yield (delta * ball.per_sample(scale, delta)).to(x.device)


def _normals(x: Tensor, parts: Sequence[Tensor], generator: torch.Generator) -> Iterator[Tensor]:
    left = sum(map(len, parts))
    ready = torch.empty(0, *x.shape[1:])
    for part in parts:
        need = len(part) - len(ready)
        if need > 0:
            count = -(-need // BLOCK) * BLOCK
            count = left if left - count < BLOCK else count
            ready = torch.cat([ready, torch.randn(count, *x.shape[1:], generator=generator)])
            left -= count
        yield ready[: len(part)]
        ready = ready[len(part) :]
