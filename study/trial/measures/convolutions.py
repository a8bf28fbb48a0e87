"""The convolutions of a net as linear maps on the images that it gives them, and the rows of their norms."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from study.nets.factored import FactoredConv2d
from study.nets.net import LowRankConv2d, Net, layers, matrix
from study.spec.rows import Row, row
from study.theory import operators
from study.theory.bounds import LayerBounds
from study.theory.lanczos import norm_2_below
from study.theory.operators import Convolution

KINDS = (nn.Conv2d, LowRankConv2d, FactoredConv2d)


@torch.no_grad()
def convolutions(net: Net, shape: tuple[int, int, int]) -> dict[str, Convolution]:
    """The hidden convolutions by name, on the images that they meet when the net is given one of `shape` (C, H, W).

    Where a layer is used more than once, its largest image counts.
    """
    named = {name: layer for name, layer in layers(net).items() if isinstance(layer, KINDS)}
    if not named:
        return {}
    sizes: dict[str, tuple[int, int]] = {}

    def noting(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            high, wide = given[0].shape[-2:]
            sizes[name] = max(sizes.get(name, (0, 0)), (high, wide), key=math.prod)

        return hook

    hooks = [layer.register_forward_pre_hook(noting(name)) for name, layer in named.items()]
    modes = {module: module.training for module in net.modules()}
    try:
        net.eval()(torch.zeros(1, *shape, device=net.mean.device))
    finally:
        for handle in hooks:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return {name: _operator(layer, sizes[name]) for name, layer in named.items() if name in sizes}


def _operator(layer: nn.Module, size: tuple[int, int]) -> Convolution:
    W = matrix(layer).detach().cpu()
    assert isinstance(layer, KINDS)
    shape = layer.weight.shape if isinstance(layer, nn.Conv2d) else layer.kernel
    kernel = W.view(-1, *shape[1:])
    groups, mode = layer.groups, layer.padding_mode
    stride, padding, dilation = (getattr(layer, name) for name in ("stride", "padding", "dilation"))
    return operators.convolution(kernel, size, stride, padding, dilation, groups, mode)


def norm_rows(c: Convolution, found: LayerBounds) -> list[Row]:
    """The norms of a convolution T on its images, and the bounds that the matricised kernel W puts on them.

    `operator_norm` is exact in l_inf and an estimate from below in l_2, `operator_norm_certified` an upper bound, both
    of T itself. Theorem 3.1's bounds of W hold for T in l_inf, and times sqrt(copies) in l_2. Theorem B.4's hold where
    some output sees the whole kernel; elsewhere they are 0. Of a grouped convolution W has the groups on its diagonal.
    """
    whole = operators.sees_whole(c)
    return [
        row("operator_norm", operators.norm_inf(c), norm="linf"),
        row("operator_norm", norm_2_below(c), norm="l2"),
        row("operator_norm_bound", found.linf_upper, norm="linf"),
        row("operator_norm_bound_tight", found.linf_upper_tight, norm="linf"),
        row("operator_norm_bound", math.sqrt(operators.copies(c)) * found.l2_upper, norm="l2"),
        row("operator_norm_lower", found.linf_lower if whole else 0.0, norm="linf"),
        row("operator_norm_lower", found.l2_lower if whole else 0.0, norm="l2"),
        row("operator_norm_certified", operators.norm_2_upper(c), norm="l2"),
        *matricised_rows(found),
    ]


def matricised_rows(found: LayerBounds) -> list[Row]:
    """The norms of the kernel as a matrix out x (in kh kw), which are no operator's in l_2; of groups the largest."""
    return [
        row("operator_norm_matricised", found.linf_norm, norm="linf"),
        row("operator_norm_matricised", found.l2_norm, norm="l2"),
    ]
