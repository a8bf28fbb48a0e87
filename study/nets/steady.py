"""Nets that cannot be attacked as they are: found before they are attacked, and averaged where chance is the cause.

An attack asks a net for one answer per image. Dropout that is on in eval mode gives another one each time, statistics
of the running batch give each image one that its neighbours decide: both look like robustness (Athalye et al. 2018). A
net that ends in a softmax gives no logits: where it is sure, they round to 0 and 1, and no gradient is left to climb.
"""

import torch
from torch import Tensor, nn

IMAGES = 32  # looked at
TOLERANCE = 1e-3  # of the largest spread of an image's logits: rounding stays far below, chance and batches far above


class Averaged(nn.Module):
    """A net of chance as its expectation: x (N, C, H, W) -> the mean logits (N, K) of `draws` forward passes.

    Expectation over transformation (Athalye, Engstrom, Ilyas and Kwok 2018): an attack's gradient is that of the mean,
    and the mean is what is judged. Logits are averaged, not probabilities: so nothing moves when they are multiplied by
    a constant. Every forward pass takes fresh draws, whose seeds come from a generator begun at `seed`; the global
    random streams are left as found. Draws from any other stream than torch's are not repeatable.
    """

    def __init__(self, net: nn.Module, draws: int, seed: int) -> None:
        super().__init__()
        self.net, self.draws = net, draws
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        seeds = torch.randint(2**62, (self.draws,), generator=self.generator).tolist()
        devices = [x.device] if x.is_cuda else []
        with torch.random.fork_rng(devices):
            total = torch.zeros((), device=x.device)
            for seed in seeds:
                torch.manual_seed(seed)
                total = total + self.net(x)
        return total / self.draws


@torch.no_grad()
def unsteady(net: nn.Module, x: Tensor) -> str:
    """What is wrong with a net's outputs as logits: they depend on "chance" or "the batch", or are those of a
    "softmax"; "" where nothing is.

    x (N, C, H, W) are images to look at; `net` is taken in the mode that it is in. Chance: two passes over the same
    images differ. The batch: most images differ when they are given two at a time. Softmax: no output is negative and
    each image's sum to 1. The global streams are left as found.
    """
    x = x[:IMAGES]
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        first, second = net(x), net(x)
        pairs = torch.cat([net(part) for part in x.split(2)])
    if bool(_moved(first, second).any()):
        return "chance"
    if len(x) > 2 and float(_moved(first, pairs).double().mean()) > 0.5:
        return "the batch"
    sums = first.double().sum(1)
    return "softmax" if bool((first >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3) else ""


def _moved(a: Tensor, b: Tensor) -> Tensor:
    """Which images' logits differ by more than rounding, (N,)."""
    spread = (a.amax(1) - a.amin(1)).max()
    return (a - b).abs().amax(1) > TOLERANCE * spread + 1e-5 * a.abs().max()


def reason(what: str, draws: int) -> str:
    """Why a net with `what` (unsteady's word) is not attacked with so many draws; "" where it is."""
    if what == "chance" and draws == 0:
        return (
            "the net gives the same images other logits each time (dropout in eval mode?); make it deterministic, or "
            "attack its mean over draws: --set eot=16"
        )
    if what == "the batch":
        return (
            "the net's logits for an image depend on the others of its batch (batch statistics in eval mode?), so "
            "that no image has a prediction of its own; make it use running statistics (eot averages chance alone)"
        )
    if what == "softmax":
        return (
            "the net gives probabilities, not logits (no output is negative and each image's sum to 1); take its last "
            "softmax away: it hides the gradient of every image that the net is sure of"
        )
    if what == "sigmoid":
        return (
            "the net gives a probability of each class, a sigmoid, not logits; take it away: it hides the gradient of "
            "every image that the net is sure of"
        )
    return ""


def steady(net: nn.Module, x: Tensor, draws: int, seed: int) -> nn.Module:
    """The net as it can be attacked: itself where nothing is wrong with its logits, else its mean over draws.

    ValueError with the reason where neither will do.
    """
    what = unsteady(net, x)
    if why := reason(what, draws):
        raise ValueError(why)
    return Averaged(net, draws, seed) if what else net
