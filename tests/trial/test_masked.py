"""Masks and their bounds in a trial (paper B), on a net and images whose every norm is a round number."""

import math

import pytest
import torch
from torch import nn

from study.nets.compression import mask, scores
from study.nets.net import Net
from study.nets.splits import Dataset, Split
from study.spec.config import Prune, Risk
from study.trial import masked
from study.trial.measures.risk import risk
from study.trial.state import State

MEAN, STD = 0.3, 0.4


def chain(first=1.0, head=1.0):
    """W_1 = first (I_4 | 0) and W_2 = head (I_4 | 0)^T, ReLU between: ||W||_F is twice ||W||_2."""
    layers = nn.Linear(64, 4, bias=False), nn.Linear(4, 10, bias=False)
    with torch.no_grad():
        for layer, scale in zip(layers, (first, head), strict=True):
            layer.weight.copy_(scale * torch.eye(*layer.weight.shape))
    return Net(nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1]), (MEAN,), (STD,), ("1",))


def state_of(net, x, y=None):
    split = Split(pixels=x, y=torch.zeros(len(x), dtype=torch.int64) if y is None else y)
    none = Split(pixels=x[:0], y=split.y[:0])
    data = Dataset(name="made", train=split, validation=none, test=split, classes=10, mean=(MEAN,), std=(STD,))
    return State(seed=0, data=data, net=net)


def two_images():
    """Of 64 pixels, normalised of norm 8 and 4, the mean 6; not normalised 4.8."""
    return torch.cat([torch.full((1, 1, 8, 8), MEAN + STD), torch.full((1, 1, 8, 8), MEAN + STD / 2)])


def after(state, config):
    for _ in masked.masked(state, config):
        pass
    return [r["value"] for r in state.history if r["measure"] == "said_keep_prob"]


def test_the_printed_trade_off_is_given_the_mean_norm_of_normalised_images():
    """Of two layers with A = 4 and C b = 2 E||x|| the algorithm's one inner fixed point is
    sqrt(1 - p) = (1 - lam) C b / (lam A): a third at lam = .9 and E||x|| = 6."""
    said = after(state_of(chain(), two_images()), Prune(lam=0.9, rule="printed", on="all"))
    assert said == pytest.approx([8 / 9, 8 / 9], abs=1e-4)


@pytest.mark.parametrize(("lam", "kept"), [(0.82, [1.0, 1.0]), (0.9, [0.25, 1.0]), (0.92, [0.25, 0.25])])
def test_the_exact_trade_off_is_given_the_mean_norm_of_normalised_images(lam, kept):
    """A = 4, a layer at the floor 1/4 costs zeta 6 * 2 sqrt(3/4) = 10.39 and halves gamma: one is there from
    2 lam = 10.39 (1 - lam) on, lam = .839, both from lam = 10.39 (1 - lam), .912; with a norm of 4.8 at .806, .893."""
    said = after(state_of(chain(), two_images()), Prune(lam=lam, rule="exact", floor=0.25, on="all"))
    assert sorted(said) == kept


@pytest.mark.parametrize(("images", "times"), [(2000, {1}), (500, {4}), (5000, {0, 1})])
def test_taylor_scores_are_of_twenty_batches_of_a_hundred_training_images(images, times, monkeypatch):
    """Paper B, appendix I: averaged over 20 batches; every image is seen equally often where they are few."""
    x = torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0, 0] = torch.arange(images) / images  # which image it is
    net = chain()
    with torch.no_grad():
        for layer in (net.body[1], net.body[3]):
            layer.weight.normal_(generator=torch.Generator().manual_seed(1))
    seen, real = [], scores.taylor

    def kept(net, batches, on):
        seen.extend(batches)
        return real(net, seen, on)

    state = state_of(net, x, torch.arange(images) % 10)
    monkeypatch.setattr(scores, "taylor", kept)
    after(state, Prune(keep_prob=0.3, mask="taylor", on="all"))
    assert [len(y) for _, y in seen] == [100] * 20
    order = torch.cat([x[:, 0, 0, 0] for x, _ in seen]).mul(images).round().long()
    assert {*order.bincount(minlength=images).tolist()} == times
    assert torch.equal(torch.cat([y for _, y in seen]), order % 10), "each with its own label"
    found = real(net, seen, "all")
    for name, P in state.keep.items():
        assert torch.equal(P, mask.ranked(found[name], 0.3))


RISK = Risk(eps=(0.25, 1.0), points=2, images=2, iterations=1)


def values(state):
    return {(r["measure"], r.get("eps")): r["value"] for r in risk(state, RISK) if "bound" in r["measure"]}


def test_the_bounds_of_a_whole_net_are_the_product_of_its_norms_times_eps_over_std():
    """||W_1||_F ||W_2||_F = 6 * 4; pixels .25 apart are .625 apart once they are normalised by .4."""
    found = values(state_of(chain(3.0, 2.0), two_images()))
    assert found == pytest.approx({
        ("risk_bound", 0.25): 15, ("risk_bound_tight", 0.25): 15, ("risk_bound", 1.0): 60, ("risk_bound_tight", 1.0): 60
    })  # fmt: skip


def test_the_bounds_of_a_masked_net_are_those_of_the_theorems_by_hand():
    """W_1 = 3 (I_4 | 0) with p = .64 in two rows and .36 in two, W_2 = 2 (I_4 | 0)^T whole, E||x|| = 6.

    gamma = eps / .4 * sqrt(.64) 6 * 4; tight sqrt(2 * 9 (.64 + .36)) * 4; zeta as printed 6 * 2 * sqrt(18); of the form
    that holds ||(1 - P) W_1||_2 = 3 * .64 and v = 9 * .64 * .36, so that t = sqrt(9 * .64) and zeta = 6 * 2 * 2.4."""
    net = chain(3.0, 2.0)
    state = state_of(net, two_images())
    state.teacher = net
    state.keep = {"1.weight": torch.tensor([0.64, 0.36, 0.36, 0.64])[:, None].expand(4, 64).contiguous()}
    state.net = mask.draw(net, state.keep, 0)
    assert values(state) == pytest.approx({
        ("risk_bound", 0.25): 12, ("risk_bound", 1.0): 48,
        ("risk_bound_tight", 0.25): 7.5 * math.sqrt(2), ("risk_bound_tight", 1.0): 30 * math.sqrt(2),
        ("fidelity_bound", None): 28.8, ("fidelity_bound_printed", None): 36 * math.sqrt(2),
    }, rel=1e-5)  # fmt: skip
