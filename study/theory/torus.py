"""The l_2 norm of a convolution on a torus, where the Fourier transform makes it one small matrix per frequency.

With a stride, s x s pixels become channels of one pixel of a coarser image, a permutation, which moves no norm; the
convolution has stride 1 there. Source: Sedghi, Gupta and Long 2019, for stride 1.
"""

import math

import torch
from torch import Tensor

CHUNK_ENTRIES = 2**20


def blocks(kernel: Tensor, stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Tensor:
    """The kernel (out, in, kh, kw) as one of stride 1 on s x s blocks of pixels: (out, in * s * s, qh, qw).

    >>> blocks(torch.arange(3.0).view(1, 1, 1, 3), (1, 2)).tolist()  # taps 0 and 2 meet even pixels, tap 1 odd ones
    [[[[0.0, 2.0]], [[1.0, 0.0]]]]
    """
    out, inputs, high, wide = kernel.shape
    spread = [d * (k - 1) + 1 for d, k in zip(dilation, (high, wide), strict=True)]
    qh, qw = (-(-n // s) for n, s in zip(spread, stride, strict=True))
    framed = kernel.new_zeros(out, inputs, qh * stride[0], qw * stride[1])
    framed[:, :, : spread[0] : dilation[0], : spread[1] : dilation[1]] = kernel
    parts = framed.view(out, inputs, qh, stride[0], qw, stride[1]).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(out, inputs * math.prod(stride), qh, qw)


def _phases(n: int, taps: int, count: int) -> Tensor:
    """exp(-2 pi i f t / n) for the first `count` frequencies, (count, taps)."""
    turns = ((torch.arange(count)[:, None] * torch.arange(taps)) % n).to(torch.float64)
    return torch.polar(torch.ones_like(turns), turns * (-2 * math.pi / n))


def largest_norm(kernel: Tensor, size: tuple[int, int], groups: int = 1) -> float:
    """Largest l_2 norm over all frequencies of a stride-1 convolution on a torus: its operator norm, exactly.

    kernel (out, in / groups, kh, kw) in float64, entries near 1, larger than the torus or not. Few frequencies are
    decomposed: those that the eighth root of ||(M M*)^4||_F does not show to be below one already found.

    >>> round(largest_norm(torch.ones(1, 1, 3, 3, dtype=torch.float64), (5, 5)), 9)  # a constant image
    9.0
    """
    out, inputs, high, wide = kernel.shape
    rows, columns = _phases(size[0], high, size[0]), _phases(size[1], wide, size[1] // 2 + 1)  # real: half is enough
    phases = (rows[:, None, :, None] * columns[None, :, None, :]).flatten(2).flatten(0, 1)
    taps = kernel.flatten(2).permute(2, 0, 1).reshape(high * wide, groups, out // groups, inputs)
    best = 0.0
    for chunk in phases.split(max(1, CHUNK_ENTRIES // (out * inputs))):
        M = torch.tensordot(chunk, taps.to(chunk.dtype), dims=1).flatten(0, 1)
        best = max(best, _largest(M, best))
    return best


def _largest(M: Tensor, floor: float) -> float:
    """Largest l_2 norm in a batch (N, m, n), or any number up to `floor` where none exceeds it."""
    G = M @ M.mH if M.shape[1] <= M.shape[2] else M.mH @ M
    G = G[torch.linalg.matrix_norm(G).sqrt() > floor]
    power = G @ G
    power = power @ power
    bounds = torch.linalg.matrix_norm(power).pow(1 / 8)
    order = bounds.argsort(descending=True)
    best, at, step = floor, 0, 1
    while at < len(order) and float(bounds[order[at]]) > best:
        here = G[order[at : at + step]]
        best = max(best, math.sqrt(max(0.0, float(torch.linalg.eigvalsh(here)[:, -1].max()))))
        at, step = at + step, min(2 * step, 16)
    return best
