"""Layers that a net has once and uses in several places: under two names, or as two layers with one weight."""

from torch import nn

from study.nets import hooks, masks
from study.nets import net as nets
from study.nets.net import Net


def twins(net: Net) -> dict[str, str]:
    """The layers whose weights are those of an earlier layer, and the name of that one."""
    first: dict[int, str] = {}
    out = {}
    for name, layer in nets.weighted(net).items():
        one = first.setdefault(id(next(iter(masks.stored(layer).values()))), name)
        if one != name:
            out[name] = one
    return out


def replace(body: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` in every place of `old`, with its hooks, in place."""
    hooks.carry(old, new)
    for parent in list(body.modules()):
        for child in [name for name, module in parent._modules.items() if module is old]:
            setattr(parent, child, new)


def join(new: nn.Module, first: nn.Module) -> None:
    """Give a layer the weights of another one, in place; ValueError where they are of other shapes."""
    mine = masks.stored(new)
    for name, W in masks.stored(first).items():
        if name not in mine or mine[name].shape != W.shape:
            raise ValueError("two layers of one weight cannot have one pair of factors: they take groups differently")
        setattr(new, name, W)
