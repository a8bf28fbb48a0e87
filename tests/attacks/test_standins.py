"""Nets of few levels: what is climbed in their place, and that it finds what their own gradient misses."""

import copy

import pytest
import torch

from study.attacks import losses, standins
from study.attacks.apgd import apgd
from study.attacks.pgd import pgd
from study.attacks.square import square
from study.nets.compression.quantize import InputQuantizer, MovingQuantizer, quantize
from tests.attack_cases import digits, stream


def quantized(bits, **how):
    net, x, y = digits()
    return quantize(net, bits, [x], **how).eval(), x, y


@pytest.mark.parametrize("how", [{}, {"granularity": "channel"}, {"aware": True}])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_leaky_one_is_the_net_itself_and_the_net_is_left_alone(bits, how):
    net, x, _ = quantized(bits, **how)
    before = copy.deepcopy(net.state_dict())
    leaky, unrounded, dithered = standins.of(net)
    assert (leaky.trust, unrounded.trust, dithered.trust) == ("all", "none", "none")
    assert torch.equal(leaky.net(x), net(x))
    assert not torch.equal(unrounded.net(x), net(x))
    assert not torch.equal(dithered.net(x), net(x))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    kinds = {type(m.input_quantizer) for m in net.modules() if hasattr(m, "input_quantizer")}
    assert kinds == {MovingQuantizer if how.get("aware") else InputQuantizer}


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_an_attack_moves_no_range_even_of_a_net_in_training_mode(bits):
    net, x, y = quantized(bits, granularity="channel", aware=True)
    before = copy.deepcopy(net.state_dict())
    assert len([name for name in before if name.endswith((".low", ".high"))]) == 2 * 2
    masks = [
        apgd(m, x, y, 0.06, "linf", iterations=10, generator=stream()).robust
        for m in (net.train(), quantized(bits, granularity="channel")[0])
    ]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert int((masks[0] ^ masks[1]).sum()) <= 1, "where training moved nothing the levels are those of calibration"
    assert 0.05 < float(masks[0].double().mean()) < 0.95


def test_a_quantizer_leaks_beyond_its_levels_and_a_clip_does_not_round():
    quantizer = InputQuantizer(2, 0.0, 3.0)  # levels 0, 1, 2, 3
    x = torch.tensor([-1.0, 0.4, 2.6, 5.0], requires_grad=True)
    out = standins._LeakyQuantizer(quantizer)(x)
    assert out.tolist() == [0, 0, 3, 3]
    (gradient,) = torch.autograd.grad(out.sum(), x)
    leak = standins.LEAK
    assert torch.allclose(gradient, torch.tensor([leak, 1.0, 1.0, leak]))
    assert torch.allclose(standins._Clip(quantizer)(x), torch.tensor([0, 0.4, 2.6, 3]))


def test_dithering_makes_a_straight_line_of_the_staircase():
    """The mean of Q(x + U) over U uniform in one step is x between the levels (non-subtractive dither)."""
    quantizer = InputQuantizer(2, 0.0, 3.0)
    x = torch.tensor([[-2.0, 0.1, 0.4, 1.5, 2.95, 7.0]])
    dithered = standins._DitheredQuantizer(quantizer)
    mean = torch.stack([dithered(x) for _ in range(4000)]).mean(0)
    assert torch.allclose(mean, torch.tensor([[0, 0.1, 0.4, 1.5, 2.95, 3]]), atol=0.03)  # deviation .008


def test_the_noise_of_a_pass_is_the_same_for_every_image_and_begins_anew():
    net, x, _ = quantized(2)
    dithered = standins.of(net)[2].net
    first, second = dithered(x), dithered(x)
    assert not torch.allclose(first, second)
    standins.rewind(dithered)
    assert torch.allclose(dithered(x[7:8]), first[7:8], atol=1e-4)
    layers = [m for m in dithered.modules() if isinstance(m, standins._DitheredQuantizer)]
    a, b = (layer(torch.full((1, 500), layer.quantizer.scale / 2)) for layer in layers[:2])
    assert not torch.equal(a > 0, b > 0), "layers have noise of their own"


def test_the_batch_is_of_no_account_on_few_levels():
    net, x, y = quantized(2)
    masks = [
        apgd(net, x, y, 0.06, "linf", iterations=10, batch_size=size, generator=stream()).robust
        for size in (len(x), 17, 50)
    ]
    assert all(int((mask ^ masks[0]).sum()) <= 2 for mask in masks)  # sums round otherwise in another batch


def test_only_few_levels_need_stand_ins():
    net, _, _ = digits()
    assert standins.of(net) == ()
    assert all(standins.of(quantized(bits, aware=aware)[0]) == () for bits in (16, 8) for aware in (False, True))
    assert all(len(standins.of(quantized(bits)[0])) == 3 for bits in (4, 2, 1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_a_stand_in_finds_is_judged_by_the_net(norm):
    """An unrounded net sees adversarial points that the real one does not mind: they count for nothing."""
    net, x, y = quantized(2)
    eps = 0.06 if norm == "linf" else 0.4
    found = apgd(net, x, y, eps, norm, iterations=10, generator=stream())
    assert torch.equal(net(found.first).argmax(1) == y, found.robust)
    assert 0.05 < float(found.robust.double().mean()) < 0.95
    # survivors: the clean point; six climbs on the leaky net; twelve on the others, each point looked at twice
    assert set(found.forward[found.robust].tolist()) == {1 + 6 * 11 + 12 * 2 * 11}
    worst = apgd(net, x, y, eps, norm, iterations=10, goal="loss", generator=stream())
    loss = torch.nn.functional.cross_entropy(net(worst.worst), y, reduction="none")
    assert torch.allclose(loss, worst.loss, atol=1e-4)
    assert set(worst.forward.tolist()) == {1 + 11 + 2 * 2 * 11}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_nets_of_few_levels_may_be_of_any_precision(dtype):
    net, x, y = quantized(2)
    other = copy.deepcopy(net).to(dtype)
    found = apgd(other, x, y, 0.06, "linf", iterations=5, generator=stream())
    single = apgd(net, x, y, 0.06, "linf", iterations=5, generator=stream())
    assert abs(int(found.robust.sum()) - int(single.robust.sum())) <= 12  # rounding parts the paths


def test_few_levels_do_not_hide_from_the_default_attack():
    """Targeted DLR with nine targets and Square after it gain at most 4 points in the mean of four cells (120 images);
    one climb along the straight-through gradient leaves more of them in each."""
    gains = []
    for bits in (1, 2):
        net, x, y = quantized(bits)
        for norm, eps in (("linf", 0.06), ("l2", 0.4)):
            found = apgd(net, x, y, eps, norm, iterations=20, generator=stream())
            aimed = apgd(net, x, y, eps, norm, iterations=20, targets=9, generator=stream(1)).robust
            asked = square(net, x, y, eps, norm, queries=300, generator=stream(2)).robust
            share = float(found.robust.double().mean())
            gains.append(share - float((found.robust & aimed & asked).double().mean()))
            assert share < _straight_through(net, x, y, eps, norm)
    assert sum(gains) / len(gains) <= 0.04
    assert max(gains) <= 0.06


def _straight_through(net, x, y, eps, norm):
    """Robust accuracy by one climb on the net's own gradient: what AutoPGD was before."""
    hidden = torch.nn.Sequential()
    hidden.forward = net.forward  # no module inside shows its quantizers
    return float(apgd(hidden, x, y, eps, norm, iterations=20, generator=stream()).robust.double().mean())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_scale_of_the_logits_is_of_no_account(norm):
    net, x, y = digits()

    class Scaled(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, points):
            return self.factor * net(points)

    eps = 0.1 if norm == "linf" else 0.6
    masks = [
        apgd(Scaled(c), x, y, eps, norm, iterations=20, loss=loss, generator=stream()).robust
        for loss in ("ce", "dlr")
        for c in (1.0, 1e-4, 1e-2, 1e2, 1e4)
    ]
    for own in (masks[:5], masks[5:]):
        assert 0.1 < float(own[0].double().mean()) < 0.9
        assert all(int((mask ^ own[0]).sum()) <= 1 for mask in own)


@pytest.mark.parametrize("attack", [apgd, pgd])
@pytest.mark.parametrize("value", [-1e4, -1e9, -torch.inf])
def test_a_class_that_is_switched_off_does_not_hide_the_others(attack, value):
    net, x, y = digits()

    class Padded(torch.nn.Module):
        def forward(self, points):
            return torch.nn.functional.pad(net(points), (0, 1), value=value)

    alone, padded = (attack(m, x, y, 0.1, "linf", iterations=20, generator=stream()).robust for m in (net, Padded()))
    assert abs(int(alone.sum()) - int(padded.sum())) <= 2


@pytest.mark.parametrize("loss", ["dlr", "margin"])
def test_two_classes_are_free_of_the_scale_too(loss):
    net, x, y = digits()

    class Halves(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, points):
            logits = net(points)
            return self.factor * torch.stack([logits[:, :5].logsumexp(1), logits[:, 5:].logsumexp(1)], 1)

    masks = [
        apgd(Halves(c), x, (y >= 5).long(), 0.4, "l2", iterations=20, loss=loss, generator=stream()).robust
        for c in (1.0, 2.0**-20, 2.0**20)
    ]
    assert 0.1 < float(masks[0].double().mean()) < 0.95
    assert all(torch.equal(mask, masks[0]) for mask in masks)


def test_the_margin_of_the_clean_point_sets_the_temperature():
    from study.attacks import ball

    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1e-4, -5e-5], [2.0, 2.0, 2.0], [7.0, 7.0, -3.0]])
    found = ball.temperature(logits, 5.0)
    assert torch.allclose(found, torch.tensor([0.4, 2e-5, 1.0, 0.002]))
    assert torch.allclose(ball.temperature(1e4 * logits, 5.0)[[0, 1, 3]], 1e4 * found[[0, 1, 3]])
    value = losses.log_odds(logits[:1] / found[0], torch.tensor([0]))
    assert torch.allclose(value, torch.tensor([torch.logsumexp(torch.tensor([-5.0, -7.5]), 0)]))
