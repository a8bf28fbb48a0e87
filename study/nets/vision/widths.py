"""The same convolutional net at another width: every channel count times one factor."""

from collections.abc import Callable

import torch
from torch import nn


def scaled(channels: int, factor: float) -> int:
    """channels * factor, rounded, at least 1."""
    return max(1, round(channels * factor))


def at_width(make: Callable[[], nn.Module], factor: float) -> nn.Module:
    """The net that `make` builds, with every channel count but the image's three times `factor`.

    Of convolutions without groups or dilation, BatchNorm2d and linear layers on pooled channels. At another width the
    convolutions are drawn as torchvision draws them: Kaiming normal by outputs, biases 0 (He et al. 2015).
    """
    if factor == 1:
        return make()
    with torch.device("meta"):
        body = make()
    for name, layer in list(body.named_modules()):
        if (new := _narrow(layer, factor)) is not None:
            parent, _, child = name.rpartition(".")
            setattr(body.get_submodule(parent), child, new)
    return body


def _narrow(layer: nn.Module, factor: float) -> nn.Module | None:
    if isinstance(layer, nn.Conv2d):
        inputs = layer.in_channels if layer.in_channels == 3 else scaled(layer.in_channels, factor)
        return convolution(layer, inputs, scaled(layer.out_channels, factor))
    if isinstance(layer, nn.BatchNorm2d):
        return nn.BatchNorm2d(scaled(layer.num_features, factor), layer.eps, layer.momentum)
    if isinstance(layer, nn.Linear):
        return nn.Linear(scaled(layer.in_features, factor), layer.out_features)
    return None


def convolution(like: nn.Conv2d, inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution of another width, otherwise `like` that one, drawn as torchvision draws them."""
    kernel, stride, padding = (getattr(like, name) for name in ("kernel_size", "stride", "padding"))
    out = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=like.bias is not None)
    return drawn(out)


def drawn(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with fresh weights, Kaiming normal by outputs, and biases 0."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def hidden(body: nn.Module) -> list[str]:
    """The convolutions in their order but the first, 1 x 1 shortcuts included; the linear head is none."""
    return [name for name, m in body.named_modules() if isinstance(m, nn.Conv2d)][1:]
