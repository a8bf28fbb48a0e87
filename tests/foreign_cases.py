"""Nets as people have them, made in a line: layers by name, and a function of them that makes the outputs."""

import torch
from torch import nn

from study.nets import own
from study.nets.net import Net
from study.spec.config import Accuracy, Robustness

SHAPE = (1, 8, 8)
CLASSES = 10
PLAIN = (Accuracy(),)
ATTACK = Robustness(norm="linf", eps=(16 / 255,), iterations=3, gap_eps=(), images=40)


class Kind(nn.Module):
    """Layers in the order in which they are given, called by a function of the module and images."""

    def __init__(self, way, **layers):
        super().__init__()
        self.way = way
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.way(self, x)


class Own(Kind):
    """Likewise, of flattened images."""

    def forward(self, x):
        return super().forward(x.flatten(1))


def own_net(way=lambda net, h: net.head(h), classes=CLASSES, **more):
    """Two hidden layers and a head, and what else is given; `way` makes the outputs of the last hidden features."""
    torch.manual_seed(0)
    layers = {"a": nn.Linear(64, 16), "b": nn.Linear(16, 16), "head": nn.Linear(16, classes)} | more
    return Own(lambda net, x: way(net, net.b(net.a(x).relu()).relu()), **layers)


def made(body, classes=CLASSES, shape=SHAPE):
    """The net that a user's function would become, in eval mode."""
    net = Net(body, (0.3,), (0.4,), (), classes=classes)
    own.known(net, shape, "mine:net")
    own.folded(net)
    return net.eval()


def images(n=6):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(5))
