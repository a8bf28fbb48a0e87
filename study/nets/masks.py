"""The weights that a net stores, and the masks that hold some of them at zero."""

from collections.abc import Mapping

import torch
from torch import nn

from study.nets import net as nets
from study.nets.factored import FactoredConv2d
from study.nets.net import LowRankConv2d, LowRankLinear, Net


def stored(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The weight tensors that a layer keeps, in the order in which an input meets them: `weight`, `B` and `A`, or `F0`,
    `F1` and so on.

    Of a quantized layer the float32 weights behind the quantized ones.
    """
    names: tuple[str, ...] = ("B", "A") if isinstance(layer, (LowRankLinear, LowRankConv2d)) else ("weight",)
    if isinstance(layer, FactoredConv2d):
        names = layer.names
    if nets.is_quantized(layer):
        behind: Mapping[str, nn.Module] = layer.parametrizations  # type: ignore[assignment]
        return {name: behind[name].original for name in names}  # type: ignore[misc]
    return {name: getattr(layer, name) for name in names}


def hidden_weights(net: Net) -> dict[str, nn.Parameter]:
    """The stored weight tensors of the hidden layers as layer.tensor, first layer first."""
    return {f"{layer}.{name}": W for layer, m in nets.layers(net).items() for name, W in stored(m).items()}


def weights(net: Net) -> dict[str, nn.Parameter]:
    """Likewise of every layer with weights, in the body's order: the head's, and those of a stem that is not hidden."""
    return {f"{layer}.{name}": W for layer, m in nets.weighted(net).items() for name, W in stored(m).items()}


def maskable(net: Net, on: str) -> dict[str, nn.Parameter]:
    """The weight tensors that a mask is of: hidden, or all. ValueError for any other word."""
    kinds = {"hidden": hidden_weights, "all": weights}
    if on not in kinds:
        raise ValueError(f"on must be one of {', '.join(kinds)}, got {on!r}")
    return kinds[on](net)


def are_all(whole: Net, net: Net) -> bool:
    """Whether a net's weights are those of another under its masks alone: no rows removed, no factors, no training and
    no levels since."""
    before, own = weights(whole), weights(net)
    if [(n, W.shape) for n, W in before.items()] != [(n, W.shape) for n, W in own.items()]:
        return False
    return all(torch.equal(W.detach() * net.masks.get(n, 1.0), own[n]) for n, W in before.items())


@torch.no_grad()
def apply(net: Net) -> None:
    """Set the entries that the net's masks leave out to zero, in place."""
    if net.masks:
        named = weights(net)
        for name, mask in net.masks.items():
            named[name].mul_(mask)
