"""How many images go through a net at once: as many as a memory budget holds, forward and backward."""

import weakref

import torch
from torch import Tensor, nn

from study.attacks import ball

BUDGET = 2**30  # bytes, on a CPU
SHARE = 0.5  # of the GPU memory that this process may still take
GRADIENTS = 3  # of the largest activation: what a backward pass holds beside the saved ones
COPIES = 16  # of an image: point, gradient, best, bounds, ... of the attack itself

_known: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = weakref.WeakKeyDictionary()


def images(model: nn.Module, x: Tensor, budget: int = 0) -> int:
    """How many of the images x (N, C, H, W) the model may be given at once, from 1 to N.

    Their forward and backward pass stays within `budget` bytes (0: BUDGET on a CPU, on a GPU a SHARE of what is free).
    The first call for a model and a shape costs a pass of three images.
    """
    return max(1, min(len(x), (budget or _budget(x.device)) // bytes_per_image(model, x)))


def bytes_per_image(model: nn.Module, x: Tensor) -> int:
    """Bytes that a forward and backward pass holds for each image of the shape of x (N, C, H, W)."""
    known = _known.setdefault(model, {})
    shape = tuple(x.shape[1:])
    if shape not in known:
        one, two = _saved(model, x[:1]), _saved(model, x[:1].expand(2, *shape))
        activations = max(0, sum(two) - sum(one))  # what does not grow with the images is no part of them
        largest = max((b - a for a, b in zip(sorted(one), sorted(two), strict=False)), default=0)
        known[shape] = activations + GRADIENTS * max(0, largest) + COPIES * 4 * x[0].numel()
    return known[shape]


@torch.no_grad()
def logits(model: nn.Module, x: Tensor) -> Tensor:
    """The logits (N, K) of images x (N, C, H, W), so many at once as the budget holds; the model as it is."""
    return torch.cat([model(part) for part in x.split(images(model, x))])


def _saved(model: nn.Module, x: Tensor) -> list[int]:
    """Bytes of each distinct storage that a forward pass keeps for the backward pass."""
    sizes: dict[int, int] = {}

    def pack(kept: Tensor) -> Tensor:
        storage = kept.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return kept

    with ball.frozen(model), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        out = model(x.detach().clone().requires_grad_(True))  # held, so that no address is given twice
    del out
    return list(sizes.values())


def _budget(device: torch.device) -> int:
    if device.type != "cuda":
        return BUDGET
    allowed = torch.cuda.get_device_properties(device).total_memory * torch.cuda.get_per_process_memory_fraction(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + cached
    return max(1, int(SHARE * min(free, allowed - torch.cuda.memory_allocated(device))))
