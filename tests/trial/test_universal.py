"""One perturbation for all images: planted ones are found, floors stay floors, and nothing hangs on scale or order."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from study.attacks import ball
from study.attacks.universal import fooling_rate, random_perturbations, universal_fgsm, universal_pgd
from study.nets.splits import Dataset, Split
from study.spec.attack_names import RANDOM, UNIVERSAL
from study.spec.config import Universal
from study.trial.measures.universal import universal
from study.trial.state import State
from tests.attack_cases import digits, stream
from tests.helpers import linear_net

NORMS = pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.3)])
SIDE = 16
MAKERS = {"fgsm": universal_fgsm, "pgd": universal_pgd}


def planted(norm, seed=0):
    """Three classes, of which the net never says the first; one direction that no image has leads there.

    Along it (all pixels of the image's dual norm 1) the first logit rises by far more than by any random perturbation.
    """
    generator, n = stream(seed), SIDE * SIDE
    d = torch.where(torch.randperm(n, generator=generator) % 2 == 0, 1.0, -1.0)  # of mean 0
    d = d if norm == "linf" else d / d.norm()
    noise = 0.06 * torch.randn(600, n, generator=generator)
    x = 0.5 + noise - (noise @ d / d.square().sum())[:, None] * d
    assert 0.1 < float(x.min()) < float(x.max()) < 0.9, "the box is not in the way"
    weight = 2 * torch.randn(3, n, generator=generator)
    weight -= weight.mean(1, keepdim=True)
    eps = {"linf": 0.02, "l2": 0.3}[norm]
    weight[0] = 16 / eps * d / d.square().sum() - 4 / (0.5 * n)  # -4 on a clean image, 12 at eps along d
    return linear_net(weight, (1, SIDE, SIDE)), x.view(-1, 1, SIDE, SIDE), d


def state_of(net, x, y, train=300, seed=0):
    """A trial's state whose first images are the training images."""
    halves = [Split(pixels=x[:train], y=y[:train]), Split(pixels=x[:0], y=y[:0]), Split(pixels=x[train:], y=y[train:])]
    classes = net(x[:1]).shape[1]
    data = Dataset(name="made", train=halves[0], validation=halves[1], test=halves[2], classes=classes,
                   mean=(0.0,), std=(1.0,))  # fmt: skip
    return State(seed=seed, data=data, net=net.eval())


def numbers(rows, measure):
    return {r["attack"]: r["value"] for r in rows if r["measure"] == measure}


@NORMS
def test_a_planted_direction_is_found_on_images_that_it_was_not_made_on(norm, eps):
    net, x, _ = planted(norm)
    y = net(x).argmax(1)
    assert float((y == 0).double().mean()) < 0.04, "the planted class is hardly said of a clean image"
    config = Universal(norm=norm, eps=(eps,), makers=tuple(UNIVERSAL), toolbox_images=60)
    rows = universal(state_of(net, x, y), config)
    rate = numbers(rows, "fooling_rate")
    assert set(rate) == {RANDOM, *UNIVERSAL.values()}
    strong = (UNIVERSAL["fgsm"], UNIVERSAL["art"])
    assert all(rate[name] > 0.95 for name in strong), rate
    assert rate[UNIVERSAL["pgd"]] > 0.4, "it may end at the best direction for one of the two classes"
    assert rate[RANDOM] < 0.3
    accuracy = numbers(rows, "universal_accuracy")
    assert {a: pytest.approx(1 - r) for a, r in rate.items()} == accuracy, "all labels are the net's own here"
    assert numbers(rows, "fooling_excess") == {
        name: pytest.approx(rate[name] - rate[RANDOM]) for name in UNIVERSAL.values()
    }
    assert all(numbers(rows, "universal_share")[name] > 0.95 for name in strong)
    assert {(r["norm"], r["eps"], r["split"], r["n"]) for r in rows} == {(norm, eps, "test", 300)}


@NORMS
def test_no_budget_fools_nobody_and_has_no_share(norm, eps):
    net, x, _ = planted(norm)
    rows = universal(state_of(net, x, net(x).argmax(1)), Universal(norm=norm, eps=(0.0,), makers=("fgsm", "pgd")))
    assert set(numbers(rows, "fooling_rate").values()) == {0.0}
    assert set(numbers(rows, "universal_accuracy").values()) == {1.0}
    assert not numbers(rows, "universal_share")


def test_labels_play_no_part_in_the_fooling_rate_and_test_labels_none_in_the_perturbation():
    net, x, _ = planted("l2")
    y = net(x).argmax(1)
    wrong = y.clone()
    wrong[300:] = (y[300:] + 1) % 3
    config = Universal(norm="l2", eps=(0.3,), makers=("fgsm", "pgd"))
    right, other = (universal(state_of(net, x, labels), config) for labels in (y, wrong))
    assert numbers(right, "fooling_rate") == numbers(other, "fooling_rate")
    assert max(numbers(other, "universal_accuracy").values()) < max(numbers(right, "universal_accuracy").values())


class Scaled(nn.Module):
    """A net's logits times a constant, after a constant of its own is added to each image's."""

    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x):
        return self.factor * (self.net(x) + x.flatten(1).sum(1, keepdim=True))


@NORMS
@pytest.mark.parametrize("method", MAKERS)
@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_a_factor_of_the_logits_changes_nothing(method, norm, eps, factor):
    net, x, y = digits()
    eps = 8 * eps
    plain = fooling_rate(net, x, MAKERS[method](net, x, y, eps, norm, generator=stream()))
    assert plain > 0.1, "there is something to lose"
    scaled = Scaled(net, factor)
    found = fooling_rate(net, x, MAKERS[method](scaled, x, y, eps, norm, generator=stream()))
    assert found == pytest.approx(plain, abs=1.01 / len(x))


@NORMS
@pytest.mark.parametrize("method", MAKERS)
def test_the_order_of_the_classes_changes_nothing(method, norm, eps):
    net, x, y = digits()
    order = torch.randperm(10, generator=stream(1))

    class Renamed(nn.Module):
        def forward(self, x):
            return net(x)[:, order]

    renamed = order.argsort()[y]
    eps = 8 * eps
    plain = fooling_rate(net, x, MAKERS[method](net, x, y, eps, norm, generator=stream()))
    other = Renamed()
    found = fooling_rate(other, x, MAKERS[method](other, x, renamed, eps, norm, generator=stream()))
    assert found == pytest.approx(plain, abs=1.01 / len(x))


@NORMS
def test_batch_and_order_of_images_change_nothing_where_all_are_seen_at_each_step(norm, eps):
    net, x, y = digits()
    eps = 5 * eps
    delta = universal_pgd(net, x, y, eps, norm, generator=stream())
    order = torch.randperm(len(x), generator=stream(1))
    for images, labels, size in ((x, y, 7), (x[order], y[order], 0)):
        other = universal_pgd(net, images, labels, eps, norm, batch_size=size, generator=stream())
        assert fooling_rate(net, x, other) == pytest.approx(fooling_rate(net, x, delta), abs=1.01 / len(x))


@NORMS
def test_a_net_of_another_precision(norm, eps):
    net, x, y = digits()
    eps, double = 8 * eps, copy.deepcopy(net).double()
    found = fooling_rate(double, x, universal_pgd(double, x, y, eps, norm, generator=stream()))
    plain = fooling_rate(net, x, universal_pgd(net, x, y, eps, norm, generator=stream()))
    assert found == pytest.approx(plain, abs=1.01 / len(x))


@NORMS
def test_random_perturbations_have_the_norm_and_no_direction(norm, eps):
    delta = random_perturbations(torch.zeros(400, 1, 5, 5), eps, norm, stream())
    assert torch.allclose(ball.lengths(delta, norm), torch.tensor(eps))
    assert torch.allclose(ball.lengths(delta, "l2"), torch.tensor(eps * (5.0 if norm == "linf" else 1.0)))
    flat = delta.flatten(1) / ball.lengths(delta, "l2")[:, None]
    assert float((25 * flat.T @ flat / 400 - torch.eye(25)).abs().max()) < 0.3
    assert float(flat.mean(0).norm()) < 0.1


def test_the_same_trial_gives_the_same_rows_whatever_else_is_measured():
    net, x, _ = planted("linf")
    y = net(x).argmax(1)
    config = Universal(norm="linf", eps=(0.01,), makers=("fgsm",))
    both = dataclasses.replace(config, eps=(0.02, 0.01), makers=("pgd", "fgsm"))
    one = universal(state_of(net, x, y), config)
    two = universal(state_of(net, x, y), both)
    assert [r for r in two if r["eps"] == 0.01 and r["attack"] != UNIVERSAL["pgd"]] == one
