"""A fresh head in the place of the old one, for other classes on the same encoder."""

import copy

import torch
from torch import nn

from study.nets import hooks
from study.nets import net as nets
from study.nets.net import Net


def fresh(net: Net, shape: tuple[int, int, int], classes: int, seed: int) -> Net:
    """A copy of the net whose last layer with weights is a new one of `classes` outputs, drawn from `seed` alone as
    PyTorch draws such a layer, with a bias where the old one had one. All else keeps every bit, statistics too;
    its forward hooks stay.

    `shape` is that of an image (C, H, W). ValueError for images that the net cannot take, and where the last layer is
    not what gives the logits; TypeError for a head of another kind than a linear map or a convolution.
    """
    if shape[0] != net.mean.shape[1]:
        raise ValueError(f"images of {shape[0]} channels are not for a net built for {net.mean.shape[1]}")
    try:
        logits = nets.classes(net, shape)
    except RuntimeError as error:
        raise ValueError(f"images of shape {shape} are not for this net: {str(error).splitlines()[0]}") from None
    new = copy.deepcopy(net)
    name, old = list(nets.weighted(new).items())[-1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head, outputs = _like(old, classes)
    if outputs != logits:
        raise ValueError(f"the last layer, {name}, gives {outputs} numbers and the net {logits} logits: no head there")
    home, _, last = name.rpartition(".")
    hooks.carry(old, head)
    setattr(new.body.get_submodule(home), last, head)
    new.classes = classes if new.classes else 0
    return new


def _like(old: nn.Module, outputs: int) -> tuple[nn.Module, int]:
    """A new layer as the old one but for its outputs, and how many the old one has."""
    if nets.is_quantized(old):
        raise TypeError("the head is quantized: give the net its head before that")
    bias = getattr(old, "bias", None) is not None
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, outputs, bias=bias), old.out_features
    if isinstance(old, nn.Conv2d) and old.groups == 1:
        size = {"kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding, "dilation": old.dilation}
        return nn.Conv2d(old.in_channels, outputs, bias=bias, **size), old.out_channels  # type: ignore[arg-type]
    raise TypeError(f"a head of type {type(old).__name__} cannot be made anew; a linear map or a convolution can")
