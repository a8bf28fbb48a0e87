"""Factorization of a trained net: each hidden layer becomes factors computed from its weights, at a target size."""

import copy
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from study.nets import left
from study.nets import net as nets
from study.nets.factored import FactoredConv2d
from study.nets.net import LowRankConv2d, LowRankLinear, Net
from study.nets.tied import join, replace, twins

METHODS = ("svd", "tucker", "tt", "cp")
Shape = tuple[int, ...]  # of a kernel: out, in, kh, kw
Layer = nn.Linear | nn.Conv2d


@torch.no_grad()
def decompose(net: Net, ratio: float, method: str, seed: int, sweeps: int = 50) -> tuple[Net, dict[str, float]]:
    """A copy of `net` whose hidden layers are factors of their weights, and the share of weights that each keeps.

    Every layer takes the largest rank whose weights are at most (1 - ratio) of its own; biases stay and do not count.
    Where rank one is already more, it takes that, and stays as it is (share 1) where that has no fewer than it. Linear
    layers, 1 x 1 and grouped convolutions (group by group) are truncated singular value decompositions whatever the
    method, other convolutions what `method` names: svd (of the kernel as a matrix), tucker, tt, cp
    (study.nets.compression.tensors). Ranks: of tucker the same share of the channels on both sides, of tt one for all
    three, where an unfolding has no lower one. Layers of one weight have the same factors, forward hooks of a layer
    stay with its factors. `seed` is for the start of cp, and `sweeps` says how many it takes.

    ratio in (0, 1). ValueError outside, for an unknown method, a net with masks, factors or quantized weights, a hidden
    layer of another kind, and where no layer becomes smaller.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must lie in (0, 1), got {ratio}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if net.masks or any(nets.is_quantized(m) for m in nets.weighted(net).values()):
        raise ValueError("factorize a net before its weights are masked or quantized")
    out = copy.deepcopy(net)
    kept: dict[str, float] = {}
    same, made = twins(out), dict[str, nn.Module]()
    for name, layer in nets.layers(out).items():
        if why := refusal(name, layer):
            raise ValueError(why)
        assert isinstance(layer, Layer)
        how = "svd" if is_matrix(layer) else method
        level = largest(layer, how, ratio)
        kept[name] = min(1.0, count(layer, how, level) / layer.weight.numel())
        if kept[name] < 1:
            new = factors(layer, how, level, seed, sweeps)
            for part, F in new.named_parameters():  # what is frozen stays so
                old = layer.bias if part == "bias" else None
                F.requires_grad_((layer.weight if old is None else old).requires_grad)
            if same.get(name) in made:
                join(new, made[same[name]])
            made[name] = new
            replace(out.body, layer, new)
    if min(kept.values(), default=1.0) == 1.0:
        raise ValueError("no hidden layer is large enough to become smaller: rank one has no fewer weights")
    return out, kept


def is_matrix(layer: Layer) -> bool:
    """Whether a layer is a linear map of vectors, or several: dense, 1 x 1, in groups."""
    return isinstance(layer, nn.Linear) or layer.groups > 1 or math.prod(layer.kernel_size) == 1


def refusal(name: str, layer: nn.Module) -> str:
    """Why a hidden layer cannot be factorized; "" where it can. A subclass may do more with its weight."""
    if type(layer) not in (nn.Linear, nn.Conv2d):
        return f"cannot factorize {name}, a layer of type {type(layer).__name__}: Linear and Conv2d alone"
    return left.unlike(name, layer)


def largest(layer: Layer, method: str, ratio: float) -> int:
    """The largest level whose factors have at most (1 - ratio) of the layer's weights; at least 1."""
    size = layer.weight.numel()
    budget = math.floor(round((1 - ratio) * size, 6))  # 0.1 of 1000 is 100, though 1 - 0.9 is less than 0.1
    return max(1, bisect_right(range(1, size + 1), budget, key=lambda level: count(layer, method, level)))


def count(layer: Layer, method: str, level: int) -> int:
    """Weights of a layer's factors at a level: the rank, for tucker the channels kept of the wider side."""
    if method == "svd":
        m, n = nets.matrix(layer).shape
        return level * (m + n * getattr(layer, "groups", 1))
    return sum(math.prod(shape) for shape in SHAPES[method](tuple(layer.weight.shape), level))


def _tucker(shape: Shape, level: int) -> list[Shape]:
    out, into, kh, kw = shape
    wider = max(out, into)
    outer, inner = max(1, out * level // wider), max(1, into * level // wider)
    outer, inner = min(outer, inner * kh * kw), min(inner, outer * kh * kw)  # as many as the unfoldings can have
    return [(inner, into, 1, 1), (outer, inner, kh, kw), (out, outer, 1, 1)]


def _tt(shape: Shape, level: int) -> list[Shape]:
    out, into, kh, kw = shape
    most = (min(into, kh * kw * out), min(into * kh, kw * out), min(into * kh * kw, out))
    a, b, c = (min(level, full) for full in most)
    return [(a, into, 1, 1), (b, a, kh, 1), (c, b, 1, kw), (out, c, 1, 1)]


def _cp(shape: Shape, level: int) -> list[Shape]:
    out, into, kh, kw = shape
    return [(level, into, 1, 1), (level, 1, kh, 1), (level, 1, 1, kw), (out, level, 1, 1)]


# The shapes of a method's kernels at a level, in the order in which an input meets them.
SHAPES: dict[str, Callable[[Shape, int], list[Shape]]] = {"tucker": _tucker, "tt": _tt, "cp": _cp}


@torch.no_grad()
def factors(layer: Layer, method: str, level: int, seed: int, sweeps: int = 50) -> nn.Module:
    """The layer as factors of its weights, which are left as they are; its bias goes with them."""
    if method == "svd":
        return _svd(layer, level)
    assert isinstance(layer, nn.Conv2d)
    kernel = layer.weight.detach().double().cpu().contiguous()
    shapes = SHAPES[method](tuple(kernel.shape), level)
    norm = float(kernel.norm())
    found = _kernels(kernel / norm if norm else torch.ones_like(kernel), method, shapes, seed, sweeps)
    sizes = [float(F.norm()) for F in found]
    # Of one norm, as U sqrt(s) and sqrt(s) V^T are: no factor is trained faster than another.
    each = (norm * math.prod(sizes)) ** (1 / len(found))
    return FactoredConv2d(layer, [F * (each / s) for F, s in zip(found, sizes, strict=True)])


def _kernels(kernel: Tensor, method: str, shapes: Sequence[Shape], seed: int, sweeps: int) -> list[Tensor]:
    from study.nets.compression import tensors  # it takes a second to import

    ranks = [shape[0] for shape in shapes[:-1]]
    if method == "tucker":
        return tensors.tucker(kernel, ranks[::-1])
    return tensors.tt(kernel, ranks) if method == "tt" else tensors.cp(kernel, ranks[0], seed, sweeps)


def _svd(layer: Layer, rank: int) -> LowRankLinear | LowRankConv2d:
    """A = U sqrt(s), B = sqrt(s) V^T of the `rank` largest singular values of the matrix, of that of each group."""
    W = nets.matrix(layer).detach().double().cpu()
    if isinstance(layer, nn.Conv2d):
        new: LowRankLinear | LowRankConv2d = LowRankConv2d(layer, rank)
    else:
        new = LowRankLinear(layer.out_features, layer.in_features, rank, layer.bias)
    parts = [torch.linalg.svd(part, full_matrices=False) for part in W.chunk(getattr(layer, "groups", 1))]
    A = torch.cat([U[:, :rank] * s[:rank].sqrt() for U, s, _ in parts])
    B = torch.cat([s[:rank, None].sqrt() * Vh[:rank] for _, s, Vh in parts])
    new.A, new.B = (nn.Parameter(F.to(layer.weight).contiguous()) for F in (A, B))
    return new
