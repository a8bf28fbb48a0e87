"""Quantization, simulated in floating point with torch's own operators: b bits are 2^b levels.

Weights: per tensor, symmetric (zero stays zero, so masks survive), the scale follows the weights while they train.
Activations: per tensor, asymmetric, the range fixed by calibration (one bit: zero and the mean of the non-zeros, where
the largest one as the other level would silence nearly every unit). Gradients are straight-through: they pass a
rounding as if it were the identity, for activations inside the calibrated range alone, and are zero outside. An attack
with gradients climbs this surrogate, not the staircase that the net really is: read its robust accuracy beside the
checks of study.trial.measures.masking, and with audit_queries beside an attack without gradients.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net

BITS = (8, 4, 2, 1)


class _Sign(torch.autograd.Function):
    """W -> sign(W) times the mean |w| of its non-zeros; the gradient is the identity."""

    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        return W.sign() * (W.abs().sum() / W.count_nonzero().clamp_min(1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class WeightQuantizer(nn.Module):
    """W -> its nearest of 2^bits levels, multiples of one scale; bits 1: sign(W) times the mean |w| of the non-zeros.

    The scale is max|w| / ((2^bits - 1) / 2), so that no error exceeds half of it. The gradient is the identity (for the
    one largest weight, which is clipped, 0).
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, W: Tensor) -> Tensor:
        if self.bits == 1:
            return _Sign.apply(W)
        half = 2 ** (self.bits - 1)
        scale = (W.detach().abs().max().float() / (half - 0.5)).clamp_min(torch.finfo(torch.float32).tiny)
        zero = torch.zeros((), dtype=torch.int32, device=W.device)
        return torch.fake_quantize_per_tensor_affine(W, scale, zero, -half, half - 1)


class InputQuantizer(nn.Module):
    """x -> its nearest of 2^bits levels between `low` <= 0 and `high` >= 0, one of which is zero; clipped outside.

    The gradient is the identity inside the range and zero outside.
    """

    def __init__(self, bits: int, low: float, high: float) -> None:
        super().__init__()
        self.top: int = 2**bits - 1
        self.scale = (high - low) / self.top if high > low else 1.0
        self.zero = min(self.top, max(0, round(-low / self.scale)))

    def range(self) -> tuple[float, float]:
        """The lowest and the highest level."""
        return -self.zero * self.scale, (self.top - self.zero) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # an exported program may hold basic operators alone
            levels = torch.round(x * (1 / self.scale) + self.zero).clamp(0, self.top)
            return (levels - self.zero) * self.scale
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, self.top)


def _quantize_input(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (layer.input_quantizer(given[0]), *given[1:])  # type: ignore[operator]


def quantize(net: Net, bits: int, images: Iterable[Tensor]) -> Net:
    """A copy of `net` with the weights of every layer, the head included, and the input of every layer but the first on
    2^bits levels.

    The first layer reads the image itself, which is no activation: rounding perturbations of it away would be a defence
    of another kind. Biases, norms and what passes between two factors stay float32. The ranges of the inputs are those
    that the net with quantized weights has on `images`, batches (N, C, H, W). bits in {8, 4, 2, 1}; ValueError
    otherwise, and for a net that is quantized already.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")
    out = copy.deepcopy(net)
    layers = list(nets.weighted(out).values())
    if any(nets.is_quantized(layer) for layer in layers):
        raise ValueError("the net is quantized already")
    for layer in layers:
        for name in masks.stored(layer):
            parametrize.register_parametrization(layer, name, WeightQuantizer(bits))
    for layer, seen in zip(layers[1:], _look(out, layers[1:], images), strict=True):
        layer.input_quantizer = InputQuantizer(bits, *(seen.levels() if bits == 1 else (seen.low, seen.high)))
        layer.register_forward_pre_hook(_quantize_input)
    return out


@dataclass
class _Seen:
    """What a layer's input was over the images: its extremes (zero included), its non-zeros and their sum of |x|."""

    low: float = 0.0
    high: float = 0.0
    count: int = 0
    total: float = 0.0

    def add(self, x: Tensor) -> None:
        low, high = x.aminmax()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        self.count += int(x.count_nonzero())
        self.total += float(x.abs().sum())

    def levels(self) -> tuple[float, float]:
        """The two levels of one bit: zero, and the mean |x| of the non-zeros on the side that reaches further."""
        mean = self.total / max(1, self.count)
        return (0.0, mean) if self.high >= -self.low else (-mean, 0.0)


@torch.no_grad()
def _look(net: Net, layers: list[nn.Module], images: Iterable[Tensor]) -> list[_Seen]:
    """What each layer is given when the net sees the images."""
    found = {layer: _Seen() for layer in layers}
    hooks = [layer.register_forward_pre_hook(lambda layer, given: found[layer].add(given[0])) for layer in layers]
    was_training = net.training
    net.eval()
    for batch in images:
        net(batch)
    net.train(was_training)
    for hook in hooks:
        hook.remove()
    return list(found.values())


def bits_of(layer: nn.Module) -> int:
    """Bits of a layer's stored weights: 32 unless it is quantized."""
    if not nets.is_quantized(layer):
        return 32
    name = next(iter(masks.stored(layer)))
    return int(layer.parametrizations[name][0].bits)  # type: ignore[index, union-attr]
