"""Distillation in fine-tuning: a naive twin, nulls, what temperature does, and a teacher that nothing moves."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from study.nets import net as nets
from study.nets.build import build
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Accuracy, Build, Load, Prune, Quantize, Remove, Structure, Teacher, Train, Trial
from study.spec.identity import seed_for
from study.trial import adversary
from study.trial import run as trials
from study.trial import train as training
from study.trial.losses import LOSSES, distilled
from study.trial.stages import snapshot
from tests.helpers import linear_net

DATA = load(Load(train_size=250, test_size=60), 0)
X, Y = DATA.train.x[:50], DATA.train.y[:50]


def new_net(seed=0):
    return build(Build(width=16, depth=2), DATA.shape, 10, (DATA.mean, DATA.std), seed)


def train(net, teacher=None, **config):
    config = Train(**({"epochs": 2} | config))
    progress = training.start(net, config, teacher)
    for _ in training.epochs(net, DATA, config, 1, progress):
        pass
    return progress


def naive(s, t, y, d, T):
    """The loss as it is written, sums and all, in float64."""
    s, t = s.double(), t.double()
    p, q = torch.exp(t / T), torch.exp(s / T)
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    divergence = sum((p[i] * (p[i].log() - q[i].log())).sum() for i in range(len(s))) / len(s)
    return (1 - d) * cross_entropy(s, y) + d * T * T * divergence


def weights(net):
    return {name: W.clone() for name, W in net.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(W, other[name]) for name, W in one.items())


def test_without_distillation_training_is_what_it_was_and_nobody_asks_the_teacher():
    class Silent(nn.Module):
        def forward(self, x):
            raise AssertionError("asked")

    plain, other = new_net(), new_net()
    config = {"adversarial_ratio": 0.5, "train_eps": 0.05, "train_steps": 2}
    one, two = train(plain, **config), train(other, Silent(), temperature=7.0, **config)
    assert one.loss is two.loss is LOSSES[""]
    assert one.curves == two.curves
    assert same(weights(plain), weights(other))


@pytest.mark.parametrize("d", [0.3, 1.0])
@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
def test_loss_and_gradients_are_those_of_the_formula(d, T):
    net, teacher = new_net(), new_net(1)
    x = X.clone().requires_grad_(True)
    found = distilled(LOSSES[""], teacher, d, T)(net, x, Y)
    expected = naive(net(x), teacher(x).detach(), Y, d, T)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    over = [x, *net.parameters()]
    for mine, theirs in zip(torch.autograd.grad(found, over), torch.autograd.grad(expected, over), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
    assert all(p.grad is None for p in teacher.parameters())


def test_training_agrees_with_a_naive_twin_on_adversarial_images():
    config = Train(
        epochs=2, adversarial_ratio=0.5, train_eps=0.05, train_steps=2, distillation=0.4, temperature=3.0, batch_size=50
    )
    net, twin, teacher = new_net(), new_net(), new_net(1).eval()
    progress = training.start(net, config, teacher)
    for _ in training.epochs(net, DATA, config, 1, progress):
        pass
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.01)
    for epoch in range(2):
        torch.manual_seed(seed_for(1, f"epoch {epoch}"))
        order, stream = torch.randperm(250), torch.Generator().manual_seed(seed_for(1, f"adversary {epoch}"))
        for index in order.split(50):
            (point,) = adversary.inputs(twin, *DATA.train[index], config, stream)
            loss = naive(twin(point), teacher(point).detach(), DATA.train.y[index], 0.4, 3.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=0)


def test_who_is_its_own_teacher_has_nothing_to_learn():
    net = new_net()
    loss = distilled(LOSSES[""], copy.deepcopy(net), 1.0, 4.0)(net, X, Y)
    assert abs(float(loss.detach())) < 1e-6
    learnt = torch.autograd.grad(loss, list(net.parameters()))
    task = torch.autograd.grad(LOSSES[""](net, X, Y), list(net.parameters()))
    assert max(float(g.abs().max()) for g in learnt) < 1e-5 * max(float(g.abs().max()) for g in task)


def test_temperature_is_a_unit_of_logits_and_a_high_one_compares_them_by_squares():
    generator = torch.Generator().manual_seed(0)
    s, t = (torch.randn(4, 64, generator=generator) for _ in range(2))

    def term(c, T):
        net, teacher = linear_net(c * s, DATA.shape), linear_net(c * t, DATA.shape)
        return float(distilled(LOSSES[""], teacher, 1.0, T)(net, X, Y % 4).detach())

    assert term(3.0, 6.0) == pytest.approx(9 * term(1.0, 2.0), rel=1e-4)
    gap = X.flatten(1) @ (s - t).T
    gap = gap - gap.mean(1, keepdim=True)
    assert term(1.0, 100.0) == pytest.approx(float(gap.square().sum(1).mean()) / (2 * 4), rel=0.1)
    assert term(1.0, 1.0) != pytest.approx(term(1.0, 100.0), rel=0.2)


def test_norms_of_the_net_see_each_batch_once_and_those_of_the_teacher_none():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10))
    net = Net(body, (0.3,), (0.4,), ("1",))
    train(net, epochs=1)
    teacher = copy.deepcopy(net).eval().requires_grad_(False)
    before = weights(teacher)
    assert int(body[2].num_batches_tracked) == 3
    train(net, teacher, distillation=0.5)
    assert int(body[2].num_batches_tracked) == 3 + 2 * 3
    assert same(before, weights(teacher))
    assert not same(before, weights(net))


def test_what_cannot_be_distilled_is_refused():
    with pytest.raises(ValueError, match="a stage Teacher before"):
        training.start(new_net(), Train(distillation=0.5))
    for weight, temperature in ((1.5, 4.0), (-0.1, 4.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="distillation must lie in"):
            distilled(LOSSES[""], new_net(), weight, temperature)


def trial(**tuning):
    """Two trainings, the second one distilled from what the first one left; every compression in between."""
    first = (Load(train_size=200, test_size=60), Build(width=16, depth=2), Train(epochs=2, frobenius=1.0))
    between = (Teacher(), Remove(ratio=0.25), Prune(keep_prob=0.5), Quantize(bits=4))
    tuning = {"epochs": 3, "adversarial_ratio": 0.5, "train_eps": 0.05, "train_steps": 2, "distillation": 0.5} | tuning
    return Trial(seed=0, stages=(*first, *between, Train(**tuning)), measures=(Accuracy(), Structure()))


def finish(steps):
    *_, last = steps
    assert last.done
    return last


def rows(outcome):
    return [r for r in outcome.rows if r["deterministic"]]


def test_the_teacher_is_the_dense_net_as_the_first_training_left_it():
    state = finish(trials.run(trial())).state
    first = next(iter(state.trained.values()))
    assert same(first, weights(state.teacher))
    dense, small = (nets.matrix(nets.head(net)).shape for net in (state.teacher, state.net))
    assert (dense, small) == ((10, 16), (10, 12))
    assert not state.teacher.masks
    assert not any(p.requires_grad for p in state.teacher.parameters())
    assert not any(m.training for m in state.teacher.modules())


def test_distillation_and_its_temperature_change_what_is_learnt():
    found = [rows(finish(trials.run(trial(**t)))) for t in ({}, {"distillation": 0.0}, {"temperature": 1.0})]
    assert found[0] != found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_trial_stopped_anywhere_goes_on_with_the_same_teacher(stop):
    """Stop 2 is a base that other trials share: the first training alone, done."""
    whole = finish(trials.run(trial()))
    steps = trials.run(trial())
    for outcome in steps:
        if sum(p.epoch for p in outcome.state.trainings.values()) == stop:
            break
    while stop == 2 and not outcome.state.trained:
        outcome = next(steps)
    resumed = finish(trials.run(trial(), resume=copy.deepcopy(snapshot(outcome.state))))
    assert rows(resumed) == rows(whole)
    assert same(weights(resumed.state.teacher), weights(whole.state.teacher))
