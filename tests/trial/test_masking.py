"""Checks for gradient masking on nets whose gradients are sound, zero, or missing on purpose."""

import functools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

from study.attacks import memory
from study.attacks.apgd import apgd
from study.nets.compression.quantize import quantize
from study.nets.net import Net
from study.spec.config import Robustness
from study.trial.measures import masking
from study.trial.measures.robustness import attack_of, names_of
from tests.attack_cases import digits
from tests.helpers import linear_net

X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
W = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))


class Stairs(nn.Module):
    """Rounds to a hundredth: right about everything, and without any gradient."""

    def forward(self, x):
        return torch.round(x * 100) / 100


def masked():
    inner = linear_net(W, (1, 4, 4))
    return Net(nn.Sequential(Stairs(), inner.body), (0.0,), (1.0,), ())


def labels(net):
    with torch.no_grad():
        return net(X).argmax(1)


def attack(net, x, y, eps, norm, *, generator):
    return apgd(net, x, y, eps, norm, iterations=10, generator=generator)


BY = names_of(Robustness(norm="linf", eps=(), backend="native"))


def found(net, how=attack):
    rows = masking.checks(net, X, labels(net), how, (0.05, 0.1, 0.2), {"norm": "linf"}, 0, BY)
    return {r["measure"]: r["value"] for r in rows}


def test_a_sound_net_passes():
    assert found(linear_net(W, (1, 4, 4))) == {"zero_gradient_share": 0, "loss_monotone": 1, "zero_eps_agrees": 1}


class Louder(nn.Module):
    """A net whose logits are multiplied by a constant."""

    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x):
        return self.net(x) * self.factor


@pytest.mark.parametrize("factor", [1e-4, 1e-2, 1e2, 1e4])
@pytest.mark.parametrize("kind", ["dense", "1 bit", "2 bits"])
def test_no_check_moves_with_the_scale_of_the_logits(factor, kind):
    """Cross-entropy saturates at 1e4, where its gradient is exactly zero: that is no sign of masking."""
    net, x, y = digits()
    net = net if kind == "dense" else quantize(net, int(kind[0]), [x])
    eps = (0.02, 0.05, 0.1, 0.3)

    def rows(net):
        signs = masking.checks(net, x, y, attack, eps, {"norm": "linf"}, 0, BY)
        white = torch.ones(len(x), dtype=torch.bool)
        return [r["value"] for r in signs + masking.audit(net, x, y, white, 20, 0, {"norm": "linf", "eps": 0.1})]

    plain, louder = rows(net), rows(Louder(net, factor))
    square = 3  # its share: with few bits margins tie, and a rounding decides which way the search goes
    assert louder.pop(square) == pytest.approx(plain.pop(square), abs=0.01 if kind == "dense" else 0.1)
    assert louder == plain == [0, 1, 1, 1]
    size = memory.images(net, x)
    saturated = torch.autograd.grad(cross_entropy(1e4 * net(p := x[:size].requires_grad_(True)), y[:size]), p)[0]
    assert (saturated.flatten(1) == 0).all(1).float().mean() > 0.5, "what the old check saw"


@pytest.mark.parametrize(("n", "most"), [(40, 2), (360, 7), (1000, 15), (10_000, 117)])
def test_as_many_as_chance_explains_are_let_pass(n, most):
    """A sound attack that misses an image in a hundred is flagged one time in twenty at most."""
    assert not masking.beaten(most, n)
    assert masking.beaten(most + 1, n)
    assert most + 1 > n / 100
    exact = stats.binom.sf(np.arange(n) - 1, n, masking.SLACK)  # of at least so many
    assert exact[most + 1] < masking.LEVEL <= exact[most]
    assert not masking.beaten(0, n)


def test_two_images_are_no_masking_and_a_planted_share_is():
    """A net with a window through which a random search falls, and no gradient to it, on part of the images."""
    net = masked()
    y = labels(net)
    where = {"norm": "linf", "eps": 0.1, "split": "test", "n": 40}

    def flag(share):
        blind = torch.ones(40, dtype=torch.bool)
        square = masking.audit(net, X, y, blind, 200, 0, where)[0]["value"]
        fallen = masking.square(net, X, y, 0.1, "linf", queries=200, generator=torch.Generator().manual_seed(0)).robust
        assert square == float(fallen.double().mean())
        white = fallen.clone()
        white[(~fallen).nonzero()[:share, 0]] = True  # what the attack with gradients left of those
        return masking.audit(net, X, y, white, 200, 0, where)[1]["value"]

    assert [flag(k) for k in (0, 1, 2, 3, 10)] == [0, 0, 0, 1, 1]


def test_square_may_be_asked_of_the_first_images_alone():
    net = masked()
    y, white = labels(net), torch.ones(40, dtype=torch.bool)
    where = {"norm": "linf", "eps": 0.1, "split": "test", "n": 40}
    asked, same = masking.audit(net, X[:25], y[:25], white, 200, 0, where), white.clone()
    assert [r["n"] for r in asked] == [25, 25]
    assert asked == masking.audit(net, X[:25], y[:25], white[:25], 200, 0, where)
    same[25:] = False  # what is left of images that Square is not asked of does not count
    assert asked == masking.audit(net, X[:25], y[:25], same, 200, 0, where)


def test_the_checks_attack_no_more_than_a_hundred_images():
    net, x, y = digits()
    assert len(x) > masking.CHECKED
    seen = []

    def counted(net, x, y, eps, norm, *, generator):
        seen.append((eps, len(x)))
        return attack(net, x, y, eps, norm, generator=generator)

    rows = masking.checks(net, x, y, counted, (0.1,), {"norm": "linf", "n": len(x)}, 0, BY)
    assert seen == [(0.0, masking.CHECKED)]
    assert {r["measure"]: r["n"] for r in rows} == {
        "zero_gradient_share": len(x), "loss_monotone": masking.CHECKED, "zero_eps_agrees": masking.CHECKED
    }  # fmt: skip


def test_a_net_without_gradients_is_seen_and_square_beats_the_white_box():
    net = masked()
    assert found(net)["zero_gradient_share"] == 1
    y, generator = labels(net), torch.Generator().manual_seed(0)
    white = apgd(net, X, y, 0.1, "linf", iterations=10, generator=generator).robust
    rows = masking.audit(net, X, y, white, 200, 0, {"norm": "linf", "eps": 0.1, "split": "test", "n": 40})
    audit = {r["measure"]: r["value"] for r in rows}
    assert audit["robust_accuracy"] < float(white.double().mean())
    assert audit["audit_flag"] == 1


def test_square_does_not_beat_a_sound_white_box():
    net = linear_net(W, (1, 4, 4))
    y, generator = labels(net), torch.Generator().manual_seed(0)
    white = apgd(net, X, y, 0.1, "linf", iterations=50, generator=generator).robust
    rows = masking.audit(net, X, y, white, 200, 0, {"norm": "linf", "eps": 0.1, "split": "test", "n": 40})
    assert rows[1]["value"] == 0
    assert rows[0]["value"] >= float(white.double().mean())


def test_an_attack_that_moves_at_eps_zero_is_seen():
    def cheats(net, x, y, eps, norm, *, generator):
        return attack(net, x, y, 0.3, norm, generator=generator)

    assert found(linear_net(W, (1, 4, 4)), cheats)["zero_eps_agrees"] == 0


def test_a_loss_that_falls_with_eps_is_seen(monkeypatch):
    real = masking.pgd
    monkeypatch.setattr(masking, "pgd", lambda n, x, y, eps, norm, **o: real(n, x, y, 0.3 - eps, norm, **o))
    assert found(linear_net(W, (1, 4, 4)))["loss_monotone"] == 0


@pytest.mark.parametrize("backend", ["native", "art"])
@pytest.mark.parametrize("name", ["apgd", "apgd_dlr", "pgd", "fgsm", "autoattack", "autoattack_pair", "cw", "square"])
def test_every_named_attack_runs_in_both_rooms(name, backend):
    random = torch.Generator().manual_seed(2)
    net, x = linear_net(torch.randn(4, 64, generator=random), (1, 8, 8)), torch.rand(8, 1, 8, 8, generator=random)
    y = net(x).argmax(1)
    config = Robustness(norm="linf", eps=(0.9,), iterations=3, backend=backend, attack=name)
    result = attack_of(config)(net, x, y, 0.9, "linf", generator=random)
    assert not result.robust.all()
    assert (net(result.first).argmax(1) != y).equal(~result.robust)


def test_a_certificate_goes_with_the_native_apgd_alone():
    assert isinstance(attack_of(Robustness(norm="linf", eps=(0.1,), backend="native", certify=True)), functools.partial)
    for wrong in ({"backend": "art"}, {"backend": "native", "attack": "pgd"}):
        with pytest.raises(ValueError, match="certify goes with the native apgd alone"):
            attack_of(Robustness(norm="linf", eps=(0.1,), certify=True, **wrong))
