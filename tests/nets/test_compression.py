"""Compression: rows really removed, masks that stay on, levels known on paper, gradients that reach the input."""

import contextlib

import pytest
import torch
from torch import nn

from study.attacks.certificate import margins
from study.attacks.pgd import pgd
from study.nets import masks
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.prune import keep_rows
from study.nets.compression.quantize import InputQuantizer, WeightQuantizer, bits_of, quantize
from study.nets.compression.remove import remove_rows
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Load, Train
from study.trial import train as training
from study.trial.train import evaluate

DATA = load(Load(train_size=300, test_size=60), 0)
IMAGES = DATA.train.x.split(100)


def new_net(rank=0, width=20, depth=3):
    net = build(Build(width=width, depth=depth), DATA.shape, 10, (DATA.mean, DATA.std), 0)
    return factorize(net, rank, 0) if rank else net


def biased(activation=nn.ReLU):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), activation(), nn.Linear(9, 7), activation(), nn.Linear(7, 10))
    return Net(body, (0.3,), (0.4,), ("1", "3"))


def train(net, **config):
    config = Train(**({"epochs": 2} | config))
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 1, progress):
        pass
    return net


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("make", [new_net, lambda: new_net(rank=4), biased])
def test_a_net_without_rows_computes_what_the_net_with_zeroed_rows_does(make, ratio):
    net = make()
    small, zeroed = remove_rows(net, ratio), keep_rows(net, 1 - ratio)
    torch.testing.assert_close(small(DATA.test.x), zeroed(DATA.test.x), atol=1e-6, rtol=0)
    for before, after in zip(nets.layers(net).values(), nets.layers(small).values(), strict=True):
        assert nets.matrix(after).shape[0] == max(1, round((1 - ratio) * nets.matrix(before).shape[0]))


def test_removed_rows_are_gone_and_the_argument_stays():
    net = new_net()
    small = remove_rows(net, 0.5)
    assert sum(p.numel() for p in small.parameters()) == 64 * 10 + 2 * 10 * 10 + 10 * 10
    assert sum(p.numel() for p in net.parameters()) == 64 * 20 + 2 * 20 * 20 + 20 * 10
    train(small)
    low_rank = remove_rows(new_net(rank=4), 0.5)
    assert sum(p.numel() for p in low_rank.parameters()) == 4 * (64 + 10) + 2 * 4 * (10 + 10) + 10 * 10


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda: biased(nn.Sigmoid), "chain of linear layers"),
        (lambda: build(Build(model="resnet18"), DATA.shape, 10, (DATA.mean, DATA.std), 0), "chain of linear layers"),
        (lambda: mask_weights(new_net(), 0.5, "magnitude", 0), "before the weights are masked"),
        (lambda: quantize(new_net(), 8, IMAGES), "masked or quantized"),
    ],
)
def test_rows_that_cannot_be_removed_are_refused(net, words):
    with pytest.raises(ValueError, match=words):
        remove_rows(net(), 0.5)


@pytest.mark.parametrize("keep", [0.05, 0.37, 1.0])
@pytest.mark.parametrize("rank", [0, 4])
def test_magnitude_masks_keep_the_exact_share_of_the_largest_weights(keep, rank):
    net = new_net(rank)
    out = mask_weights(net, keep, "magnitude", 0)
    assert len(out.masks) == (6 if rank else 3)
    before, after = masks.hidden_weights(net), masks.hidden_weights(out)
    for name, W in before.items():
        k = round(keep * W.numel())
        assert after[name].count_nonzero() == k
        assert torch.equal(after[name].flatten().abs().sort().values[-k:], W.flatten().abs().sort().values[-k:])
    assert torch.equal(nets.matrix(nets.head(out)), nets.matrix(nets.head(net)))


def test_of_equal_weights_the_first_are_kept():
    net = new_net(width=10, depth=1)
    with torch.no_grad():
        net.body.layer1.weight.fill_(-0.5)
    mask = mask_weights(net, 0.1, "magnitude", 0).masks["layer1.weight"].flatten()
    assert torch.equal(mask, (torch.arange(640) < 64).float())


def test_bernoulli_masks_are_drawn_from_the_seed_entry_by_entry():
    net = new_net(width=100)
    one, again, other = (mask_weights(net, 0.3, "bernoulli", seed).masks for seed in (1, 1, 2))
    for name, mask in one.items():
        assert torch.equal(mask, again[name])
        assert not torch.equal(mask, other[name])
        n = mask.numel()
        assert abs(float(mask.mean()) - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5
    assert not torch.equal(one["layer2.weight"], one["layer3.weight"]), "one mask for two layers breaks the theory"


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("how", [{}, {"frobenius": 1.0, "penalty": "group_lasso", "alpha": 0.01}])
def test_a_mask_stays_on_while_the_net_learns(rank, how):
    net = mask_weights(new_net(rank), 0.3, "magnitude", 0)
    before = {name: W.detach().clone() for name, W in masks.hidden_weights(net).items()}
    train(net, learning_rate=0.01, **how)
    for name, W in masks.hidden_weights(net).items():
        assert torch.equal(W != 0, net.masks[name] == 1)
        assert not torch.equal(W, before[name])


@pytest.mark.parametrize(
    ("keep", "kind", "words"),
    [(0.0, "magnitude", "keep must be in"), ((0.5, 0.5), "magnitude", "3 weight"), (0.5, "l0", "kind must be")],
)
def test_bad_masks_are_refused(keep, kind, words):
    with pytest.raises(ValueError, match=words):
        mask_weights(new_net(), keep, kind, 0)
    with pytest.raises(ValueError, match="once"):
        mask_weights(mask_weights(new_net(), 0.5, "magnitude", 0), 0.5, "magnitude", 0)


def test_two_bits_are_four_levels_and_one_bit_is_a_sign():
    W = torch.tensor([-1.0, -0.6, 0.0, 0.3, 0.99, 1.0])
    third = 2 / 3
    assert WeightQuantizer(2)(W).tolist() == pytest.approx([-2 * third, -third, 0, 0, third, third])
    mean = (1 + 0.6 + 0.3 + 0.99 + 1) / 5
    assert WeightQuantizer(1)(W).tolist() == pytest.approx([-mean, -mean, 0, mean, mean, mean])


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_no_weight_moves_by_more_than_half_a_level(bits):
    W = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    W[:, ::3] = 0.0
    moved = WeightQuantizer(bits)(W)
    scale = W.abs().max() / ((2**bits - 1) / 2)
    assert len(moved.unique()) <= 2**bits
    assert (moved - W).abs().max() <= scale / 2 * (1 + 1e-5)
    assert (moved[:, ::3] == 0).all()


@pytest.mark.parametrize("bits", [16, 8, 4, 2, 1])
def test_activations_are_rounded_inside_their_range_and_gradients_pass_there_alone(bits):
    layer = InputQuantizer(bits, 0.0, 3.0)
    x = torch.linspace(-1.0, 5.0, 400_001).requires_grad_(True)
    out = layer(x)
    step = 3.0 / (2**bits - 1)
    assert len(out.unique()) == 2**bits
    assert (float(out.min()), float(out.max())) == pytest.approx((0.0, 3.0))
    inside = (x >= 0) & (x <= 3)
    assert (out - x)[inside].abs().max() <= step / 2 + 1e-5
    out.sum().backward()
    assert (x.grad[inside] == 1).all()
    assert (x.grad[(x < -step / 2 - 1e-3) | (x > 3 + step / 2 + 1e-3)] == 0).all()
    lopsided = InputQuantizer(bits, -0.7, 2.0)(torch.tensor([0.0, -5.0]))
    assert lopsided[0] == 0, "zero is a level"


@pytest.mark.parametrize("rank", [0, 6])
def test_eight_bits_change_little_and_gradients_reach_the_image(rank):
    net = train(new_net(rank, width=40), epochs=12)
    small = quantize(net, 8, IMAGES)
    assert abs(evaluate(small, DATA.test)[0] - evaluate(net, DATA.test)[0]) < 0.05
    points = [DATA.test.x.clone().requires_grad_(True) for _ in range(2)]
    slopes = [
        torch.autograd.grad(nn.functional.cross_entropy(m(p), DATA.test.y, reduction="sum"), p)[0].flatten(1)
        for m, p in zip((net, small), points, strict=True)
    ]
    assert (nn.functional.cosine_similarity(*slopes) > 0.8).double().mean() > 0.9
    robust = [
        float(
            pgd(m, DATA.test.x, DATA.test.y, 0.1, "linf", iterations=10, generator=torch.Generator().manual_seed(0))
            .robust.double()
            .mean()
        )
        for m in (net, small)
    ]
    assert abs(robust[0] - robust[1]) < 0.15


@pytest.mark.parametrize("bits", [4, 2, 1])
@pytest.mark.parametrize("rank", [0, 6])
def test_levels_and_masks_survive_training(bits, rank):
    net = quantize(mask_weights(train(new_net(rank)), 0.5, "magnitude", 0), bits, IMAGES)
    before = {name: W.detach().clone() for name, W in masks.hidden_weights(net).items()}
    first = evaluate(net, DATA.train)[1]
    train(net, epochs=4)
    assert evaluate(net, DATA.train)[1] < first
    for layer in nets.weighted(net).values():
        assert bits_of(layer) == bits
        for name in masks.stored(layer):
            assert len(getattr(layer, name).unique()) <= max(3, 2**bits), "one bit and the mask's zero are three"
    for name, W in masks.hidden_weights(net).items():
        assert not torch.equal(W, before[name])
        assert (W[net.masks[name] == 0] == 0).all()


def test_one_bit_does_not_silence_the_net():
    net = train(new_net(width=60), epochs=15)
    assert evaluate(quantize(net, 1, IMAGES), DATA.test)[0] > 0.3


def test_what_a_quantized_net_cannot_be_given_is_refused():
    small = quantize(new_net(), 4, IMAGES)
    with pytest.raises(ValueError, match="quantized already"):
        quantize(small, 4, IMAGES)
    with pytest.raises(ValueError, match="bits must be one of 16, 8, 4, 2, 1"):
        quantize(new_net(), 3, IMAGES)
    with pytest.raises(TypeError, match="quantized layer cannot be changed"):
        keep_rows(small, 0.5)
    with pytest.raises(TypeError, match="certificate"):
        margins(small, DATA.test.x, DATA.test.y, 0.1, "linf")
    assert nets.chain(small) is None


def test_convolutions_can_be_masked_and_quantized():
    net = build(Build(model="resnet18"), DATA.shape, 10, (DATA.mean, DATA.std), 0)
    small = quantize(mask_weights(net, 0.5, "magnitude", 0), 4, [DATA.train.x[:8]])
    assert small.eval()(DATA.test.x[:2]).shape == (2, 10)
    assert {bits_of(layer) for layer in nets.weighted(small).values()} == {4}


@pytest.mark.parametrize("bits", [4, 1])
def test_an_attack_computes_compressed_weights_once_and_finds_the_same(bits, monkeypatch):
    small = quantize(mask_weights(train(new_net()), 0.5, "magnitude", 0), bits, IMAGES)
    plain, calls = WeightQuantizer.forward, []
    monkeypatch.setattr(WeightQuantizer, "forward", lambda self, W: calls.append(self) or plain(self, W))

    def attacked():
        calls.clear()
        return pgd(small, DATA.test.x, DATA.test.y, 0.1, "linf", iterations=10,
                   generator=torch.Generator().manual_seed(0))  # fmt: skip

    once = attacked()
    assert len(calls) == len(nets.weighted(small)), "once a layer"
    monkeypatch.setattr("study.attacks.ball.parametrize.cached", contextlib.nullcontext)
    anew = attacked()
    assert len(calls) > 10 * len(nets.weighted(small))
    assert torch.equal(once.worst, anew.worst)
    assert torch.equal(once.robust, anew.robust)
    before = small(DATA.test.x)
    train(small, epochs=1)
    assert not torch.equal(small(DATA.test.x), before), "what was computed once is not kept"
