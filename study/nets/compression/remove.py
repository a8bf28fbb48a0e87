"""Row and filter pruning by real removal: a smaller net."""

import copy

import torch
from torch import Tensor, nn

from study.nets import net as nets
from study.nets.compression.prune import largest_rows
from study.nets.net import LowRankLinear, Net

PASSIVE = (nn.Flatten, nn.ReLU, nn.Identity, nn.Dropout)  # map zero to zero, unit by unit


@torch.no_grad()
def remove_rows(net: Net, ratio: float, shape: tuple[int, int, int] | None = None) -> Net:
    """A smaller copy of `net`: each hidden layer keeps its max(1, round((1 - ratio) m)) rows of largest l_1 norm.

    The next layer, the head included, loses the columns that read the others, so the outputs are those of the net with
    these rows (and their biases) at zero. Of factors A B, rows of A and columns of B go. The rows kept stay in order.
    ratio in [0, 1). ValueError outside, for a masked or quantized net, and for any but a chain of linear layers
    with ReLU between them; where the `shape` of an image is given, a convolutional net loses filters, those that a
    residual path couples together (filters.remove_filters).
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must lie in [0, 1), got {ratio}")
    out = copy.deepcopy(net)
    if net.masks or any(nets.is_quantized(m) for m in nets.weighted(net).values()):
        raise ValueError("remove rows before the weights are masked or quantized")
    chain = _chain(out)
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


def _chain(net: Net) -> list[nn.Module]:
    """The hidden layers and the head of a net in which each feeds the next alone; nothing for any other."""
    body = list(net.body.children())
    chain: list[nn.Module] = [m for m in body if isinstance(m, (nn.Linear, LowRankLinear))]
    known = all(isinstance(m, (*PASSIVE, nn.Linear, LowRankLinear)) for m in body)
    whole = isinstance(net.body, nn.Sequential) and known and chain[:-1] == list(nets.layers(net).values())
    return chain if whole else []


def _keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    name = "A" if isinstance(layer, LowRankLinear) else "weight"
    setattr(layer, name, nn.Parameter(getattr(layer, name)[kept].clone()))
    if isinstance(layer.bias, Tensor):
        layer.bias = nn.Parameter(layer.bias[kept].clone())
    if isinstance(layer, nn.Linear):
        layer.out_features = len(kept)


def _keep_inputs(layer: nn.Module, kept: Tensor) -> None:
    name = "B" if isinstance(layer, LowRankLinear) else "weight"
    setattr(layer, name, nn.Parameter(getattr(layer, name)[:, kept].clone()))
    if isinstance(layer, nn.Linear):
        layer.in_features = len(kept)
