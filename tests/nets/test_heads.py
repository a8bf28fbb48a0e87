"""A fresh head: in its place in every kind of net, drawn by the seed, all else bit for bit."""

import pytest
import torch
import torchvision
from torch import nn

from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.quantize import quantize
from study.nets.heads import fresh
from study.nets.net import Net
from study.spec.config import Build
from tests.helpers import hidden_of

COLOUR = (3, 32, 32)
PLAIN = ((0.0,) * 3, (1.0,) * 3)


def built(**given):
    return build(Build(**given), COLOUR, 5, PLAIN, 0)


def sequential():
    """As VGG16: features, then a classifier that is a Sequential of its own."""
    body = nn.Sequential()
    body.add_module(
        "features", nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    )
    body.add_module("classifier", nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5)))
    return Net(body, *PLAIN, hidden_of(body))


def swin():
    body = torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[1, 1], num_heads=[1, 2], window_size=[2, 2], num_classes=5
    )
    return Net(body, *PLAIN, hidden_of(body), 32)


def convolutional():
    """A head that is a 1 x 1 convolution, averaged over places."""
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return Net(body, *PLAIN, hidden_of(body))


NETS = {
    "fcn": lambda: built(width=16, depth=2),
    "resnet18": lambda: built(model="resnet18"),
    "vit": lambda: built(model="vit", width=32, depth=1),
    "sequential": sequential,
    "swin": swin,
    "convolutional": convolutional,
}


@pytest.mark.parametrize("kind", NETS)
def test_the_head_alone_is_new(kind):
    net = NETS[kind]()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    new = fresh(net, COLOUR, 7, 3)
    after = new.state_dict()
    last = list(nets.weighted(net))[-1]
    assert {n for n in before if n not in after or not torch.equal(before[n], after[n])} == {
        n for n in before if n.startswith(f"body.{last}.")
    }
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items()), "the argument was changed"
    assert before.keys() == after.keys(), "a bias came or went"
    assert list(nets.weighted(new)) == list(nets.weighted(net))
    assert new.hidden == net.hidden
    x = torch.rand(2, *COLOUR)
    assert new.eval()(x).shape == (2, 7)
    if kind != "convolutional":
        assert torch.equal(nets.features(net.eval(), x), nets.features(new, x))


def test_it_is_drawn_by_its_seed_alone_and_leaves_the_global_generator():
    net = NETS["fcn"]()
    torch.manual_seed(0)
    here = torch.rand(1)
    torch.manual_seed(0)
    one, again, other = (nets.head(fresh(net, COLOUR, 7, seed)).weight for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), here)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(nets.head(fresh(net, COLOUR, 5, 3)).weight, nets.head(net).weight), "the old head again"


def test_a_width_equal_to_the_classes_is_no_head():
    net = build(Build(width=10, depth=3), (1, 8, 8), 10, ((0.0,), (1.0,)), 0)
    new = fresh(net, (1, 8, 8), 10, 1)
    changed = {n for n, W in new.state_dict().items() if not torch.equal(W, net.state_dict()[n])}
    assert changed == {"body.head.weight"}


class Beside(nn.Module):
    """A net whose last layer with weights is not what gives the logits."""

    def __init__(self):
        super().__init__()
        self.out, self.last = nn.Linear(16, 5), nn.Linear(3072, 16)

    def forward(self, x):
        return self.out(self.last(x.flatten(1)))


def test_what_cannot_be_given_one_is_named():
    body = Beside()
    with pytest.raises(ValueError, match="the last layer, last, gives 16 numbers and the net 5 logits"):
        fresh(Net(body, *PLAIN, hidden_of(body)), COLOUR, 7, 0)
    with pytest.raises(ValueError, match="images of 1 channels are not for a net built for 3"):
        fresh(NETS["resnet18"](), (1, 32, 32), 7, 0)
    with pytest.raises(ValueError, match="images of shape"):
        fresh(NETS["fcn"](), (3, 16, 16), 7, 0)
    quantized = quantize(NETS["fcn"](), 4, [torch.rand(4, *COLOUR)])
    with pytest.raises(TypeError, match="the head is quantized"):
        fresh(quantized, COLOUR, 7, 0)
