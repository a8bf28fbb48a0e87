"""BatchNorm folded into convolutions: the same net in eval mode, the same robust masks, and nothing of it elsewhere."""

import copy
import functools
import sys

import pytest
import torch
from torch import nn

from study.attacks import ATTACKS
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.quantize import quantize
from study.nets.data import load
from study.nets.fold import folded
from study.nets.net import Net
from study.spec.config import Build, Load, Robustness, Train
from study.trial import train as training
from study.trial.measures.robustness import robustness
from study.trial.state import State
from tests.attack_cases import QUICK, stream
from tests.helpers import hidden_of

DATA = load(Load(train_size=600, test_size=150), 0)


class Block(nn.Module):
    """A residual block in the order of ResNet's, whose submodules stand in another order than they are used."""

    def __init__(self, width, stride=1):
        super().__init__()
        self.bn2, self.bn1 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=True)
        self.short = nn.Sequential(nn.Conv2d(width, width, 1, stride, bias=False), nn.BatchNorm2d(width, affine=False))

    def forward(self, x):
        h = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(h)) + self.short(x)).relu()


def body(*extra):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), Block(12, 2), Block(12), *extra,
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


def shell(module):
    return Net(module, DATA.mean, DATA.std, hidden_of(module))


@functools.cache
def trained(rank=0):
    net = shell(body())
    net = factorize(net, rank, 0) if rank else net
    config = Train(epochs=8, learning_rate=3e-3)
    for _ in training.epochs(net, DATA, config, 0, training.start(net, config)):
        pass
    return net.eval()


def norms(net):
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("rank", [0, 4])
def test_every_norm_of_a_residual_net_is_folded_and_the_logits_are_the_same(rank):
    net = trained(rank)
    small = folded(net, DATA.test.x)
    assert len(norms(net)) == 7
    assert norms(small) == []
    with torch.no_grad():
        assert torch.allclose(net(DATA.test.x), small(DATA.test.x), atol=1e-4)
    assert training.evaluate(net, DATA.test)[0] > 0.8


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.4)])
def test_robust_masks_are_equal(name, norm, eps):
    net, (x, y) = trained(), DATA.test[:]
    options = QUICK[name]
    masks = [ATTACKS[name](n, x, y, eps, norm, **options, generator=stream()).robust for n in (net, folded(net, x))]
    assert torch.equal(*masks)
    assert 0 < int(masks[0].sum()) < len(y)


def test_the_net_itself_is_not_touched():
    net = trained()
    before = copy.deepcopy(net.state_dict())
    names = [name for name, _ in net.named_modules()]
    folded(net, DATA.test.x)
    assert [name for name, _ in net.named_modules()] == names
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_nothing_to_fold_is_the_net_itself():
    net = build(Build(width=8, depth=1), DATA.shape, 10, (DATA.mean, DATA.std), 0).eval()
    assert folded(net, DATA.test.x) is net


def test_quantized_layers_are_left_alone():
    net = quantize(trained(), 4, [DATA.train.x]).eval()
    assert folded(net, DATA.test.x) is net


def test_a_net_in_training_is_refused():
    with pytest.raises(ValueError, match="eval mode alone"):
        folded(copy.deepcopy(trained()).train(), DATA.test.x)


class Twice(nn.Module):
    """Reads a convolution beside its norm, or norms it with statistics that it does not keep."""

    def __init__(self, keeps):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(12, 12, 1), nn.BatchNorm2d(12, track_running_stats=keeps)
        self.keeps = keeps

    def forward(self, x):
        z = self.conv(x)
        return self.norm(z) + z if self.keeps else self.norm(z)


def test_a_convolution_that_others_read_too_gives_the_net_back():
    net = shell(body(Twice(True))).eval()
    with torch.no_grad():
        norms(net)[-1].running_mean.fill_(3.0)
    assert folded(net, DATA.test.x) is net


def test_a_norm_without_statistics_stays():
    net = shell(body(Twice(False))).eval()
    assert len(norms(folded(net, DATA.test.x))) == 1


def test_the_measure_attacks_the_folded_net_and_says_the_same(monkeypatch):
    config = Robustness(
        norm="linf", eps=(8 / 255,), iterations=5, gap_eps=(8 / 255,), gap_iterations=5, backend="native"
    )
    state = State(seed=0, data=DATA, net=trained())
    with_norms = Net(state.net.body, DATA.mean, DATA.std, state.net.hidden).eval()
    rows = robustness(state, config)
    monkeypatch.setattr(sys.modules[robustness.__module__], "folded", lambda net, x: with_norms)
    for a, b in zip(rows, robustness(state, config), strict=True):
        exact = a["measure"] in ("robust_accuracy", "relative_robust_accuracy")
        assert a["value"] == (b["value"] if exact else pytest.approx(b["value"], abs=1e-4)), a["measure"]
