"""Filters really removed: outputs of the net with them at zero, sizes by hand, couplings of residual paths."""

import copy

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets.compression.filters import remove_filters
from study.nets.compression.prune import silenced
from study.nets.compression.remove import remove_rows
from study.nets.net import Net
from study.trial.measures.cost import macs, parameters

SHAPE = (1, 8, 8)
X = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """x -> relu(x + bn(conv(relu(bn(conv x))))), so that its last filters are tied to the stem's."""

    def __init__(self, width, inner, act):
        super().__init__()
        self.one, self.bn1 = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.two, self.bn2 = nn.Conv2d(inner, width, 3, padding=1), nn.BatchNorm2d(width)
        self.act = act()

    def forward(self, x):
        return self.act(x + self.bn2(self.two(self.act(self.bn1(self.one(x))))))


def small(act=nn.ReLU):
    """Stem (1 -> 4), a residual block (4 -> 6 -> 4), a convolution (4 -> 8) of stride 2, linear 32 -> 10 -> 3."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), Residual(4, 6, act), nn.Conv2d(4, 8, 3, stride=2, padding=1), act(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 10), act(), nn.Linear(10, 3),
    )  # fmt: skip
    net = Net(body, (0.3,), (0.4,), ("2.one", "2.two", "3", "7"))
    for _ in range(3):
        net(X)  # the norms get statistics
    return net.eval()


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.9])
def test_removal_is_masking_in_outputs(ratio):
    net = small()
    before = copy.deepcopy(net.state_dict())
    out, gone = remove_filters(net, ratio, SHAPE)
    torch.testing.assert_close(out(X), silenced(net, gone)(X), atol=1e-5, rtol=0)
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items()), "the argument is not changed"
    for name, layer in nets.layers(out).items():
        m = nets.matrix(nets.layers(net)[name]).shape[0]
        assert nets.matrix(layer).shape[0] == max(1, round((1 - ratio) * m))
    assert (not torch.equal(out(X), net(X))) == (ratio > 0)
    if ratio == 0:
        assert all(torch.equal(W, before[name]) for name, W in out.state_dict().items()), "bit for bit"


def test_what_a_residual_path_couples_goes_together_and_what_feeds_the_head_stays_readable():
    _, gone = remove_filters(small(), 0.5, SHAPE)
    assert gone["0"] == gone["2.two"] == gone["2.bn2"], "the stem is added to the block"
    assert gone["2.one"] == gone["2.bn1"]
    assert {name: len(places) for name, places in gone.items()} == {
        "0": 2, "2.two": 2, "2.bn2": 2, "2.one": 3, "2.bn1": 3, "3": 4, "7": 5,
    }  # fmt: skip
    net = small()
    norms = nets.matrix(net.body[0]).abs().sum(1) + nets.matrix(net.body[2].two).abs().sum(1)
    assert gone["0"] == sorted(norms.argsort()[:2].tolist())


def test_parameters_and_macs_by_hand():
    out = remove_rows(small(), 0.5, SHAPE)
    stem, one, two, three = 2 * 9 + 2, 3 * 2 * 9 + 6, 2 * 3 * 9 + 2 + 4, 4 * 2 * 9 + 4
    assert parameters(out) == stem + one + two + three + (16 * 5 + 5) + (5 * 3 + 3)
    places = 64 * (18 + 54 + 54) + 16 * 72
    assert macs(out, X[:1]) == places + 80 + 15
    assert macs(small(), X[:1]) == 64 * (36 + 216 + 216) + 16 * 288 + 320 + 30


def test_a_smaller_net_learns_and_is_saved_and_loaded():
    out = remove_rows(small(), 0.5, SHAPE)
    other = remove_rows(small(), 0.5, SHAPE)
    out.train()(X).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in out.parameters())
    with torch.no_grad():
        for p in out.parameters():
            p -= 0.1 * p.grad
    other.load_state_dict(out.state_dict())
    assert torch.equal(other.eval()(X), out.eval()(X))


def test_what_cannot_lose_filters_is_refused():
    with pytest.raises(ValueError, match="a channel of zeros is not without effect"):
        remove_rows(small(nn.Sigmoid), 0.5, SHAPE)
    grouped = small()
    grouped.body[3] = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    with pytest.raises(ValueError, match="plain convolutions and linear layers: 3 is a convolution in 2 groups"):
        remove_rows(grouped, 0.5, SHAPE)
    with pytest.raises(ValueError, match="ratio must lie in"):
        remove_rows(small(), 1.0, SHAPE)


def test_resnet18_loses_half_of_every_layer():
    from study.nets.build import build
    from study.spec.config import Build

    net = build(Build(model="resnet18"), (3, 32, 32), 10, ((0.5,) * 3, (0.25,) * 3), 0).eval()
    out, gone = remove_filters(net, 0.5, (3, 32, 32))
    assert {name: nets.matrix(m).shape[0] * 2 for name, m in nets.layers(out).items()} == {
        name: nets.matrix(m).shape[0] for name, m in nets.layers(net).items()
    }
    assert out.body.fc.out_features == 10
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(out(x), silenced(net, gone)(x), atol=1e-4, rtol=1e-4)


BLOCKS = {"wrn50_2": (3, 4, 6, 3), "wrn101_2": (3, 4, 23, 3)}


def counted(model, stem, inner, outer):
    """Parameters and multiply-adds of one image of 32 x 32 of a bottleneck net by hand: channels of the stem, and those
    within and between the blocks of each stage."""
    before, side, weights, adds = stem, 8, 3 * stem * 49 + 2 * stem, 3 * stem * 49 * 16**2
    for stage, (blocks, mid, out) in enumerate(zip(BLOCKS[model], inner, outer, strict=True)):
        for block in range(blocks):
            at = side // 2 if stage and not block else side  # the 3 x 3 convolution strides
            weights += before * mid + 9 * mid * mid + mid * out + 2 * (2 * mid + out)
            adds += before * mid * side**2 + (9 * mid * mid + mid * out) * at**2
            if not block:
                weights, adds = weights + before * out + 2 * out, adds + before * out * at**2
            before, side = out, at
    return weights + 10 * before + 10, adds + 10 * before


@pytest.mark.parametrize("model", BLOCKS)
def test_bottleneck_nets_lose_half_of_every_layer_but_the_stem(model):
    from study.nets.build import build
    from study.spec.config import Build

    shape = (3, 32, 32)
    net = build(Build(model=model, width_multiplier=1 / 16), shape, 10, ((0.5,) * 3, (0.25,) * 3), 0)
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    net(x)  # the norms get statistics
    out, gone = remove_filters(net.eval(), 0.5, shape)
    assert {name: nets.matrix(m).shape[0] * 2 for name, m in nets.layers(out).items()} == {
        name: nets.matrix(m).shape[0] for name, m in nets.layers(net).items()
    }
    assert (parameters(net), macs(net, x[:1])) == counted(model, 4, (8, 16, 32, 64), (16, 32, 64, 128))
    assert (parameters(out), macs(out, x[:1])) == counted(model, 4, (4, 8, 16, 32), (8, 16, 32, 64))
    with torch.no_grad():
        masked, whole = silenced(net, gone)(x), net(x)
        torch.testing.assert_close(out(x), masked, atol=1e-5, rtol=1e-4)
    assert (whole - masked).abs().max() > 0.01, "what went mattered"
    assert gone["layer1.0.conv3"] == gone["layer1.0.downsample.0"] == gone["layer1.2.bn3"], "one path"


class Dense(nn.Module):
    """Each layer reads, behind a norm, all that earlier ones gave; the last is put together from parts."""

    def __init__(self):
        super().__init__()
        self.stem, self.n1, self.a = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)
        self.n2, self.b = nn.BatchNorm2d(10), nn.Conv2d(10, 6, 3, padding=1)
        self.n3, self.head = nn.BatchNorm2d(16), nn.Linear(16, 3)

    def forward(self, x):
        h = self.stem(x)
        h = torch.cat([h, self.a(self.n1(h).relu())], 1)
        h = torch.cat([h, self.b(self.n2(h).relu())], 1)
        return self.head(self.n3(h).relu().mean((2, 3)))


def test_a_norm_of_joined_channels_loses_those_of_each_in_their_places():
    torch.manual_seed(0)
    net = Net(Dense(), (0.3,), (0.4,), ("a", "b"))
    for _ in range(3):
        net(X)
    out, gone = remove_filters(net.eval(), 0.5, SHAPE)
    assert gone["n2"] == [4 + i for i in gone["a"]]
    assert gone["n3"] == gone["n2"] + [10 + i for i in gone["b"]]
    assert [m.weight.shape[0] for m in (out.body.n1, out.body.n2, out.body.n3)] == [4, 7, 10]
    with torch.no_grad():
        torch.testing.assert_close(out(X), silenced(net, gone)(X), atol=1e-5, rtol=0)
        assert not torch.allclose(out(X), net(X), atol=1e-3)


def test_what_is_frozen_loses_filters_and_stays_frozen():
    net, same = small(), small()
    net.body[3].weight.requires_grad_(False)
    net.body[0].requires_grad_(False)
    out, gone = remove_filters(net, 0.5, SHAPE)
    wanted, gone_there = remove_filters(same, 0.5, SHAPE)
    assert gone == gone_there
    assert torch.equal(out(X), wanted(X))
    assert [p.requires_grad for p in out.body.parameters()] == [p.requires_grad for p in net.body.parameters()]


@pytest.mark.parametrize("place", [3, 7])
def test_the_layer_is_named_whose_zeros_act(place):
    """Behind one layer of several an activation makes one of zero."""
    net = small()
    net.body[place].register_forward_hook(lambda m, given, out: out.cos())
    with pytest.raises(ValueError, match=f"filters of {place} cannot be removed: a channel of zeros is not without"):
        remove_filters(net, 0.5, SHAPE)


@pytest.mark.parametrize("bound", ["VISITS", "PLACES"])
def test_couplings_are_sought_in_a_bounded_number_of_steps(bound, monkeypatch):
    from study.nets.compression import filters

    remove_filters(small(), 0.5, SHAPE)
    monkeypatch.setattr(filters, bound, 0)
    with pytest.raises(ValueError, match="no coupling of them is found, their channels are split and joined too often"):
        remove_filters(small(), 0.5, SHAPE)
