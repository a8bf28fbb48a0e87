"""Fully connected networks without bias, ReLU between the layers (paper A, C.2)."""

import itertools
import math

from torch import nn


def fcn(
    shape: tuple[int, int, int], classes: int, width: int, depth: int, taper: float = 1.0
) -> tuple[nn.Module, list[str]]:
    """`depth` hidden layers, the first of `width` units, each next one `taper` times as wide, then the head; returns
    the body and its hidden layers' names."""
    sizes = [math.prod(shape)] + [max(1, round(width * taper**i)) for i in range(depth)]
    body = nn.Sequential(nn.Flatten())
    hidden = []
    for i, (n, m) in enumerate(itertools.pairwise(sizes), start=1):
        body.add_module(f"layer{i}", nn.Linear(n, m, bias=False))
        body.add_module(f"relu{i}", nn.ReLU())
        hidden.append(f"layer{i}")
    body.add_module("head", nn.Linear(sizes[-1], classes, bias=False))
    return body, hidden
