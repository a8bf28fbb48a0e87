"""Nets of any precision under attacks in the images' precision: the images are cast at the net's door."""

import itertools

import torch
from torch import Tensor, nn


class Cast(nn.Module):
    """A net that is given images in its own precision, and whose logits are at least float32."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        logits: Tensor = self.net(x.to(self.dtype))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


def at_its_own(model: nn.Module, x: Tensor) -> nn.Module:
    """The model itself where its weights have the precision of x or there are none, else the model behind a cast.

    The ball is then that of the images as they are: a bfloat16 net rounds what it is given, as it does in use.
    """
    weights = itertools.chain(model.parameters(), model.buffers())
    own = next((w.dtype for w in weights if w.is_floating_point()), x.dtype)
    return model if own == x.dtype else Cast(model, own)
