"""The memory of one forward pass: bytes of the tensors that it makes, counted; on a GPU the allocator's peak too."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Live(TorchDispatchMode):
    """Adds up the bytes of the storages that operations make, until nobody holds them any more."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.now = 0
        self.sizes: dict[weakref.ref[Any], int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {storage._cdata for storage in _storages((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out):
            if storage._cdata not in given:  # no view, and not changed in place
                self._add(storage)
        self.peak = max(self.peak, self.now)
        return out

    def _add(self, storage: Any) -> None:
        ref = weakref.ref(storage, self._gone)
        if ref not in self.sizes:
            self.sizes[ref] = storage.nbytes()
            self.now += storage.nbytes()

    def _gone(self, ref: "weakref.ref[Any]") -> None:
        self.now -= self.sizes.pop(ref, 0)


def _storages(tree: Any) -> list[Any]:
    """The memory behind every dense tensor in it; weights laid out for a kernel have none to show."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return [t.untyped_storage() for t in tensors if t.layout == torch.strided]


@torch.no_grad()
def inference_bytes(net: nn.Module, image: Tensor) -> int:
    """Peak memory of one forward pass in eval mode beyond weights and image: the largest sum of bytes of tensors that
    are alive at once, as PyTorch runs the pass operation by operation.

    image (N, C, H, W). Views and operations in place make nothing. What an operation takes and gives back within itself
    (the scratch of a convolution) is not seen, nor what the allocator rounds up. Quantized weights are computed before,
    as for latencies.
    """
    net.eval()
    with parametrize.cached():
        net(image)  # quantized weights, and what is laid out at the first pass
        with _Live() as live:
            out = net(image)
        del out
    return live.peak


@torch.no_grad()
def allocated_bytes(net: nn.Module, image: Tensor) -> int:
    """The same as the allocator of a GPU sees it: its peak during a pass less what was allocated before, scratch of
    operations included. image (N, C, H, W) on the GPU; the number depends on the device and its libraries."""
    net.eval()
    with parametrize.cached():
        net(image)
        torch.cuda.synchronize(image.device)
        torch.cuda.reset_peak_memory_stats(image.device)
        before = torch.cuda.memory_allocated(image.device)
        net(image)
        torch.cuda.synchronize(image.device)
        return torch.cuda.max_memory_allocated(image.device) - before
