"""Nets whose exact distance to the boundary is known, and each attack at settings that take a moment."""

import functools

import torch

from study.attacks import ATTACKS
from study.nets.build import build
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Load, Train
from study.trial.train import epochs, start
from tests.helpers import linear_net

QUICK = {
    "fgsm": {},
    "pgd": {"iterations": 20},
    "apgd": {"iterations": 20},
    "autoattack": {"iterations": 6, "queries": 30},
    "cw": {"searches": 2},
    "fab": {"iterations": 10},
    "square": {"queries": 100},
    "random_points": {"samples": 5},
}
QUICK_ATTACKS = {name: functools.partial(attack, **QUICK[name]) for name, attack in ATTACKS.items()}


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(classes=2, seed=0, n=60, scale=1.0):
    """A linear net, points away from the box's border, and each point's exact distances to the boundary."""
    generator = stream(seed)
    weight = torch.randn(classes, 36, generator=generator)
    weight -= weight.mean(1, keepdim=True)  # a flat image has equal logits: the boundaries pass among the points
    x = 0.4 + 0.2 * torch.rand(n, 1, 6, 6, generator=generator)
    y = (x.flatten(1) @ weight.T).argmax(1)
    return linear_net(scale * weight, (1, 6, 6)), x, y, distances(weight, x, y)


def distances(weight, x, y):
    """How far the points of a linear net are from the boundary, per norm, the box left out."""
    scores = x.flatten(1) @ weight.T
    between = weight[y][:, None] - weight[None]
    gap = (scores.gather(1, y[:, None]) - scores).scatter(1, y[:, None], torch.inf)
    return {
        "linf": (gap / between.abs().sum(2).clamp_min(1e-9)).amin(1),
        "l2": (gap / between.norm(dim=2).clamp_min(1e-9)).amin(1),
    }


@functools.cache
def digits(depth: int = 2, width: int = 64) -> tuple[Net, torch.Tensor, torch.Tensor]:
    """A net trained on digits for a second and 120 test images."""
    data = load(Load(), 0)
    net = build(Build(width=width, depth=depth), data.shape, 10, (data.mean, data.std), 0)
    progress = start(net, Train(epochs=8))
    for _ in epochs(net, data, Train(epochs=8), 0, progress):
        pass
    return net.eval(), data.test.x[:120], data.test.y[:120]


@functools.cache
def compressed(kind: str, seed: int = 0) -> tuple[Net, torch.Tensor, torch.Tensor]:
    """A digits net dense, with a tenth of its weights (masked) or on few levels (2 bits), and 360 test images.

    Compressed nets are trained a little more, as those of a study are.
    """
    data = load(Load(test_size=360), seed)
    net = build(Build(width=64, depth=2), data.shape, 10, (data.mean, data.std), seed)
    for how in ("", kind):
        net = {"masked": lambda n: mask_weights(n, 0.1, "magnitude", seed),
               "2 bits": lambda n: quantize(n, 2, [data.train.x[:500]])}.get(how, lambda n: n)(net)  # fmt: skip
        training = Train(epochs=8 if not how else 2)
        for _ in epochs(net, data, training, seed, start(net, training)):
            pass
    return net.eval(), data.test.x, data.test.y
