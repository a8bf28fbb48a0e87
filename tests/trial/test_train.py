"""The training loop against a naive twin, its projection, its pauses and its end when the loss is lost."""

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.data import load
from study.nets.penalties import group_lasso, nuclear_norm
from study.spec.config import Build, Load, Train
from study.spec.identity import seed_for
from study.trial import stages
from study.trial import train as training
from study.trial.state import State

DATA = load(Load(train_size=250, test_size=60), 0)


def new_net(rank=0):
    net = build(Build(width=16, depth=2), DATA.shape, 10, (DATA.mean, DATA.std), 0)
    return factorize(net, rank, 0) if rank else net


def train(net, config, seed=1):
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, seed, progress):
        pass
    return progress


def test_agrees_with_a_naive_twin():
    config = Train(epochs=2, penalty="group_lasso", alpha=0.01, frobenius=1.0)
    net, twin = new_net(), new_net()
    progress = train(net, config)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.01)
    layers = list(nets.layers(twin).values())
    targets = [float(layer.weight.detach().norm()) for layer in layers]
    losses = []
    for epoch in range(2):
        torch.manual_seed(seed_for(1, f"epoch {epoch}"))
        order, total = torch.randperm(250), 0.0
        for start in range(0, 250, 100):
            index = order[start : start + 100]
            loss = cross_entropy(twin(DATA.train.x[index]), DATA.train.y[index])
            for layer in layers:
                loss = loss + 0.01 * sum(row.square().sum().sqrt() for row in layer.weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for layer, target in zip(layers, targets, strict=True):
                    layer.weight.mul_(target / layer.weight.norm())
            total += float(loss) * len(index)
        losses.append(total / 250)
    assert [v for _, name, v in progress.curves if name == "train_loss"] == pytest.approx(losses, rel=1e-4)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-4)


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("frobenius", [1.0, 2.5])
def test_hidden_layers_are_held_at_their_norm(rank, frobenius):
    net = new_net(rank)
    before = [nets.frobenius(layer) for layer in nets.layers(net).values()]
    train(net, Train(epochs=2, frobenius=frobenius))
    after = [nets.frobenius(layer) for layer in nets.layers(net).values()]
    assert after == pytest.approx([frobenius * b for b in before], rel=1e-4)


def test_without_a_constant_the_norms_are_free():
    net = new_net()
    before = [nets.frobenius(layer) for layer in nets.layers(net).values()]
    train(net, Train(epochs=3, learning_rate=1e-2))
    assert [nets.frobenius(layer) for layer in nets.layers(net).values()] != pytest.approx(before, rel=1e-2)


def test_a_strong_group_lasso_concentrates_rows():
    from study.theory.compressibility import eps_q, row_l1

    plain, lasso = new_net(), new_net()
    train(plain, Train(epochs=20, learning_rate=0.01, frobenius=1.0))
    train(lasso, Train(epochs=20, learning_rate=0.01, frobenius=1.0, penalty="group_lasso", alpha=0.1))
    eps = [eps_q(row_l1(nets.weight_matrices(n)["layer1"]), 1, 2) for n in (plain, lasso)]
    assert eps[1] < eps[0] - 0.1


def test_group_lasso_value_and_gradient():
    W = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value = group_lasso([W, 2 * W])
    value.backward()
    assert float(value) == pytest.approx(18.0)
    assert torch.allclose(W.grad, torch.tensor([[1.8, 2.4], [0.0, 0.0], [3.0, 0.0]]))
    V = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: group_lasso([v]), V)


def test_nuclear_norm_of_a_diagonal():
    assert float(nuclear_norm([torch.diag(torch.tensor([1.0, -2.0])), torch.eye(3)])) == pytest.approx(6.0)


def test_a_lost_loss_ends_training():
    progress = train(new_net(), Train(epochs=9, learning_rate=1e30))
    assert progress.diverged
    assert progress.epoch < 9


def test_weights_lost_in_the_last_step_are_a_divergence():
    """The loss of a step is taken before it: a finite training loss can stand over weights that are not."""
    net = new_net()
    config = Train(epochs=1, batch_size=10**6, learning_rate=1e38, weight_decay=1e38)
    progress = train(net, config)
    assert progress.diverged
    assert math.isnan(progress.curves[-1][2])


def test_early_stopping_keeps_the_best_weights():
    data = load(Load(train_size=300, test_size=60, validation=0.3), 0)
    net = new_net()
    config = Train(epochs=60, patience=2, learning_rate=0.03)
    progress = training.start(net, config)
    for _ in training.epochs(net, data, config, 0, progress):
        pass
    losses = [v for _, name, v in progress.curves if name == "validation_loss"]
    assert progress.epoch == losses.index(min(losses)) + 3 < 60
    assert training.evaluate(net, data.validation)[1] == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("pause", [1, 3])
def test_going_on_from_a_snapshot_equals_never_stopping(pause):
    config = Train(epochs=5, penalty="group_lasso", alpha=0.01, frobenius=1.0)

    def state():
        return State(seed=0, data=DATA, net=new_net())

    whole, broken = state(), state()
    for _ in stages.STAGES[Train](whole, config):
        pass
    for _ in stages.STAGES[Train](broken, config):
        assert broken.progress is not None
        if broken.progress.epoch == pause:
            break
    saved = copy.deepcopy(stages.snapshot(broken))
    resumed = state()
    resumed.resume = saved
    for _ in stages.STAGES[Train](resumed, config):
        pass
    assert resumed.progress.curves == whole.progress.curves
    assert all(torch.equal(p, q) for p, q in zip(resumed.net.parameters(), whole.net.parameters(), strict=True))
