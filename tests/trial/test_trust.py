"""Whether an attack has converged, whether its points hold, and nets whose output is not their images' alone."""

import dataclasses

import pytest
import torch
from torch import nn

from study.attacks.apgd import apgd
from study.attacks.ball import Result
from study.attacks.recheck import recheck
from study.nets.net import Net
from study.nets.splits import Dataset, Split
from study.nets.steady import Averaged, steady, unsteady
from study.spec.config import Robustness
from study.spec.errors import UsageError
from study.trial.measures import trust
from study.trial.measures.robustness import robustness
from study.trial.state import State
from tests.attack_cases import digits
from tests.helpers import linear_net

X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
W = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
APGD = Robustness(norm="linf", eps=(0.1,), iterations=9, backend="native")  # ten passes a restart


def result(fell, forward):
    """A result of which only the times of falling matter."""
    fell, forward = torch.tensor(fell), torch.tensor(forward)
    rest = dict.fromkeys(("first", "worst", "loss"), torch.zeros(len(fell)))
    return Result(**rest, robust=fell < 0, forward=forward, backward=forward, fell=fell)


def values(rows):
    return {r["measure"]: r["value"] for r in rows}


@pytest.mark.parametrize(
    ("config", "fell", "forward", "late", "half"),
    [
        (APGD, [0, 1, 5, 6, 7, 8, 10, -1], [11] * 8, 2 / 8, 5 / 8),
        (APGD, [0, 1, 1, 2], [3] * 4, 0, 0),  # all fell at once: the passes planned are what counts
        (dataclasses.replace(APGD, restarts=2), [10, 11, 15, 16, -1, -1, -1, -1], [21] * 8, 1 / 8, 7 / 8),
        (dataclasses.replace(APGD, attack="pgd"), [5, 6, 9, -1], [12] * 4, 1 / 4, 3 / 4),  # two legs, eleven passes
        (APGD, [10, 11, 16, -1], [21] * 4, 1 / 4, 3 / 4),  # an attack that spends more than was planned
        (APGD, [-1, -1], [1, 1], 0, 1),  # all of them proven safe
    ],
)  # fmt: skip
def test_when_images_fell_is_read_off_by_hand(config, fell, forward, late, half):
    found = values(trust.converged(result(fell, forward), config, {}))
    assert found == {"late_falls": late, "robust_accuracy_half": half}


@pytest.mark.parametrize(
    "change",
    [{"attack": "autoattack"}, {"attack": "fgsm"}, {"attack": "cw"}, {"attack": "square"}, {"backend": "art"},
     {"iterations": 3}],
)  # fmt: skip
def test_an_attack_without_a_half_has_no_such_row(change):
    assert trust.converged(result([1, -1], [11, 11]), dataclasses.replace(APGD, **change), {}) == []


def rows_of(net, x, y, **settings):
    """What the measure says of a net and images, by (measure, attack)."""
    split = Split(pixels=x, y=y)
    data = Dataset(name="own", train=split, validation=split, test=split, classes=3, mean=(0.0,), std=(1.0,))
    state = State(seed=0, data=data, datasets={"": data}, net=net)
    config = Robustness(**({"norm": "linf", "eps": (0.05, 0.1), "backend": "native", "gap_eps": (0.1,)} | settings))
    return robustness(state, config)


def chance(scale):
    """A net whose logits have noise of this size, however often they are asked for."""

    class Noise(nn.Module):
        def forward(self, z):
            return z + scale * torch.randn(z.shape)

    inner = linear_net(W, (1, 4, 4))
    return Net(nn.Sequential(inner.body, Noise()), (0.0,), (1.0,), ())


class Crowd(nn.Module):
    """Logits that have the batch's mean taken off, as statistics of the batch do."""

    def forward(self, z):
        return z - 2 * z.mean(0, keepdim=True) + z.flip(1)


def crowd():
    return Net(nn.Sequential(linear_net(W, (1, 4, 4)).body, Crowd()), (0.0,), (1.0,), ())


def test_the_share_that_falls_late_shrinks_with_the_iterations():
    net, x, y = digits()
    moving = []
    for iterations in (4, 100):
        config = dataclasses.replace(APGD, iterations=iterations)
        generator = torch.Generator().manual_seed(0)
        found = apgd(net, x, y, 0.1, "linf", iterations=iterations, generator=generator)
        rows = values(trust.converged(found, config, {}))
        moving.append(rows["robust_accuracy_half"] - float(found.robust.double().mean()))
        assert 0 <= rows["late_falls"] <= moving[-1]
    assert moving[0] > 0.01 >= moving[1]


def test_points_that_do_not_hold_are_counted_among_all_images():
    net = linear_net(W, (1, 4, 4))
    with torch.no_grad():
        y = net(X).argmax(1)
    found = apgd(net, X, y, 0.2, "linf", iterations=10, generator=torch.Generator().manual_seed(0))
    where = {"eps": 0.2, "norm": "linf"}
    assert values(trust.confirmed(net, X, y, found, where)) == {"unconfirmed_share": 0}
    fooled = int((~found.robust).sum())
    assert fooled > 5
    planted = dataclasses.replace(found, first=X.clone())  # clean points, all of them right
    assert values(trust.confirmed(net, X, y, planted, where)) == {"unconfirmed_share": fooled / len(X)}
    assert int(recheck(net, X, y, 0.2, "linf", planted).sum()) == fooled


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_steady_net_is_left_alone_at_any_scale(scale):
    for net in (linear_net(scale * W, (1, 4, 4)), digits()[0]):
        x = X if net is not digits()[0] else digits()[1]
        state = torch.random.get_rng_state()
        assert unsteady(net, x) == ""
        assert steady(net, x, 0, 0) is steady(net, x, 5, 0) is net
        assert torch.equal(torch.random.get_rng_state(), state)


def test_a_batch_that_rounds_otherwise_in_some_images_is_no_batch_net():
    """A rounding flips a level of a net of few bits here and there; statistics of the batch move every image."""
    inner = linear_net(W, (1, 4, 4))

    class Flip(nn.Module):
        def forward(self, z):
            out = inner(z)
            return out if len(z) < 5 else torch.cat([out[:3] + 0.5, out[3:]])

    assert unsteady(Flip(), X) == ""


@pytest.mark.parametrize(
    ("net", "word"),
    [
        (chance(0.5), "other logits each time"),
        (crowd(), "others of its batch"),
        (
            Net(nn.Sequential(linear_net(100 * W, (1, 4, 4)).body, nn.Softmax(1)), (0.0,), (1.0,), ()),
            "probabilities, not logits",
        ),
    ],
)
def test_a_net_of_chance_or_of_its_batch_or_of_a_softmax_is_refused_with_what_to_do(net, word):
    with pytest.raises(ValueError, match=word):
        rows_of(net, X, torch.zeros(40, dtype=torch.int64))


def test_a_net_of_its_batch_is_not_averaged():
    with pytest.raises(ValueError, match="use running statistics"):
        rows_of(crowd(), X, torch.zeros(40, dtype=torch.int64), eot=8)


def test_dropout_that_is_on_is_seen_before_anything_is_trained(monkeypatch):
    from study.spec.config import Build, Load, Trial
    from study.sweep.plan import tryout

    class Drop(nn.Module):
        def forward(self, z):
            return nn.functional.dropout(z, 0.2, training=True)

    body = nn.Sequential(nn.Flatten(), Drop(), nn.Linear(64, 10))
    monkeypatch.setattr(tryout, "build", lambda *_, **__: Net(body, (0.0,), (1.0,), ()))
    trial = Trial(seed=0, stages=(Load(test_size=60), Build(model="own:drop")), measures=(APGD,))
    with pytest.raises(UsageError, match=r"--model own:drop cannot be attacked: .*--set eot=16"):
        tryout.check_data_and_model(trial)
    averaged = dataclasses.replace(trial, measures=(dataclasses.replace(APGD, eot=4),))
    tryout.check_data_and_model(averaged)


def test_an_average_over_draws_is_repeatable_and_leaves_the_streams_alone():
    net, state = chance(0.5), torch.random.get_rng_state()
    a, b = (Averaged(net, 64, seed=3) for _ in range(2))
    first = a(X)
    assert torch.equal(first, b(X))
    assert not torch.equal(first, a(X)), "the next pass has draws of its own"
    assert torch.equal(torch.random.get_rng_state(), state)
    exact = linear_net(W, (1, 4, 4))(X)
    assert float((first - exact).detach().std()) == pytest.approx(0.5 / 8, rel=0.3)


def test_the_gradient_is_that_of_the_mean():
    """Of z -> s z with s drawn as 0 or 2, the mean is z itself."""

    class Half(nn.Module):
        def forward(self, z):
            return 2 * z * float(torch.rand(()) < 0.5)

    x = X.flatten(1).clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(Averaged(Half(), 4000, seed=0)(x).sum(), x)
    assert torch.allclose(gradient, torch.ones_like(gradient), atol=0.1)


def test_a_net_of_chance_is_attacked_as_its_mean():
    """Its mean is a linear net of known robust accuracy: the attack comes near, and says what does not hold."""
    with torch.no_grad():
        y = linear_net(W, (1, 4, 4))(X).argmax(1)
    exact = values(
        [r for r in rows_of(linear_net(W, (1, 4, 4)), X, y, eps=(0.1,)) if r["measure"] == "robust_accuracy"]
    )
    found = values(rows_of(chance(0.2), X, y, eps=(0.1,), eot=200))
    low, high = found["robust_accuracy"], found["robust_accuracy"] + found["unconfirmed_share"]
    assert low - 0.05 <= exact["robust_accuracy"] <= high + 0.05
    assert 0.1 < exact["robust_accuracy"] < 0.9
    assert found["loss_gap"] > 0
    assert "zero_eps_agrees" not in found, "two looks at the clean points differ"
    with pytest.raises(ValueError, match="leave sensitivity at 0"):
        rows_of(chance(0.2), X, y, eps=(0.1,), eot=20, sensitivity=True)


def test_a_lazy_average_is_told_from_a_good_one():
    """With one draw a pass chance fools images by itself, and the second look says so."""
    with torch.no_grad():
        y = linear_net(W, (1, 4, 4))(X).argmax(1)
    shares = [values(rows_of(chance(1.0), X, y, eps=(0.001,), eot=n))["unconfirmed_share"] for n in (1, 400)]
    assert shares[0] > 0.1 > shares[1]
