"""BatchNorm folded into the convolutions before it: what a net in eval mode computes, in fewer steps."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.nets import hooks
from study.nets import net as nets
from study.nets.factored import FactoredConv2d
from study.nets.net import LowRankConv2d, Net

CONVOLUTIONS = (nn.Conv2d, LowRankConv2d, FactoredConv2d)
TOLERANCE = 1e-3  # of the largest logit: rounding stays far below, a wrong pair far above


@torch.no_grad()
def folded(net: Net, x: Tensor) -> Net:
    """A copy of `net` for eval mode whose convolutions have taken up the BatchNorm that reads them alone.

    y = g (W x + b - m) / s + h becomes (g / s) W x + (g / s)(b - m) + h, with s = sqrt(variance + epsilon). The pairs
    are those that the net shows on images x (N, C, H, W); the net itself where there are none, or where the copy's
    logits differ on x. Quantized and other parametrized layers, and modules with hooks, stay as they are. The copy is
    for attacks: its logits differ from the net's by rounding. `net` must be in eval mode, ValueError else.
    """
    if net.training:
        raise ValueError("BatchNorm can be folded in eval mode alone: call net.eval() first")
    names = _pairs(net, x[:1])
    if not names:
        return net
    out = copy.deepcopy(net)
    for convolution, norm in names:
        _fold(out.get_submodule(convolution), out.get_submodule(norm))
        parent, _, child = norm.rpartition(".")
        setattr(out.get_submodule(parent), child, nn.Identity())
    was, now = net(x), out(x)
    return out.eval() if bool((was - now).abs().max() <= TOLERANCE * was.abs().max()) else net


def _pairs(net: Net, x: Tensor) -> Sequence[tuple[str, str]]:
    """The names of convolutions and the BatchNorms that are given their outputs, each used once in a forward pass."""
    names = {module: name for name, module in net.named_modules()}
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensors are held, so that no id is given twice
    pairs: list[tuple[nn.Module, nn.Module]] = []
    calls: list[nn.Module] = []
    hooked = {m for m in net.modules() if hooks.theirs(m)}

    def convolved(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        calls.append(module)
        made[id(out)] = (module, out)

    def normed(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        calls.append(module)
        if id(given[0]) in made:
            pairs.append((made[id(given[0])][0], module))

    def alone(module: nn.Module) -> bool:
        return not nets.is_quantized(module) and module not in hooked and calls.count(module) == 1

    watching = [m.register_forward_hook(convolved) for m in net.modules() if isinstance(m, CONVOLUTIONS)]
    watching += [m.register_forward_hook(normed) for m in net.modules() if type(m) is nn.BatchNorm2d and _frozen(m)]
    try:
        net(x)
    finally:
        for hook in watching:
            hook.remove()
    once = [c for c, _ in pairs]
    return [(names[c], names[b]) for c, b in pairs if alone(c) and alone(b) and once.count(c) == 1]


def _frozen(norm: nn.BatchNorm2d) -> bool:
    """Whether it norms by its statistics, as eval mode has it, unless it keeps none."""
    return norm.running_mean is not None and not norm.training


def _fold(convolution: nn.Module, norm: nn.Module) -> None:
    assert isinstance(convolution, CONVOLUTIONS)
    assert isinstance(norm, nn.BatchNorm2d)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    factors = (variance.double() + norm.eps).rsqrt()
    shift = torch.zeros_like(factors)
    if norm.affine:
        factors, shift = norm.weight.double() * factors, norm.bias.double()
    bias = 0.0 if convolution.bias is None else convolution.bias.double()
    nets.scale_rows(convolution, factors.float())
    convolution.bias = nn.Parameter((factors * (bias - mean.double()) + shift).float())
