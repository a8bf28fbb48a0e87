"""Convolutions as the linear maps that they are on images of one size, and their operator norms.

A convolution is the matricised kernel W (out x in kh kw) after the map that copies each patch of the image to a column.
That map repeats pixels, so that ||T||_2 may be sqrt(kh kw) times ||W||_2 (erratum 12); in l_inf it has norm 1.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from study.theory import torus
from study.theory.checks import checked_kernel
from study.theory.scaling import unit
from study.theory.spectra import values

MODES = {"zeros": "constant", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}
Pair = tuple[int, int]


class Convolution(NamedTuple):
    """A convolution on images of one size, as torch.nn.Conv2d computes it, without its bias.

    `kernel` (out, in / groups, kh, kw) in float64; `size` (height, width) of the image; `sides` are the pixels added
    above and below, then left and right; `mode` is zeros, circular, reflect or replicate.
    """

    kernel: Tensor
    size: Pair
    stride: Pair = (1, 1)
    sides: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    mode: str = "zeros"

    @property
    def outputs(self) -> Pair:
        """Height and width of what comes out."""
        spans = zip(self.size, self.sides, self.dilation, self.kernel.shape[2:], self.stride, strict=True)
        high, wide = ((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in spans)
        return high, wide


def convolution(
    kernel: Tensor,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    mode: str = "zeros",
) -> Convolution:
    """The convolution of torch.nn.Conv2d's arguments on images of `size`; ValueError where they do not fit.

    >>> convolution(torch.ones(1, 1, 3, 3), (8, 8), padding="same").outputs
    (8, 8)
    """
    kernel = checked_kernel(kernel)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if groups < 1 or kernel.shape[0] % groups:
        raise ValueError(f"groups must divide the {kernel.shape[0]} outputs, got {groups!r}")
    spans = [d * (k - 1) for d, k in zip(dilation, kernel.shape[2:], strict=True)]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"padding must be same, valid or two numbers, got {padding!r}")
        sides = [(s // 2, s - s // 2) if padding == "same" else (0, 0) for s in spans]
    else:
        sides = [(p, p) for p in padding]
    found = Convolution(kernel, size, stride, (sides[0], sides[1]), dilation, groups, mode)
    if min(size) < 1 or min(found.outputs) < 1:
        raise ValueError(f"images of {size[0]} x {size[1]} are too small for a kernel {tuple(kernel.shape)}")
    return found


def applied(c: Convolution, x: Tensor) -> Tensor:
    """The convolution of images x (N, in, *size), in the type of x.

    >>> applied(convolution(torch.ones(1, 1, 1, 2), (1, 3)), torch.tensor([[[[1.0, 2.0, 4.0]]]])).tolist()
    [[[[3.0, 6.0]]]]
    """
    (above, below), (left, right) = c.sides
    framed = pad(x, (left, right, above, below), MODES[c.mode])
    return conv2d(framed, c.kernel.to(x), None, c.stride, 0, c.dilation, c.groups)


def _line(n: int, sides: Pair, mode: str) -> Tensor:
    """Which of n pixels each place of the padded line holds, -1 for a zero of the frame."""
    return pad(torch.arange(1.0, n + 1).view(1, 1, n), sides, MODES[mode])[0, 0].long() - 1


def _reads(c: Convolution) -> list[Tensor]:
    """Per dimension, which pixel each tap reads at each output: (outputs, taps), -1 for a zero of the frame."""
    lines = [_line(n, sides, c.mode) for n, sides in zip(c.size, c.sides, strict=True)]
    steps = zip(lines, c.outputs, c.stride, c.kernel.shape[2:], c.dilation, strict=True)
    return [line[torch.arange(out)[:, None] * s + torch.arange(k) * d] for line, out, s, k, d in steps]


def _merged(reads: Tensor) -> list[Tensor]:
    """The different ways in which an output's taps fall on pixels: (taps, pixels) matrices of zeros and ones."""
    kinds: dict[tuple[int, ...], int] = {}
    for line in reads.tolist():
        places = {pixel: i for i, pixel in enumerate(dict.fromkeys(p for p in line if p >= 0))}
        kinds[tuple(places.get(p, -1) for p in line)] = len(places)
    out = []
    for kind, count in kinds.items():
        M = torch.zeros(len(kind), max(1, count), dtype=torch.float64)
        for tap, place in enumerate(kind):
            if place >= 0:
                M[tap, place] = 1.0
        out.append(M)
    return out


def sees_whole(c: Convolution) -> bool:
    """Whether some output reads the whole kernel, every tap on a pixel of its own; then ||T||_p >= ||W||_p of a group.

    >>> [sees_whole(convolution(torch.ones(1, 1, 3, 3), (n, n), padding="same")) for n in (2, 3)]
    [False, True]
    """
    return all(any(len(set(line)) == len(line) and min(line) >= 0 for line in r.tolist()) for r in _reads(c))


def copies(c: Convolution) -> int:
    """How often the most read pixel is read: the square of the l_2 norm of the map from images to patches.

    >>> [copies(convolution(torch.ones(1, 1, 3, 3), (8, 8), (s, s))) for s in (1, 2, 3)]
    [9, 4, 1]
    """
    return math.prod(int(torch.bincount(r[r >= 0]).max()) if bool((r >= 0).any()) else 0 for r in _reads(c))


def norm_inf(c: Convolution) -> float:
    """Exact l_inf operator norm: the largest l_1 norm of what an output reads.

    That is the matricised kernel's largest row, unless the image is so small that no output sees the whole kernel.

    >>> [norm_inf(convolution(torch.ones(1, 1, 3, 3), (n, n), padding="same")) for n in (1, 2, 8)]
    [1.0, 4.0, 9.0]
    """
    if sees_whole(c):
        return float(c.kernel.flatten(1).abs().sum(1).max())
    high, wide = (_merged(r) for r in _reads(c))
    met = (torch.einsum("oihw,ha,wb->oiab", c.kernel, h, w) for h in high for w in wide)
    return max(float(kernel.flatten(1).abs().sum(1).max()) for kernel in met)


def matricised_2(c: Convolution) -> float:
    """Largest l_2 norm of a group's matricised kernel (out / groups, in / groups * kh * kw).

    >>> round(matricised_2(convolution(torch.ones(1, 1, 3, 3), (8, 8))), 9)
    3.0
    """
    W = c.kernel.flatten(1)
    if c.groups == len(W):  # depthwise: a row each
        kernel, scale = unit(W)
        return scale * float(torch.linalg.vector_norm(kernel, dim=1).max())
    return max(float(values(part)[0]) for part in W.chunk(c.groups))


def _seamless(c: Convolution, at: int, taps: int) -> int:
    """Blocks around a torus on which no output reads a pixel across the seam; a frame of zeros may be read twice."""
    out, s = c.outputs[at], c.stride[at]
    first = c.sides[at][0] // s if c.mode == "zeros" else 0
    last = (c.sides[at][0] + c.size[at] - 1) // s if c.mode == "zeros" else 0
    return max(out, out + taps - 1 - first, last + 1)


def norm_2_upper(c: Convolution) -> float:
    """Certified upper bound of the l_2 operator norm, exact with circular padding where the stride divides the image.

    The lesser of sqrt(copies) ||W||_2 and the norm on a torus (`study.theory.torus`) that is large enough for no output
    to read across its seam; for other paddings than zeros the latter times the norm of the padding.

    >>> round(norm_2_upper(convolution(torch.ones(1, 1, 3, 3), (8, 8), padding="same")), 9)  # the norm is 8.29
    9.0
    """
    kernel, scale = unit(c.kernel, safe=1.0)
    for at, r in enumerate(_reads(c), start=2):  # taps that meet the frame alone are no part of the map
        kernel = kernel * (r >= 0).any(0).view(-1, *[1] * (3 - at))
    c = c._replace(kernel=kernel)
    blocks = torus.blocks(c.kernel, c.stride, c.dilation)
    if c.mode == "circular" and all(o * s == n for o, s, n in zip(c.outputs, c.stride, c.size, strict=True)):
        return scale * torus.largest_norm(blocks, c.outputs, c.groups)
    high, wide = (_seamless(c, at, q) for at, q in enumerate(blocks.shape[2:]))
    found = torus.largest_norm(blocks, (high, wide), c.groups)
    if c.mode != "zeros":
        lines = (_line(n, sides, c.mode) for n, sides in zip(c.size, c.sides, strict=True))
        found *= math.sqrt(math.prod(int(torch.bincount(line).max()) for line in lines))
    return scale * min(found, math.sqrt(copies(c)) * matricised_2(c))
