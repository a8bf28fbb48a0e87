"""Quantization, simulated in floating point with torch's own operators: b bits are 2^b levels.

Weights: one scale per tensor or per output row ("channel"), symmetric (zero stays zero, so masks survive); the scales
follow the weights while they train. Activations: per tensor, asymmetric. After training their range is fixed by
calibration (one bit: zero and the mean of the non-zeros, where the largest one as the other level would silence nearly
every unit); in quantization-aware training it begins there and follows what the batches show until that training ends
(Jacob et al. 2018, section 3.1). Gradients are straight-through: they pass a rounding as if it were the identity, for
activations inside the range alone, and are zero outside. An attack with gradients climbs this surrogate, not the
staircase that the net really is: read its robust accuracy beside the checks of study.trial.measures.masking, and with
audit_queries beside an attack without gradients.
"""

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from study.nets import masks
from study.nets import net as nets
from study.nets.compression.calibrate import Seen, look
from study.nets.net import Net

BITS = (16, 8, 4, 2, 1)
GRANULARITIES = ("tensor", "channel")
ONE_BIT = ("mean", "as_printed")
MOMENTUM = 0.1  # of a batch in a moving range, as BatchNorm has it: runs of a few hundred steps must follow too
TINY = torch.finfo(torch.float32).tiny


class _Straight(torch.autograd.Function):
    """(W, levels) -> levels; the gradient goes to W as it is."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, levels: Tensor) -> Tensor:
        return levels

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class WeightQuantizer(nn.Module):
    """W (rows, ...) -> its nearest of 2^bits levels, multiples of one scale (`channel`: one of each row).

    The scale is max|w| / ((2^bits - 1) / 2), so that no error exceeds half of it. The gradient is the identity (for the
    one largest weight of a scale, which is clipped, 0). One bit, `mean`: sign(W) times the scale, the mean |w| of the
    non-zeros, so two levels (and 0 where W is exactly 0). `as_printed`: paper C's formula (section 3.2) with its scale
    of 2 max|w|, over which every weight rounds to 0: one level, for replication alone. Identity gradients in both.
    """

    def __init__(self, bits: int, granularity: str = "tensor", one_bit: str = "mean") -> None:
        super().__init__()
        self.bits, self.granularity, self.one_bit = bits, granularity, one_bit

    def scales(self, W: Tensor) -> Tensor:
        """The distance of two levels (one bit, mean: half of it), a scalar or per row (rows,); float32 but for one bit
        and means, which have W's precision."""
        sizes = W.detach().abs()
        over = tuple(range(1 if self.granularity == "channel" else 0, W.ndim))
        if self.bits == 1 and self.one_bit == "mean":
            return sizes.sum(over) / sizes.count_nonzero(over).clamp_min(1)
        return (sizes.amax(over).float() / (2 ** (self.bits - 1) - 0.5)).clamp_min(TINY)

    def forward(self, W: Tensor) -> Tensor:
        if self.bits == 1 and self.one_bit == "as_printed":
            return _Straight.apply(W, torch.zeros_like(W))
        scales, half = self.scales(W), 2 ** (self.bits - 1)
        if self.bits == 1:
            return _Straight.apply(W, W.detach().sign() * scales.view(-1, *[1] * (W.ndim - 1)))
        zero = torch.zeros_like(scales, dtype=torch.int32)
        if self.granularity == "channel":
            return torch.fake_quantize_per_channel_affine(W, scales, zero, 0, -half, half - 1)
        return torch.fake_quantize_per_tensor_affine(W, scales, zero, -half, half - 1)


class InputQuantizer(nn.Module):
    """x -> its nearest of 2^bits levels between `low` <= 0 and `high` >= 0, one of which is zero; clipped outside.

    The gradient is the identity inside the range and zero outside.
    """

    def __init__(self, bits: int, low: float, high: float) -> None:
        super().__init__()
        self.top: int = 2**bits - 1
        self._lay(low, high)

    def _lay(self, low: float, high: float) -> None:
        self.scale = max((high - low) / self.top, TINY) if high > low else 1.0
        self.zero = min(self.top, max(0, round(-low / self.scale)))
        self.inverse = float(1 / torch.tensor(self.scale, dtype=torch.float32))  # the factor that torch's kernel takes

    def range(self) -> tuple[float, float]:
        """The lowest and the highest level."""
        return -self.zero * self.scale, (self.top - self.zero) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # an exported program may hold basic operators alone
            levels = (torch.round(x * self.inverse) + self.zero).clamp(0, self.top)
            return (levels - self.zero) * self.scale
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, self.top)


class MovingQuantizer(InputQuantizer):
    """An InputQuantizer whose range moves by MOMENTUM towards that of each batch while it trains and is `open`.

    The range is part of the net's state (`low`, `high`), the levels follow it. In eval mode, and once it is closed, it
    is fixed. A batch that holds NaN or infinity moves nothing.
    """

    low: Tensor
    high: Tensor

    def __init__(self, bits: int, low: float, high: float, one_bit: str = "mean") -> None:
        super().__init__(bits, low, high)
        self.bits, self.one_bit = bits, one_bit
        self.open = True
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))
        self.register_load_state_dict_post_hook(_follow)
        _follow(self)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.open:
            self._observe(x.detach())
        return super().forward(x)

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        seen = Seen()
        seen.add(x)
        if math.isfinite(seen.total):
            low, high = _limits(seen, self.bits, self.one_bit)
            self.low += MOMENTUM * (low - self.low)
            self.high += MOMENTUM * (high - self.high)
            _follow(self)


def _follow(quantizer: MovingQuantizer, _: Any = None) -> None:
    """Lay the levels where the state has the range."""
    quantizer._lay(float(quantizer.low), float(quantizer.high))


def _limits(seen: Seen, bits: int, one_bit: str) -> tuple[float, float]:
    return seen.levels() if bits == 1 and one_bit == "mean" else seen.extremes()


def _quantize_input(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (layer.input_quantizer(given[0]), *given[1:])  # type: ignore[operator]


def quantize(
    net: Net,
    bits: int,
    images: Iterable[Tensor],
    granularity: str = "tensor",
    one_bit: str = "mean",
    *,
    aware: bool = False,
) -> Net:
    """A copy of `net` with the weights of every layer, the head included, and the input of every layer but the first on
    2^bits levels.

    The first layer reads the image itself, which is no activation: rounding perturbations of it away would be a defence
    of another kind. Biases, norms and what passes between two factors stay float32. The ranges of the inputs are those
    that the net with quantized weights has on `images`, batches (N, C, H, W); with `aware` they move in training mode
    until `close`. bits in {16, 8, 4, 2, 1}, granularity tensor or channel, one_bit mean or as_printed; ValueError
    otherwise, and for a net that is quantized already.
    """
    for name, value, known in (
        ("bits", bits, BITS),
        ("granularity", granularity, GRANULARITIES),
        ("one_bit", one_bit, ONE_BIT),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value}")
    out = copy.deepcopy(net)
    layers = list(nets.weighted(out).values())
    if any(nets.is_quantized(layer) for layer in layers):
        raise ValueError("the net is quantized already")
    for layer in layers:
        for name in masks.stored(layer):
            parametrize.register_parametrization(layer, name, WeightQuantizer(bits, granularity, one_bit))
    for layer, seen in zip(layers[1:], look(out, layers[1:], images), strict=True):
        limits = _limits(seen, bits, one_bit)
        fixed = not aware
        layer.input_quantizer = InputQuantizer(bits, *limits) if fixed else MovingQuantizer(bits, *limits, one_bit)
        layer.register_forward_pre_hook(_quantize_input)
    return out.to(out.mean.device)


def close(net: Net) -> None:
    """Fix the moving ranges of a net, in place: later training leaves them where they are."""
    for module in net.modules():
        if isinstance(module, MovingQuantizer):
            module.open = False


def bits_of(layer: nn.Module) -> int:
    """Bits of a layer's stored weights: 32 unless it is quantized."""
    quantizer = _weight_quantizer(layer)
    return 32 if quantizer is None else quantizer.bits


def scales_of(layer: nn.Module) -> int:
    """How many scales a layer's stored weights have, over all its tensors: 0 unless it is quantized."""
    quantizer = _weight_quantizer(layer)
    if quantizer is None:
        return 0
    return sum(W.shape[0] if quantizer.granularity == "channel" else 1 for W in masks.stored(layer).values())


def _weight_quantizer(layer: nn.Module) -> WeightQuantizer | None:
    if not nets.is_quantized(layer):
        return None
    name = next(iter(masks.stored(layer)))
    return layer.parametrizations[name][0]  # type: ignore[index, return-value]
