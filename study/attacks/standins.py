"""Nets to climb on in place of one whose own gradients mislead: their points are judged by the net itself.

Few levels of activation make a net a staircase of few steps. Its straight-through gradient is that of the clipped
identity, which is 0 for every activation beyond the last level: at one or two bits, for most that are on. Three
stand-ins see different parts of the truth, and what one misses another often finds. `leaky` is the net itself, whose
gradient also passes beyond the last level, by LEAK. `unrounded` clips activations and does not round them: smooth where
the net is flat. `dithered` is `leaky` with noise as wide as one step before every rounding, other noise in every pass:
in the mean of the passes the staircase between the levels is a straight line, and each pass has its steps elsewhere.
This is backward pass differentiable approximation (Athalye, Carlini and Wagner 2018, section 4.1) with three
approximations; the third is also an expectation over transformation. Digits and MNIST nets at 1 and 2 bits (24 cells,
20 iterations), images robust: leaky and unrounded, both towards three classes too 46.8 %; all three 44.7; all three
towards five classes (what AutoPGD does) 43.8, towards nine 43.3. Noise of half a step or of two finds less.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from study.nets.compression.quantize import InputQuantizer

FEW = 16  # levels of an activation: at 8 bits (256) stand-ins find no more than the net's own gradient
LEAK = 0.3


class StandIn(NamedTuple):
    """A net to climb on (None: the judging net itself) and what its logits are worth (climb.Plan.trust)."""

    net: nn.Module | None
    trust: str


class _Leaky(torch.autograd.Function):
    """A quantizer forward; backward the gradient, times LEAK where the input lay beyond the levels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, quantizer: InputQuantizer) -> Tensor:
        low, high = quantizer.range()
        ctx.save_for_backward((x < low) | (x > high))
        out: Tensor = quantizer(x)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (beyond,) = ctx.saved_tensors
        return torch.where(beyond, LEAK * grads[0], grads[0]), None


class _LeakyQuantizer(nn.Module):
    def __init__(self, quantizer: InputQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Leaky.apply(x, self.quantizer)
        return out


class _Clip(nn.Module):
    def __init__(self, quantizer: InputQuantizer) -> None:
        super().__init__()
        self.low, self.high = quantizer.range()

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)


class _DitheredQuantizer(nn.Module):
    """A leaky quantizer of x plus uniform noise as wide as one step: the same noise for every image of a pass, so that
    no answer depends on the batch."""

    def __init__(self, quantizer: InputQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.layer, self.passes = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed((self.layer << 16) + self.passes)  # it takes 32 bits
        self.passes += 1
        noise = torch.rand(x.shape[1:], generator=generator).to(x) - 0.5
        out: Tensor = _Leaky.apply(x + self.quantizer.scale * noise, self.quantizer)
        return out


def of(model: nn.Module) -> tuple[StandIn, ...]:
    """The stand-ins of a net with activations on FEW levels or fewer (`quantize` at 4 bits and below): leaky, unrounded
    and dithered. None for any other net."""
    if not any(isinstance(m, InputQuantizer) and m.top < FEW for m in model.modules()):
        return ()
    dithered = _with(model, _DitheredQuantizer)
    for layer, module in enumerate(m for m in dithered.modules() if isinstance(m, _DitheredQuantizer)):
        module.layer = layer
    return (
        StandIn(_with(model, _LeakyQuantizer), "all"),
        StandIn(_with(model, _Clip), "none"),
        StandIn(dithered, "none"),
    )


def rewind(net: nn.Module) -> None:
    """Begin the noise of a dithered net anew: a climb meets the same noise whichever batches were climbed before."""
    for module in net.modules():
        if isinstance(module, _DitheredQuantizer):
            module.passes = 0


def _with(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """A copy of the net with another module in place of each quantizer of activations."""
    out = copy.deepcopy(model)
    for module in out.modules():
        if isinstance(quantizer := getattr(module, "input_quantizer", None), InputQuantizer):
            module.input_quantizer = kind(quantizer)
    return out


class _Bfloat16(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x.bfloat16()).float()
        return out


def rounded(model: nn.Module) -> StandIn:
    """A bfloat16 copy of the net, cheap to climb on where the processor has bfloat16 units."""
    return StandIn(_Bfloat16(copy.deepcopy(model)), "hits")
