"""What the layers of a net are given when it sees images: what the ranges of its quantized activations follow."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.nets.net import Net


@dataclass
class Seen:
    """What a layer's input was over the images: its extremes (zero included), its non-zeros and their sum of |x|."""

    low: float = 0.0
    high: float = 0.0
    count: int = 0
    total: float = 0.0

    def add(self, x: Tensor) -> None:
        """Take in one batch, of any shape."""
        low, high = x.aminmax()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        self.count += int(x.count_nonzero())
        self.total += float(x.abs().sum())

    def extremes(self) -> tuple[float, float]:
        """The least and the largest value, zero included."""
        return self.low, self.high

    def levels(self) -> tuple[float, float]:
        """The two levels of one bit: zero, and the mean |x| of the non-zeros on the side that reaches further."""
        mean = self.total / max(1, self.count)
        return (0.0, mean) if self.high >= -self.low else (-mean, 0.0)


@torch.no_grad()
def look(net: Net, layers: list[nn.Module], images: Iterable[Tensor]) -> list[Seen]:
    """What each of the layers is given when the net, in eval mode, sees `images`, batches (N, C, H, W)."""
    found = {layer: Seen() for layer in layers}
    hooks = [layer.register_forward_pre_hook(lambda layer, given: found[layer].add(given[0])) for layer in layers]
    was_training = net.training
    net.eval()
    for batch in images:
        net(batch)
    net.train(was_training)
    for hook in hooks:
        hook.remove()
    return list(found.values())
