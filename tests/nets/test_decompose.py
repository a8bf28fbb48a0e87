"""Factors of trained layers: sizes by hand, singular tails, tensorly's reconstructions, what a net does with them."""

import copy
import math
import warnings

import numpy as np
import pytest
import tensorly
import torch
from tensorly.decomposition import parafac, partial_tucker, tensor_train
from torch import nn

from study.nets import masks
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression import tensors
from study.nets.compression.decompose import METHODS, count, decompose, factors, largest
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.prune import keep_rows
from study.nets.compression.quantize import bits_of, quantize
from study.nets.compression.shares import pruned
from study.nets.data import load
from study.nets.factored import FactoredConv2d
from study.nets.fold import folded
from study.nets.net import LowRankConv2d, LowRankLinear, Net
from study.spec.config import Build, Load, Train
from study.theory import operators
from study.trial import train as training
from study.trial.measures.convolutions import convolutions
from study.trial.measures.cost import macs, parameters, stored_bytes
from tests.helpers import hidden_of

DATA = load(Load(train_size=200, test_size=60), 0)
KINDS = {
    "plain": {},
    "strided": {"stride": (2, 1), "padding": (2, 1)},
    "dilated": {"dilation": (1, 2), "padding": 2},
    "same": {"padding": "same", "dilation": 2},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflect": {"padding": (2, 1), "padding_mode": "reflect", "bias": False},
    "oblong": {"kernel_size": (2, 3), "padding": (0, 1)},
    "of one row": {"kernel_size": (1, 3), "stride": 2, "padding": (1, 0)},
}
TENSORS = ("tucker", "tt", "cp")


def conv(kind="plain", inputs=6, outputs=12):
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, **({"kernel_size": 3} | KINDS[kind]))


def small_net(**kind):
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 12, 3, **({"padding": 1} | kind)), nn.BatchNorm2d(12),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
    )  # fmt: skip
    return Net(body, (0.3,), (0.4,), hidden_of(body))


def built(model, **config):
    return build(Build(model=model, **config), DATA.shape, 10, (DATA.mean, DATA.std), 0)


def relative(found, wanted):
    return float(((found - wanted).norm() / wanted.norm()).detach())


def numpy_factors(kernel, how):
    """The kernel that tensorly rebuilds from its own factors, called as its documentation calls it."""
    with tensorly.backend_context("numpy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = how(kernel.double().numpy())
        out = found.to_tensor() if hasattr(found, "to_tensor") else tensorly.tenalg.multi_mode_dot(*found, modes=[0, 1])
    return torch.from_numpy(np.ascontiguousarray(out)).float()


@pytest.mark.parametrize("layer", [nn.Linear(14, 9), nn.Conv2d(4, 9, 3), nn.Conv2d(6, 8, 2, groups=2)])
def test_svd_at_full_rank_is_the_layer_and_below_it_misses_the_singular_tail(layer):
    W = nets.matrix(layer).detach()
    groups = getattr(layer, "groups", 1)
    full = min(len(W) // groups, W.shape[1])
    parts = [torch.linalg.svdvals(part) for part in W.chunk(groups)]
    for rank in range(1, full + 1):
        new = factors(layer, "svd", rank, 0)
        tail = sum(float(s[rank:].square().sum()) for s in parts) ** 0.5
        assert float((nets.matrix(new).detach() - W).norm()) == pytest.approx(tail, abs=1e-5)
        assert torch.equal(new.bias, layer.bias)
        if isinstance(layer, nn.Linear):
            assert isinstance(new, LowRankLinear)
    x = torch.randn(3, 14) if isinstance(layer, nn.Linear) else torch.randn(3, layer.in_channels, 7, 6)
    assert torch.allclose(new(x), layer(x), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_factors_convolve_as_the_dense_kernel_of_their_product_does(method, kind):
    layer = conv(kind)
    new = factors(layer, method, largest(layer, method, 0.5), 0)
    assert isinstance(new, LowRankConv2d if method == "svd" else FactoredConv2d)
    dense = copy.deepcopy(layer)
    nets.set_matrix(dense, nets.matrix(new))
    x = torch.rand(2, 6, 9, 8, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out, wanted = new(x), dense(y)
    assert torch.allclose(out, wanted, atol=1e-5)
    out.square().sum().backward()
    wanted.square().sum().backward()
    assert torch.allclose(x.grad, y.grad, rtol=1e-4, atol=1e-4)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in new.parameters())


def test_tucker_is_tensorlys():
    layer = conv()
    new = factors(layer, "tucker", 7, 0)
    assert [tuple(F.shape) for F in new.kernels()] == [(3, 6, 1, 1), (7, 3, 3, 3), (12, 7, 1, 1)]
    found = numpy_factors(layer.weight.detach(), lambda K: partial_tucker(K, rank=[7, 3], modes=[0, 1])[0])
    assert torch.allclose(new.product().view_as(found), found, atol=1e-5)


def test_tensor_train_is_tensorlys():
    layer = conv()
    new = factors(layer, "tt", 8, 0)
    assert [tuple(F.shape) for F in new.kernels()] == [(6, 6, 1, 1), (8, 6, 3, 1), (8, 8, 1, 3), (12, 8, 1, 1)]
    found = numpy_factors(
        layer.weight.detach(), lambda K: tensor_train(np.moveaxis(K, 0, -1), rank=[1, 6, 8, 8, 1])
    ).permute(3, 0, 1, 2)
    assert torch.allclose(new.product().view_as(found), found, atol=1e-5)


def test_cp_is_tensorlys_from_the_same_start():
    layer = conv()
    new = factors(layer, "cp", 9, 5)
    assert [tuple(F.shape) for F in new.kernels()] == [(9, 6, 1, 1), (9, 1, 3, 1), (9, 1, 1, 3), (12, 9, 1, 1)]
    norm = layer.weight.detach().norm()
    how = {"n_iter_max": tensors.SWEEPS, "l2_reg": tensors.RIDGE, "tol": 0, "random_state": 5}
    found = norm * numpy_factors(layer.weight.detach() / norm, lambda K: parafac(K, 9, **how))
    assert torch.allclose(new.product().view_as(found), found, atol=1e-4)
    short, long = (relative(nets.matrix(factors(layer, "cp", 9, 5, n)), nets.matrix(layer)) for n in (1, 50))
    assert long == relative(nets.matrix(new), nets.matrix(layer)) < short, "a rehearsal takes one sweep"


@pytest.mark.parametrize("method", METHODS)
def test_a_kernel_of_low_rank_is_found_again_and_more_weights_miss_less(method):
    layer = conv()
    exact = {"svd": 2, "tucker": 4, "tt": 2, "cp": 2}[method]
    planted = factors(layer, method, exact, 0)
    with torch.no_grad():
        nets.set_matrix(layer, nets.matrix(planted))
    assert relative(nets.matrix(factors(layer, method, exact, 1)), nets.matrix(layer)) < 1e-3
    wild = conv("oblong")
    errors = [
        relative(nets.matrix(factors(wild, method, largest(wild, method, ratio), 0)), nets.matrix(wild))
        for ratio in (0.95, 0.8, 0.5, 0.2)
    ]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < errors[0] < 1


def test_the_four_parts_of_every_component_of_cp_have_one_norm():
    first, high, wide, last = factors(conv(), "cp", 9, 0).kernels()
    sizes = torch.stack(
        [F.detach().flatten(1).norm(dim=1) for F in (first, high, wide)] + [last[:, :, 0, 0].norm(dim=0)]
    )
    assert torch.allclose(sizes, sizes[:1].expand(4, -1), rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 2**62])
def test_cp_twice_is_the_same_bits_and_another_start_others(seed):
    one, two, other = (factors(conv(), "cp", 13, s).product() for s in (seed, seed, seed + 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.97])
def test_the_rank_is_the_largest_that_the_share_leaves_room_for(method, ratio):
    for layer in (conv(), conv("oblong", 16, 3), conv("plain", 1, 40), conv("of one row", 12, 30)):
        size = layer.weight.numel()
        level = largest(layer, method, ratio)
        assert count(layer, method, level) <= (1 - ratio) * size + 1e-6 or level == 1
        assert count(layer, method, level + 1) > (1 - ratio) * size
        new = factors(layer, method, level, 0)
        assert sum(W.numel() for W in masks.stored(new).values()) == count(layer, method, level)


def test_sizes_by_hand():
    """12 filters on 6 channels of 3 x 3: 648 weights, of which 324 may stay."""
    layer = conv()
    assert {m: (largest(layer, m, 0.5), count(layer, m, largest(layer, m, 0.5))) for m in METHODS} == {
        "svd": (4, 4 * (12 + 54)),
        "tucker": (7, 3 * 6 + 7 * 3 * 9 + 12 * 7),
        "tt": (6, 6 * 6 + 6 * 6 * 3 + 6 * 6 * 3 + 12 * 6),
        "cp": (13, 13 * (6 + 3 + 3 + 12)),
    }
    assert largest(nn.Linear(100, 100), "svd", 0.9) == 5, "1 - 0.9 is a little less than 0.1"
    assert count(nn.Conv2d(6, 8, 2, groups=2), "svd", 1) == 8 + 2 * 12


@pytest.mark.parametrize("method", METHODS)
def test_costs_of_a_net_by_hand_and_by_the_flop_counter(method):
    from torch.utils.flop_counter import FlopCounterMode

    net = decompose(small_net(stride=2), 0.5, method, 0)[0].eval()
    layer = net.body[2]
    stem, head = 54, 120
    weights = {"svd": 264, "tucker": 291, "tt": 324, "cp": 312}[method]
    assert parameters(net) == stem + 6 + weights + 12 + 24 + head + 10
    assert stored_bytes(net) == 4 * (parameters(net) + 24), "running means and variances"
    image = DATA.test.x[:1]  # 8 x 8, halved by the layer
    by_hand = {
        "svd": 16 * 264,
        "tucker": 64 * 18 + 16 * (189 + 84),
        "tt": 64 * 36 + 32 * 108 + 16 * (108 + 72),
        "cp": 64 * 78 + 32 * 39 + 16 * (39 + 156),
    }[method]
    assert macs(net, image) == 64 * stem + by_hand + head
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    assert counter.get_total_flops() == 2 * macs(net, image)
    assert nets.frobenius(layer) == pytest.approx(float(nets.matrix(layer).detach().norm()), rel=1e-4)


@pytest.mark.parametrize(
    ("model", "config", "method"),
    [
        ("fcn", {"width": 30, "depth": 3}, "svd"),
        ("cnn", {}, "svd"),
        ("cnn", {}, "tucker"),
        ("resnet18", {"width_multiplier": 0.125}, "svd"),
        ("resnet18", {"width_multiplier": 0.125}, "tt"),
        ("resnet18", {"width_multiplier": 0.125}, "tucker"),
        ("resnet18", {"width_multiplier": 0.125}, "cp"),
        ("vgg16", {"width_multiplier": 0.125}, "tt"),
        ("vit", {"width": 32, "depth": 1}, "svd"),
    ],
)
def test_every_hidden_layer_of_every_architecture_reaches_the_ratio(model, config, method):
    net = built(model, **config)
    before = {name: W.clone() for name, W in net.state_dict().items()}
    small, kept = decompose(net, 0.5, method, 0)
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items()), "the argument stays"
    assert small.hidden == net.hidden == tuple(kept)
    for name, layer in nets.layers(small).items():
        old = nets.layers(net)[name].weight
        assert isinstance(layer, (LowRankLinear, LowRankConv2d, FactoredConv2d))
        assert sum(W.numel() for W in masks.stored(layer).values()) == round(kept[name] * old.numel())
        assert 0.3 < kept[name] <= 0.5
        assert nets.matrix(layer).shape == old.flatten(1).shape
    stay = {n for n in before if not n.startswith(tuple(f"body.{layer}." for layer in net.hidden))}
    after = small.state_dict()
    assert stay <= set(after)
    assert all(torch.equal(after[name], before[name]) for name in stay)
    out = small.eval()(DATA.test.x[:4])
    assert out.shape == (4, 10)
    assert not torch.equal(out, net.eval()(DATA.test.x[:4]))


@pytest.mark.parametrize("method", METHODS)
def test_a_factorized_net_learns_is_saved_quantized_folded_pruned_and_measured(method):
    net, _ = decompose(small_net(), 0.3, method, 0)
    before = {name: W.detach().clone() for name, W in masks.hidden_weights(net).items()}
    config = Train(epochs=3, learning_rate=0.01)
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 1, progress):
        pass
    losses = [value for _, name, value in progress.curves if name == "train_loss"]
    assert losses[-1] < losses[0]
    assert all(not torch.equal(W, before[name]) for name, W in masks.hidden_weights(net).items())
    net.eval()
    x, labels = DATA.test.x[:20], DATA.test.y[:20]

    other, _ = decompose(small_net(), 0.3, method, 1)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.eval()(x), net(x)), "saved and loaded"
    assert relative(folded(net, x)(x), net(x)) < 1e-4
    assert isinstance(folded(net, x).body[3], nn.Identity), "its BatchNorm is folded into the last factor"

    (found,) = convolutions(net, (1, 8, 8)).values()
    layer, inner = net.body[2], torch.rand(2, 6, 8, 8)
    assert torch.allclose(operators.applied(found, inner), layer(inner) - layer.bias[None, :, None, None], atol=1e-4)

    rounded = quantize(net, 8, [DATA.train.x])
    tensors_ = len(masks.stored(layer))
    assert {bits_of(m) for m in nets.weighted(rounded).values()} == {8}
    sizes = [math.ceil(W.numel()) for m in nets.weighted(net).values() for W in masks.stored(m).values()]
    assert stored_bytes(rounded) == sum(sizes) + 4 * (2 + tensors_) + 8 * 2 + 4 * (6 + 12 + 10 + 48)
    assert relative(rounded(x), net(x)) < 0.1
    assert quantize(net, 1, [DATA.train.x])(x).isfinite().all()
    points = [x.clone().requires_grad_() for _ in range(2)]
    slopes = [
        torch.autograd.grad(nn.functional.cross_entropy(m(p), labels), p)[0].flatten()
        for m, p in zip((net, rounded), points, strict=True)
    ]
    assert nn.functional.cosine_similarity(*slopes, dim=0) > 0.5, "gradients pass the rounded factors"

    zeroed = nets.matrix(keep_rows(net, 0.5).body[2]).abs().sum(1)
    assert int((zeroed == 0).sum()) == 6
    for way in ("weights", "rows", "eps"):
        assert all(0 < share <= 1 for _, share in pruned(net, way, (1.0, 0.5)))
    scaled = nets.matrix(layer).detach().clone()
    nets.scale(layer, 3.0)
    assert torch.allclose(nets.matrix(layer), 3 * scaled, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_layers_of_zeros_dead_filters_and_one_channel_have_factors(method):
    for layer in (conv(), conv("plain", 1, 40), conv("oblong", 40, 1)):
        for dead in (slice(None), slice(0, None, 2)):
            with torch.no_grad():
                layer.weight[dead] = 0
            new = factors(layer, method, largest(layer, method, 0.3), 0)
            assert nets.matrix(new).isfinite().all()
            assert float(nets.matrix(new).detach()[dead].abs().max()) < 1e-5
            missed = float((nets.matrix(new) - nets.matrix(layer)).detach().norm())
            assert missed < float(layer.weight.detach().norm()) or not layer.weight.any()


def test_what_no_rank_makes_smaller_stays_and_is_said():
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 8, 1), nn.Flatten(), nn.Linear(8 * 16, 10)
    )
    net = Net(body, (0.3,), (0.4,), hidden_of(body))
    small, kept = decompose(net, 0.5, "cp", 0)
    assert kept == {"1": 1.0, "2": 14 / 48}, "a depthwise filter is of rank one already; 1 x 1 is a matrix: rank 1"
    assert type(small.body[1]) is nn.Conv2d
    assert isinstance(small.body[2], LowRankConv2d)
    alone = Net(nn.Sequential(*body[:2], *body[3:4], nn.Linear(6 * 16, 10)), (0.3,), (0.4,), ("1",))
    with pytest.raises(ValueError, match="no hidden layer is large enough"):
        decompose(alone, 0.5, "svd", 0)


def test_a_layer_that_is_used_twice_is_replaced_in_both_places():
    shared = nn.Linear(20, 20)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), shared, nn.ReLU(), shared, nn.Linear(20, 10))
    small, _ = decompose(Net(body, (0.3,), (0.4,), hidden_of(body)), 0.5, "svd", 0)
    assert small.body[3] is small.body[5]
    assert isinstance(small.body[5], LowRankLinear)


class Scaled(nn.Linear):
    """Linear with something of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def own_layer():
    body = nn.Sequential(nn.Flatten(), Scaled(64, 20), nn.ReLU(), nn.Linear(20, 10))
    return Net(body, (0.3,), (0.4,), hidden_of(body))


@pytest.mark.parametrize(
    ("net", "ratio", "method", "words"),
    [
        (small_net, 0.0, "svd", r"ratio must lie in \(0, 1\), got 0"),
        (small_net, 1.0, "svd", "ratio must lie in"),
        (small_net, 0.5, "qr", "method must be one of svd, tucker, tt, cp, got 'qr'"),
        (lambda: mask_weights(small_net(), 0.5, "magnitude", 0), 0.5, "tt", "before its weights are masked"),
        (lambda: quantize(small_net(), 8, [DATA.train.x]), 0.5, "tt", "before its weights are masked or quantized"),
        (lambda: factorize(small_net(), 2, 0), 0.5, "svd", "a layer of type LowRankConv2d"),
        (lambda: decompose(small_net(), 0.5, "tt", 0)[0], 0.5, "tt", "a layer of type FactoredConv2d"),
        (own_layer, 0.5, "svd", "cannot factorize 1, a layer of type Scaled: Linear and Conv2d alone"),
    ],
)
def test_what_cannot_be_factorized_is_refused(net, ratio, method, words):
    with pytest.raises(ValueError, match=words):
        decompose(net(), ratio, method, 0)
