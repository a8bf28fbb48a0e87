"""Nets of 8 bits on integer kernels, beside a naive twin and beside the simulation."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.integer import IntegerLayer, integer
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import InputQuantizer, quantize
from study.nets.net import Net
from study.spec.config import Build

SHAPE = (3, 16, 16)
MODELS = {
    "fcn": Build(width=24, depth=3),
    "cnn": Build(model="cnn", width_multiplier=0.25),
    "cnn8": Build(model="cnn8", width_multiplier=0.25),
    "resnet18": Build(model="resnet18", width_multiplier=0.125, stem="small"),
    "vit": Build(model="vit", width=32, depth=2),
    "vgg16": Build(model="vgg16", width_multiplier=0.125),
}
pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.onednn, "qconv2d_pointwise"), reason="this torch has no integer kernels"
)


def images(n, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def built(model):
    """A net whose norms are those of a trained one, and whose logits spread as a trained one's."""
    net = build(MODELS[model], SHAPE, 10, ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), 3)
    net.train()(images(64, 1))
    return net.eval()


def of(body):
    """A user's own body."""
    return Net(body, (0.4,) * 3, (0.3,) * 3, ()).eval()


def quantized(net, bits=8, kind="tensor"):
    return quantize(net, bits, [images(64, 1)], kind).eval()


def layers(net):
    return [m for m in net.modules() if isinstance(m, IntegerLayer)]


def drawn(layer, low, high, kind, seed=0):
    """A layer of random weights as the second of a net, so that it is an integer layer with inputs from low to high."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=random))
    body = nn.Sequential(nn.Conv2d(3, 4, 1), layer) if isinstance(layer, nn.Conv2d) else nn.Sequential(layer)
    if isinstance(layer, nn.Linear):
        body = nn.Sequential(nn.Flatten(), nn.Linear(768, 12), layer)
    net = quantized(of(body), kind=kind)
    net.body[-1].input_quantizer = InputQuantizer(8, low, high)
    return layers(integer(net))[0]


@torch.no_grad()
def naive(layer, x):
    """The same by whole numbers alone, in float64 (where sums of them are exact), then scaled once."""
    q = (torch.round(x * layer.input.inverse) + layer.input.zero).clamp(0, 255).double() - layer.input.zero
    W = layer.codes.double()
    if layer.how:
        stride, padding, dilation, groups = layer.how
        sums = conv2d(q, W, None, stride, padding, dilation, groups)
        scales, bias = layer.scales.double().view(1, -1, 1, 1), layer.bias.double().view(1, -1, 1, 1)
    else:
        sums, scales, bias = linear(q, W), layer.scales.double(), layer.bias.double()
    return sums * scales * float(torch.tensor(layer.input.scale)) + bias


CASES = {
    "dense": (lambda: nn.Linear(12, 7), (2, 12)),
    "dense without bias": (lambda: nn.Linear(12, 7, bias=False), (2, 12)),
    "3 x 3, stride 2": (lambda: nn.Conv2d(4, 6, 3, 2, padding=1), (2, 4, 9, 9)),
    "1 x 1": (lambda: nn.Conv2d(4, 6, 1, bias=False), (2, 4, 5, 5)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5)),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2), (2, 4, 7, 7)),
}


@pytest.mark.parametrize("kind", ["tensor", "channel"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-2.0, 1.0)])
@pytest.mark.parametrize("name", CASES)
def test_a_layer_is_the_naive_one(name, low, high, kind):
    make, shape = CASES[name]
    layer = drawn(make(), low, high, kind)
    x = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    wanted = naive(layer, x)
    torch.testing.assert_close(layer(x).double(), wanted, rtol=1e-5, atol=1e-5)
    layer.relu, layer.out = True, InputQuantizer(8, 0.0, float(wanted.max()) * 0.8)
    exact = wanted.clamp_min(0) / layer.out.scale
    levels = layer(x)
    assert levels.dtype == torch.uint8
    tied = (exact % 1 - 0.5).abs() < 1e-3
    assert float(tied.double().mean()) < 0.1
    assert torch.equal(levels[~tied].double(), exact.round().clamp(0, 255)[~tied])
    assert int((levels.double() - exact.round().clamp(0, 255)).abs().max()) <= 1, "a tie falls to either side"


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this processor adds up in 16 bits")
def test_sums_do_not_overflow():
    layer = drawn(nn.Linear(12, 7, bias=False), 0.0, 1.0, "tensor")
    layer.codes, layer.packed = torch.full((7, 12), -128, dtype=torch.int8), None
    x = torch.ones(1, 12)
    torch.testing.assert_close(layer(x).double(), naive(layer, x), rtol=1e-6, atol=0)
    assert float(naive(layer, x)[0, 0] / layer.scales[0] / layer.input.scale) == pytest.approx(-128 * 255 * 12)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["tensor", "channel"])
@pytest.mark.parametrize("model", MODELS)
def test_a_net_predicts_what_the_simulation_does(model, kind):
    net = built(model)
    simulated = quantized(net, kind=kind)
    x = images(100, 2)
    before = simulated(x)
    found = integer(simulated)
    assert torch.equal(simulated(x), before), "the simulated net is left as it was"
    assert len(layers(found)) == sum(hasattr(m, "input_quantizer") for m in simulated.modules())
    apart, rounding = (found(x) - before).abs(), (net(x) - before).abs()
    assert float(apart.mean()) < float(rounding.mean()), "nearer to the simulation than that is to the float32 net"
    best = before.topk(2).values
    clear = best[:, 0] - best[:, 1] > 0.05 * before.abs().max()
    assert clear.sum() > 10
    assert torch.equal(found(x).argmax(1)[clear], before.argmax(1)[clear])


def test_between_layers_of_a_chain_there_are_levels_alone():
    found = layers(integer(quantized(built("cnn8"))))
    assert [layer.out is not None for layer in found] == [True] * 6 + [False], "the head gives logits"
    assert [layer.relu for layer in found] == [True] * 6 + [False]
    assert all(a.out is b.input for a, b in itertools.pairwise(found))


def test_norms_go_into_the_scales_unless_a_gain_is_negative():
    net = built("cnn")
    with torch.no_grad():
        net.body.norm3.weight[0] = -1.0
    simulated = quantized(net)
    found = integer(simulated)
    assert [name for name in ("norm2", "norm3", "norm4") if f"self.{name}(" in found.body.code] == ["norm3"]
    with torch.no_grad():
        x = images(50, 2)
        assert float((found(x) - simulated(x)).abs().mean()) < float((net(x) - simulated(x)).abs().mean())


def test_what_two_layers_read_stays_as_it_is():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.flat = nn.Linear(768, 12), nn.Flatten()
            self.both, self.left, self.right = nn.Linear(12, 12), nn.Linear(12, 5), nn.Linear(12, 5)

        def forward(self, x):
            x = self.both(torch.relu(self.first(self.flat(x))))
            return self.left(x) + self.right(x) + x.mean()

    simulated = quantized(of(Forked()))
    found = integer(simulated)
    assert [layer.out for layer in layers(found)] == [None] * 3, "the mean reads numbers, not levels"
    with torch.no_grad():
        torch.testing.assert_close(found(images(9)), simulated(images(9)), rtol=1e-4, atol=1e-5)


def test_masks_are_zeros_of_the_codes():
    net = mask_weights(built("cnn8"), 0.3, "magnitude", 0)
    found = integer(quantized(net))
    zeros = [float((layer.codes == 0).float().mean()) for layer in layers(found)[:-1]]
    assert min(zeros) >= 0.69


class Choosing(nn.Module):
    """A forward pass that looks at its numbers: torch.fx cannot read it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(768, 8), nn.Linear(8, 10)

    def forward(self, x):
        x = self.a(x.flatten(1))
        return self.b(x if x.sum() > 0 else -x)


@pytest.mark.parametrize(
    "net",
    [
        lambda: built("cnn8"),
        lambda: quantized(built("cnn8"), bits=4),
        lambda: quantized(factorize(built("cnn"), 2, 0)),
        lambda: quantized(of(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)))),
        lambda: quantized(
            of(
                nn.Sequential(
                    nn.Conv2d(3, 4, 1),
                    nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
                    nn.Flatten(),
                    nn.Linear(1024, 10),
                )
            )
        ),
        lambda: quantized(of(Choosing())),
    ],
    ids=["float32", "4 bits", "factors", "one layer", "a frame of pixels", "a choice"],
)
def test_what_has_no_such_kernels(net):
    assert integer(net()) is None
