"""Quantization against integers: the same levels bit for bit, the same layers to 1e-5; ranges that training moves."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from study.nets import masks
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import (
    MOMENTUM,
    InputQuantizer,
    MovingQuantizer,
    WeightQuantizer,
    close,
    quantize,
    scales_of,
)
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Load, Train
from study.trial import train as training
from study.trial.train import evaluate

DATA = load(Load(train_size=300, test_size=100), 0)
IMAGES = DATA.train.x.split(100)
KINDS = ["tensor", "channel"]


def new_net(model="fcn", **how):
    if model == "conv":
        return conv_net()
    how = {"width": 20, "depth": 3} | how
    return build(Build(model=model, **how), DATA.shape, 10, (DATA.mean, DATA.std), 0)


def conv_net():
    """Convolutions with a stride, groups and BatchNorm, and a head with a bias, on images of 8 x 8."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    return Net(body, DATA.mean, DATA.std, ("3",))


def train(net, **config):
    config = Train(**({"epochs": 12, "learning_rate": 0.01} | config))
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 1, progress):
        pass
    return [value for _, name, value in progress.curves if name == "train_loss"]


def odd_matrices():
    """Random weights, and what rounding is most likely to get wrong: zeros, constant rows, ties, extremes of size."""
    g = torch.Generator().manual_seed(0)
    plain = torch.randn(12, 30, generator=g)
    rows = plain.clone()
    rows[0], rows[3], rows[5], rows[7, ::2] = 0.0, 0.25, -1.5, 0.0
    ties = torch.arange(-8.0, 8.0).repeat(2, 1) + 0.5
    return [plain, rows, torch.zeros(4, 5), ties, 1e-30 * plain, 1e30 * plain, torch.randn(6, 3, 3, 3, generator=g)]


def integers_of_weights(W, bits, kind):
    """The levels of W as whole numbers, and the scales: all in NumPy, one row after the other."""
    rows = W.reshape(len(W), -1).numpy()
    shared = np.abs(rows).max()
    levels, scales = np.zeros(rows.shape, np.int64), np.zeros(len(rows), np.float32)
    for i, row in enumerate(rows):
        most = np.abs(row).max() if kind == "channel" else shared
        scales[i] = max(np.float32(most) / np.float32(2 ** (bits - 1) - 0.5), np.finfo(np.float32).tiny)
        half = 2 ** (bits - 1)
        levels[i] = np.clip(np.rint(row * (np.float32(1) / scales[i])), -half, half - 1).astype(np.int64)
    return levels, scales


def integers_of_inputs(x, quantizer):
    scale = np.float32(quantizer.scale)
    with np.errstate(over="ignore"):
        whole = np.rint(x.numpy() * (np.float32(1) / scale)).astype(np.float64) + quantizer.zero
    return np.clip(whole, 0, quantizer.top).astype(np.int64), scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [16, 8, 4, 2])
def test_weights_are_those_of_integers_bit_for_bit(bits, kind):
    for W in odd_matrices():
        levels, scales = integers_of_weights(W, bits, kind)
        twin = torch.from_numpy(levels.astype(np.float32) * scales[:, None]).view_as(W)
        found = WeightQuantizer(bits, kind)(W)
        assert torch.equal(found, twin)
        assert len(set(levels.flatten().tolist())) <= 2**bits
        assert torch.equal(found[W == 0], torch.zeros(int((W == 0).sum()))), "zero stays zero"


@pytest.mark.parametrize("bits", [16, 8, 4, 2, 1])
@pytest.mark.parametrize("limits", [(0.0, 3.0), (-0.7, 2.0), (-1.0, 0.0), (0.0, 0.0), (0.0, 1e-42)])
def test_activations_are_those_of_integers_bit_for_bit(bits, limits, monkeypatch):
    quantizer = InputQuantizer(bits, *limits)
    g = torch.Generator().manual_seed(1)
    ties = (torch.arange(-4.0, 4.0) + 0.5) * np.float32(quantizer.scale)
    x = torch.cat([2 * torch.randn(400, generator=g), ties, torch.zeros(1), torch.tensor([*limits])])
    levels, scale = integers_of_inputs(x, quantizer)
    twin = torch.from_numpy((levels - quantizer.zero).astype(np.float32) * scale)
    assert torch.equal(quantizer(x), twin)
    assert quantizer(torch.zeros(1)) == 0
    monkeypatch.setattr("torch.compiler.is_exporting", lambda: True)
    assert torch.equal(quantizer(x), twin), "basic operators round ties alike"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [16, 8, 4, 2])
def test_layers_compute_what_integers_do(bits, kind):
    """Products and sums of whole numbers, exact, scaled once at the end; to 1e-5 of the largest output."""
    net = quantize(new_net("conv"), bits, IMAGES, kind)
    dense = quantize(new_net(), bits, IMAGES, kind)
    seen = {}
    for whole in (net, dense):
        for layer in list(nets.weighted(whole).values())[1:]:
            layer.register_forward_hook(lambda layer, given, out: seen.update({layer: (given[0], out)}))
        with torch.no_grad():
            whole.eval()(DATA.test.x)
    assert len(seen) == 2 + 3
    for layer, (given, out) in seen.items():
        quantizer = layer.input_quantizer
        x, scale = integers_of_inputs(given, quantizer)  # given is rounded already, and rounding twice is once
        x = torch.from_numpy(x - quantizer.zero).double()
        W = masks.stored(layer)["weight"].detach()
        levels, scales = integers_of_weights(W, bits, kind)
        W = torch.from_numpy(levels).view(W.shape).double()  # whole numbers below 2^53: float64 holds each sum exactly
        conv = isinstance(layer, nn.Conv2d)
        whole = conv2d(x, W, None, layer.stride, layer.padding, groups=layer.groups) if conv else linear(x, W)
        assert torch.equal(whole, whole.round())
        each = torch.from_numpy(scales * scale).double().view(-1, *[1] * (out.ndim - 2))
        twin = whole * each + (0 if layer.bias is None else layer.bias.detach())
        assert (out - twin).abs().max() <= 1e-5 * twin.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bits_change_no_prediction_that_is_not_a_tie(kind):
    for net in (new_net(), new_net("conv")):
        train(net)
        fine = quantize(net, 16, IMAGES, kind)
        with torch.no_grad():
            before, after = net.eval()(DATA.train.x), fine.eval()(DATA.train.x)
        best = before.topk(2, dim=1).values
        clear = best[:, 0] - best[:, 1] > 1e-3
        assert clear.double().mean() > 0.9
        assert torch.equal(before.argmax(1)[clear], after.argmax(1)[clear])
        assert not torch.equal(before, after), "it does round"


def test_a_channel_of_small_weights_keeps_levels_of_its_own():
    W = torch.tensor([[100.0, -50.0], [0.01, -0.005]])
    assert (WeightQuantizer(4)(W)[1] == 0).all()
    fine = WeightQuantizer(4, "channel")(W)
    assert (fine - W).abs().max(1).values.tolist() == pytest.approx([100 / 15, 0.01 / 15], rel=1e-3)


def test_one_bit_is_two_levels_or_as_printed_one():
    W = torch.tensor([[1.0, -3.0, 2.0], [-0.5, 0.5, 0.25], [0.0, 0.0, 0.0]])
    assert WeightQuantizer(1)(W[:2]).unique().tolist() == pytest.approx([-7.25 / 6, 7.25 / 6])
    rows = WeightQuantizer(1, "channel")(W)
    assert rows.tolist() == [[2.0, -2.0, 2.0], pytest.approx([-1.25 / 3, 1.25 / 3, 1.25 / 3]), [0.0, 0.0, 0.0]]
    printed = WeightQuantizer(1, one_bit="as_printed")
    # paper C, section 3.2, with alpha = -beta: s = 2 beta / (2^1 - 1), and |r / s| <= 1/2 is rounded to the even 0
    assert torch.equal((W.double() / (2 * W.abs().max())).round().abs(), torch.zeros(3, 3).double())
    assert printed(W).unique().tolist() == [0.0]
    W.requires_grad_(True)
    (slope,) = torch.autograd.grad((printed(W) * 2).sum(), W)
    assert (slope == 2).all()
    net = quantize(new_net(), 1, IMAGES, one_bit="as_printed")
    assert (net(DATA.test.x) == 0).all(), "no bias, and all weights at the one level"
    assert [m.range()[1] for m in net.modules() if isinstance(m, InputQuantizer)] == [1.0, 1.0, 1.0]


def test_activations_are_quantized_where_their_rounding_alone_matters():
    """Weights of -1 and 1 are levels of one bit: all that moves the outputs is the rounding of activations."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.ReLU(), nn.Linear(16, 10, bias=False))
    net = Net(body, (0.0,), (1.0,), ("1",))
    with torch.no_grad():
        for layer in nets.weighted(net).values():
            layer.weight.copy_(layer.weight.sign())
    rough = quantize(net, 1, IMAGES)
    for mine, theirs in zip(nets.weighted(rough).values(), nets.weighted(net).values(), strict=True):
        assert torch.equal(mine.weight, theirs.weight)
    hidden = net.body[:3](DATA.test.x)
    level = torch.cat([net.body[:3](x) for x in IMAGES])
    level = float((level.sum() / level.count_nonzero()).detach())
    expected = linear((hidden > level / 2).float() * level, net.body[3].weight)
    torch.testing.assert_close(rough(DATA.test.x), expected)
    assert not torch.allclose(rough(DATA.test.x), net(DATA.test.x), atol=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_ranks_and_attention_go_with_scales_per_row(kind):
    net = quantize(mask_weights(factorize(new_net(), 4, 0), 0.5, "magnitude", 0), 4, IMAGES, kind)
    assert [scales_of(layer) for layer in nets.weighted(net).values()] == (
        [4 + 20] * 3 + [10] if kind == "channel" else [2] * 3 + [1]
    )
    train(net, epochs=2)
    for name, mask in net.masks.items():
        layer, part = name.rsplit(".", 1)
        assert (getattr(net.body.get_submodule(layer), part)[mask == 0] == 0).all()
    vit = quantize(new_net("vit", width=32, depth=1, patch_size=16), 4, [DATA.train.x[:8]], kind, aware=True)
    assert vit.eval()(DATA.test.x[:3]).isfinite().all()


@pytest.mark.parametrize(
    ("model", "bits", "kind"), [("fcn", 4, "channel"), ("conv", 8, "tensor"), ("fcn", 1, "tensor")]
)
def test_training_that_knows_of_the_levels_learns_and_its_state_restores(model, bits, kind):
    net = quantize(new_net(model), bits, IMAGES, kind, aware=True)
    before = [m.range() for m in net.modules() if isinstance(m, MovingQuantizer)]
    losses = train(net, frobenius=1.0, epochs=40 if bits == 1 else 12)
    assert losses[-1] < 0.8 * losses[0]
    assert [m.range() for m in net.modules() if isinstance(m, MovingQuantizer)] != before
    for layer in nets.weighted(net).values():
        levels = [len(row.unique()) for row in (layer.weight if kind == "channel" else layer.weight[None])]
        assert max(levels) <= 2**bits
    fresh = quantize(new_net(model), bits, [DATA.test.x[:5]], kind, aware=True)
    assert not torch.equal(fresh.eval()(DATA.test.x), net.eval()(DATA.test.x))
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(DATA.test.x), net(DATA.test.x))
    assert torch.equal(copy.deepcopy(net).double().float()(DATA.test.x), net(DATA.test.x))


def test_a_norm_is_held_while_the_net_trains_on_levels():
    for rank in (0, 4):
        net = new_net()
        net = quantize(factorize(net, rank, 0) if rank else net, 4, IMAGES, aware=True)
        norms = [nets.frobenius(layer) for layer in nets.layers(net).values()]
        train(net, epochs=2, frobenius=2.0)
        assert [nets.frobenius(layer) for layer in nets.layers(net).values()] == pytest.approx(
            [2 * n for n in norms], rel=2e-3
        ), "the largest weight lies between two levels: rounding decides which"


def test_ranges_move_in_training_alone_and_not_once_closed():
    quantizer = MovingQuantizer(4, -1.0, 2.0)
    x = torch.tensor([[-3.0, 0.0, 12.0]])
    quantizer.eval()(x)
    assert quantizer.range() == pytest.approx((-1.0, 2.0))
    quantizer.train()(x)
    moved = (-1 - MOMENTUM * 2, 2 + MOMENTUM * 10)
    assert (float(quantizer.low), float(quantizer.high)) == pytest.approx(moved)
    assert quantizer.scale == pytest.approx((moved[1] - moved[0]) / 15)
    for sick in (torch.nan, torch.inf):
        quantizer(torch.tensor([[sick, 1.0]]))
    assert (float(quantizer.low), float(quantizer.high)) == pytest.approx(moved)
    net = quantize(new_net(), 8, IMAGES, aware=True)
    train(net, epochs=1)
    close(net)
    before = {name: value.clone() for name, value in net.state_dict().items() if name.endswith(("low", "high"))}
    assert len(before) == 6
    train(net, epochs=1)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("how", [{"granularity": "row"}, {"one_bit": "median"}])
def test_words_that_are_not_known_are_refused(how):
    with pytest.raises(ValueError, match="must be one of"):
        quantize(new_net(), 4, IMAGES, **how)


def test_awareness_starts_where_calibration_does_and_leaves_the_net_alone():
    net = new_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    aware, after = quantize(net, 4, IMAGES, aware=True), quantize(net, 4, IMAGES)
    torch.testing.assert_close(aware.eval()(DATA.test.x), after.eval()(DATA.test.x))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert evaluate(aware, DATA.test)[1] == pytest.approx(evaluate(after, DATA.test)[1])
