"""What a weight is worth to the loss: scores that masks rank by."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.nets import masks
from study.nets.net import Net


def taylor(net: Net, batches: Iterable[tuple[Tensor, Tensor]], on: str = "hidden") -> dict[str, Tensor]:
    """|w dL/dw| of each weight, the mean over batches of images (n, C, H, W) and labels (n,) (paper B, appendix I).

    L is the mean cross-entropy of a batch, in evaluation mode: to first order |w dL/dw| is what the loss changes by
    where that weight alone is gone. `on`: hidden, or all. The net is left as it was. ValueError without batches.
    """
    weights = masks.maskable(net, on)
    frozen = [W for W in weights.values() if not W.requires_grad]
    total = {name: torch.zeros_like(W) for name, W in weights.items()}
    count = 0
    modes = {module: module.training for module in net.modules()}
    try:
        net.eval()
        for W in frozen:
            W.requires_grad_(True)
        for x, y in batches:
            loss = cross_entropy(net(x), y)
            grads = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for (name, W), grad in zip(weights.items(), grads, strict=True):
                total[name] += 0.0 if grad is None else (W.detach() * grad).abs()
            count += 1
    finally:
        for W in frozen:
            W.requires_grad_(False)
        for module, mode in modes.items():
            module.training = mode
    if not count:
        raise ValueError("scores need at least one batch")
    return {name: score / count for name, score in total.items()}
