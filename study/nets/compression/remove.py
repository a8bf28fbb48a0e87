"""Pruning of rows, filters and attention heads by real removal: a smaller net."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from study.nets import blocks, hooks, left
from study.nets import net as nets
from study.nets.blocks import PARTS, PROJECTIONS
from study.nets.compression.prune import equal_outputs, largest_rows, silenced
from study.nets.net import LowRankLinear, Net
from study.nets.tied import twins

Shape = tuple[int, int, int]
PASSIVE = (nn.Flatten, nn.ReLU, nn.Identity, nn.Dropout)  # map zero to zero, unit by unit


@torch.no_grad()
def remove_rows(net: Net, ratio: float, shape: Shape | None = None) -> Net:
    """A smaller copy of `net`: each hidden layer keeps its max(1, round((1 - ratio) m)) rows of largest l_1 norm.

    The next layer, the head included, loses the columns that read the others, so the outputs are those of the net with
    these rows (and their biases) at zero. Of factors A B, rows of A and columns of B go. The rows kept stay in order.
    ratio in [0, 1). ValueError outside, for a masked or quantized net, and for any but a chain of linear layers
    with ReLU between them; where the `shape` of an image is given, a vision transformer loses attention heads and MLP
    units (remove_heads), a convolutional net filters, those that a residual path couples together
    (filters.remove_filters).
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must lie in [0, 1), got {ratio}")
    out = copy.deepcopy(net)
    if net.masks or any(nets.is_quantized(m) for m in nets.weighted(net).values()):
        raise ValueError("remove rows before the weights are masked or quantized")
    for name, first in twins(net).items():
        raise ValueError(f"{name} has the weight of {first}, and neither can lose the columns that the other reads")
    chain = _chain(out)
    if not chain and shape and blocks.names(net):
        return remove_heads(net, ratio, shape)[0]
    if not chain and shape:
        from study.nets.compression import filters  # torch-pruning takes seconds to import

        return filters.remove_filters(net, ratio, shape)[0]
    if not chain:
        raise ValueError("rows can be removed from a chain of linear layers with ReLU between them alone")
    rows = [largest_rows(nets.matrix(layer), 1 - ratio).sort().values for layer in chain[:-1]]
    for layer, after, kept in zip(chain, chain[1:], rows, strict=False):
        _keep_outputs(layer, kept)
        _keep_inputs(after, kept)
    return out


@torch.no_grad()
def remove_heads(net: Net, ratio: float, shape: Shape) -> tuple[Net, dict[str, list[int]]]:
    """A smaller copy of a vision transformer, and the rows that are gone from each q, k, v and fc1, by layer.

    Each block keeps its max(1, round((1 - ratio) m)) attention heads of largest l_1 norm, the sum over all their rows
    of q, k and v, and of its MLP's units those of largest l_1 norm, by their rows of fc1; biases do not count, of equal
    norms the lower index stays. `proj` and `fc2` lose the columns that read the others. The width of the tokens stays,
    and with it the rows of `proj` and `fc2`, the patch convolution and the head. The outputs are those of the net with
    the rows that are gone and their biases at zero (prune.silenced). ValueError where the logits on two images of noise
    say otherwise.
    """
    out, gone = copy.deepcopy(net), dict[str, list[int]]()
    for block in blocks.names(net):
        attention: Any = out.body.get_submodule(f"{block}.attn")
        *projections, proj, fc1, fc2 = (out.body.get_submodule(f"{block}.{part}") for part in PARTS)
        by_head = torch.cat([nets.matrix(layer) for layer in projections], dim=1).reshape(attention.num_heads, -1)
        heads = largest_rows(by_head, 1 - ratio).sort().values
        rows = torch.arange(attention.attn_dim, device=heads.device).view(attention.num_heads, -1)[heads].flatten()
        for name, layer in zip(PROJECTIONS, projections, strict=True):
            gone[f"{block}.{name}"] = _without(layer, rows)
        _keep_inputs(proj, rows)
        attention.num_heads, attention.attn_dim = len(heads), len(rows)
        units = largest_rows(nets.matrix(fc1), 1 - ratio).sort().values
        gone[f"{block}.mlp.fc1"] = _without(fc1, units)
        _keep_inputs(fc2, units)
    modes = [module.training for module in net.modules()]
    if not equal_outputs(out.eval(), silenced(net, gone).eval(), shape):
        raise ValueError("heads and units cannot be removed: those at zero are not without effect in this net")
    for module, mode in zip(out.modules(), modes, strict=True):
        module.training = mode
    return out, gone


def _without(layer: nn.Module, kept: Tensor) -> list[int]:
    """Keep these outputs alone, in place; the others."""
    before = nets.matrix(layer).shape[0]
    _keep_outputs(layer, kept)
    return sorted(set(range(before)) - set(kept.tolist()))


def _chain(net: Net) -> list[nn.Module]:
    """The hidden layers and the head of a net in which each feeds the next alone; nothing for any other."""
    body = [*net.body] if isinstance(net.body, nn.Sequential) else []
    chain: list[nn.Module] = [m for m in body if isinstance(m, (nn.Linear, LowRankLinear))]
    known = all(isinstance(m, (*PASSIVE, nn.Linear, LowRankLinear)) and not left.bent(m) for m in body)
    known = known and not any(map(hooks.theirs, net.body.modules()))  # what zeros do then is tried
    return chain if body and known and chain[:-1] == list(nets.layers(net).values()) else []


def _keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    name = "A" if isinstance(layer, LowRankLinear) else "weight"
    W = getattr(layer, name)
    setattr(layer, name, nn.Parameter(W[kept].clone(), W.requires_grad))
    if isinstance(layer.bias, Tensor):
        layer.bias = nn.Parameter(layer.bias[kept].clone(), layer.bias.requires_grad)
    if isinstance(layer, nn.Linear):
        layer.out_features = len(kept)


def _keep_inputs(layer: nn.Module, kept: Tensor) -> None:
    name = "B" if isinstance(layer, LowRankLinear) else "weight"
    W = getattr(layer, name)
    setattr(layer, name, nn.Parameter(W[:, kept].clone(), W.requires_grad))
    if isinstance(layer, nn.Linear):
        layer.in_features = len(kept)
