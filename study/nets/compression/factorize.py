"""Low-rank layers, trained as factors from the start (paper A, C.2)."""

import copy
import math

import torch
from torch import nn

from study.nets import left, masks
from study.nets import net as nets
from study.nets.net import LowRankConv2d, LowRankLinear, Net
from study.nets.tied import join, replace, twins


def factorize(net: Net, rank: int, seed: int) -> Net:
    """A copy of `net` whose hidden layers are products A (out x r) B (r x in) with fresh factors.

    r = min(rank, out, in), one rank for all layers; of a grouped convolution each group's matrix has it. Both factors
    are Kaiming uniform (a = sqrt 5), then scaled so that the product has the Frobenius norm of the layer it replaces:
    the same scale at every rank. Layers of one weight have one pair of factors; forward hooks of a
    layer are its factors' own.
    Raises ValueError for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    out = copy.deepcopy(net)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        same, made = twins(out), dict[str, nn.Module]()
        for name, layer in nets.layers(out).items():
            if not all(p.requires_grad for p in masks.stored(layer).values()):
                raise ValueError(f"{name} is frozen (requires_grad=False): fresh factors in its place would be trained")
            if why := left.unlike(name, layer):
                raise ValueError(why)
            new = _factors(layer, rank)
            nn.init.kaiming_uniform_(new.A, a=math.sqrt(5))
            nn.init.kaiming_uniform_(new.B, a=math.sqrt(5))
            nets.scale(new, nets.frobenius(layer) / nets.frobenius(new))
            if same.get(name) in made:
                join(new, made[same[name]])
            made[name] = new
            replace(out.body, layer, new)
    return out


def _factors(layer: nn.Module, rank: int) -> LowRankLinear | LowRankConv2d:
    m, n = nets.matrix(layer).shape
    if isinstance(layer, nn.Linear):
        return LowRankLinear(m, n, min(rank, m, n), layer.bias)
    if isinstance(layer, nn.Conv2d):
        return LowRankConv2d(layer, min(rank, m // layer.groups, n))
    raise ValueError(f"cannot factorize a layer of type {type(layer).__name__}")
