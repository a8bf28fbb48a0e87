"""What a training stage descends on: (net, x, y) -> scalar, so that a loss may use more of the net than its logits."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy as mean_cross_entropy

from study.nets.net import Net

Loss = Callable[[Net, Tensor, Tensor], Tensor]
SMOOTHING = 0.1


def cross_entropy(net: Net, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of a batch x (N, C, H, W), y (N,), in nats."""
    return mean_cross_entropy(net(x).float(), y)


def label_smoothing(net: Net, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy to targets that give a tenth of their mass to all classes alike (Szegedy et al. 2016)."""
    return mean_cross_entropy(net(x).float(), y, label_smoothing=SMOOTHING)


LOSSES: dict[str, Loss] = {"": cross_entropy, "label_smoothing": label_smoothing}
