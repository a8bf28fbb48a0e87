"""What a net multiplies in one forward pass, seen by torch's own counter: layers, functional calls, attention."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

aten = torch.ops.aten


def _with(*at: int) -> Callable[..., int]:
    """Twice the entries of these arguments: each is multiplied and added once."""
    return lambda *shapes, **_: 2 * sum(math.prod(shapes[i]) for i in at)


def _bilinear(x: Any, W: Any, *_: Any, **__: Any) -> int:
    return int(2 * math.prod(x[:-1]) * math.prod(W))


def _recurrent(x: Any, *weights: Any, **_: Any) -> int:
    """Both matrices of a layer (of all layers: one list of them) at each of the steps."""
    found = weights[0] if isinstance(weights[0], list) else weights[:2]
    return int(2 * x[0] * x[1] * sum(math.prod(W) for W in found if len(W) == 2))


# What torch's counter has no formula for: of the shapes of its arguments, twice the multiply-adds.
MORE: dict[Any, Callable[..., int]] = {
    aten.mv: _with(0),
    aten.addmv: _with(1),
    aten.dot: _with(0),
    aten._trilinear: _bilinear,
    aten.mkldnn_rnn_layer: _recurrent,
    aten._cudnn_rnn: _recurrent,
}


@contextmanager
def _unfused() -> Iterator[None]:
    """Attention as the products that it is made of: of its fused kernels on a CPU the counter has no formula."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def multiply_adds(net: nn.Module, image: Tensor) -> int:
    """Multiply-adds of a net in eval mode on images (N, C, H, W): of every product of matrices and every convolution,
    by what layer or function it may be called.

    Those of a transposed convolution are its weights at every position that goes in; zeros are multiplied like any
    number, those of a mask and of a padding too. Element by element (activations, norms, scales) nothing is counted,
    nor how weights are computed from others (parametrizations).
    """
    net.eval()
    with parametrize.cached(), _unfused():
        for module in net.modules():
            if parametrize.is_parametrized(module):
                for name in module.parametrizations:  # type: ignore[union-attr]
                    getattr(module, name)
        with FlopCounterMode(display=False, custom_mapping=MORE) as counter:
            net(image)
    return int(counter.get_total_flops()) // 2


class _Read(TorchDispatchMode):
    """Notes where the memory of all lies that is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True imports torch._dynamo, for seconds, for compiled nets: here is none

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket in flop_registry or func._overloadpacket in MORE:
            parts = [part for a in args for part in (a if isinstance(a, list | tuple) else (a,))]
            self.places |= {a.untyped_storage().data_ptr() for a in parts if isinstance(a, Tensor)}
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def multiplied(net: nn.Module, image: Tensor) -> list[str]:
    """The names of the parameters of two dimensions or more that a net in eval mode multiplies images with, whoever
    calls for it.

    One that is first copied (turned to another type, say) is not seen.
    """
    net.eval()
    reading = _Read()
    with _unfused(), reading:
        net(image)
    return [
        name for name, W in net.named_parameters() if W.ndim > 1 and W.untyped_storage().data_ptr() in reading.places
    ]
