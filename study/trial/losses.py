"""What a training stage descends on: (net, x, y) -> scalar, so that a loss may use more of the net than its logits."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as mean_cross_entropy
from torch.nn.functional import kl_div, log_softmax

from study.nets.net import Net

Loss = Callable[[Net, Tensor, Tensor], Tensor]
SMOOTHING = 0.1


def cross_entropy(net: Net, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of a batch x (N, C, H, W), y (N,), in nats."""
    return mean_cross_entropy(net(x).float(), y)


def label_smoothing(net: Net, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy to targets that give a tenth of their mass to all classes alike (Szegedy et al. 2016)."""
    return mean_cross_entropy(net(x).float(), y, label_smoothing=SMOOTHING)


def distilled(loss: Loss, teacher: Net, weight: float, temperature: float) -> Loss:
    """(1 - d) loss + d T^2 KL(softmax(t / T) || softmax(s / T)), t the teacher's logits, s the net's, on the same x.

    d = `weight` in [0, 1], T = `temperature` > 0, KL in nats, the mean over the batch; T^2 keeps the size of the
    gradient as T grows (Hinton et al. 2015, section 2). x is what the training step sees, adversarial points included:
    these are of the net, not of the teacher, whose logits are constants, to the images too. ValueError out of range.
    """
    if not 0 <= weight <= 1 or not temperature > 0:
        raise ValueError(f"distillation must lie in [0, 1] and temperature above 0, got {weight:g} and {temperature:g}")

    def mixed(net: Net, x: Tensor, y: Tensor) -> Tensor:
        seen: list[Tensor] = []  # the logits that the loss itself asks for: one pass, statistics of norms move once
        hook = net.register_forward_hook(lambda module, given, out: seen.append(out))
        try:
            hard = loss(net, x, y)
        finally:
            hook.remove()
        with torch.no_grad():
            wanted = log_softmax(teacher(x).float() / temperature, dim=1)
        found = log_softmax(seen[0].float() / temperature, dim=1)
        soft = kl_div(found, wanted, reduction="batchmean", log_target=True)
        return (1 - weight) * hard + weight * temperature**2 * soft

    return mixed


LOSSES: dict[str, Loss] = {"": cross_entropy, "label_smoothing": label_smoothing}
