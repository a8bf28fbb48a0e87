"""Optimisers against naive twins, schedules by hand, what early stopping keeps, and pauses in all of them."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax

from study.nets.build import build
from study.nets.data import load
from study.spec.config import Build, Load, Train
from study.trial import optimise, stages
from study.trial import train as training
from study.trial.losses import LOSSES
from study.trial.state import State
from tests.helpers import linear_net

DATA = load(Load(train_size=300, test_size=60, validation=0.3), 0)


def new_net():
    return build(Build(width=16, depth=2), DATA.shape, 10, (DATA.mean, DATA.std), 0)


def train(net, config, data=DATA):
    progress = training.start(net, config)
    for _ in training.epochs(net, data, config, 0, progress):
        pass
    return progress


def weights(net):
    return {name: W.clone() for name, W in net.state_dict().items()}


def same(a, b):
    return all(torch.equal(W, b[name]) for name, W in a.items())


def naive(kind, W, gradients, rate, decay, momentum):
    """The optimisers' steps as their papers print them, in float64."""
    W = W.double().clone()
    m, v = torch.zeros_like(W), torch.zeros_like(W)
    for t, g in enumerate((g.double() for g in gradients), start=1):
        if kind == "sgd":
            m = momentum * m + g + decay * W
            W = W - rate * m
            continue
        g = g + decay * W if kind == "adam" else g
        W = W - rate * decay * W if kind == "" else W
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        W = W - rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return W


@pytest.mark.parametrize(("kind", "momentum"), [("", 0.0), ("adam", 0.0), ("sgd", 0.0), ("sgd", 0.9)])
def test_a_few_steps_are_those_on_paper(kind, momentum):
    config = Train(optimizer=kind, learning_rate=0.01, weight_decay=0.1, momentum=momentum)
    p = torch.nn.Parameter(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    begin, gradients = p.detach().clone(), torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(1))
    optimizer = optimise.OPTIMISERS[kind]([p], config)
    for g in gradients:
        p.grad = g
        optimizer.step()
    wanted = naive(kind, begin, gradients, 0.01, 0.1, momentum)
    assert torch.allclose(p.detach().double(), wanted, atol=1e-6)


def test_multistep_falls_after_its_milestones():
    """Paper C: .1 for the first four epochs, then .01."""
    config = Train(epochs=8, learning_rate=0.1, schedule="multistep", milestones=(4, 6), gamma=0.1)
    rates = [optimise.learning_rate(config, e) for e in range(8)]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)
    assert train(new_net(), config).optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


def test_no_milestones_and_a_gamma_of_one_are_a_constant_rate():
    plain, none, one = new_net(), new_net(), new_net()
    train(plain, Train(epochs=3))
    train(none, Train(epochs=3, schedule="multistep"))
    train(one, Train(epochs=3, schedule="multistep", milestones=(1,), gamma=1.0))
    assert same(weights(plain), weights(none))
    assert same(weights(plain), weights(one))


def test_label_smoothing_is_a_tenth_towards_all_classes():
    net = linear_net(torch.randn(4, 9, generator=torch.Generator().manual_seed(0)), (1, 3, 3))
    x, y = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    logits = net(x)
    by_hand = 0.9 * cross_entropy(logits, y) - 0.1 * log_softmax(logits, 1).mean()
    assert float(LOSSES["label_smoothing"](net, x, y).detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    assert torch.equal(LOSSES[""](net, x, y), cross_entropy(logits, y))


def test_the_loss_that_is_asked_for_is_the_one_descended_on():
    net = new_net()
    progress = train(net, Train(epochs=1, batch_size=1000, learning_rate=0.0, weight_decay=0.0, loss="label_smoothing"))
    with torch.no_grad():
        wanted = float(LOSSES["label_smoothing"](net, DATA.train.x, DATA.train.y))
    assert progress.curves[0][2] == pytest.approx(wanted, rel=1e-5)


ADVERSARY = {"train_eps": 0.05, "train_steps": 2}
STOPS = [("", {}, "validation_loss", min),
         ("accuracy", {}, "validation_accuracy", max),
         ("adversarial_accuracy", ADVERSARY, "validation_adversarial_accuracy", max),
         ("accuracy", ADVERSARY | {"adversarial_ratio": 0.5}, "validation_accuracy", max),
         ("", ADVERSARY | {"adversarial_ratio": 0.5}, "validation_adversarial_loss", min)]  # fmt: skip


@pytest.mark.parametrize(("stop_on", "options", "curve", "best"), STOPS)
def test_early_stopping_keeps_the_first_best_epoch_of_what_it_looks_at(stop_on, options, curve, best):
    net, epochs = new_net(), []
    config = Train(epochs=40, patience=3, learning_rate=0.03, stop_on=stop_on, **options)
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 0, progress):
        epochs.append(weights(net))
    values = [v for _, name, v in progress.curves if name == curve]
    first = values.index(best(values))
    assert progress.best_epoch == first + 1
    assert len(values) == progress.epoch == min(40, first + 4)
    assert same(weights(net), epochs[first])


def test_looking_at_adversarial_accuracy_does_not_change_the_training():
    plain, looking = new_net(), new_net()
    train(plain, Train(epochs=3))
    train(looking, Train(epochs=3, stop_on="adversarial_accuracy", **ADVERSARY))
    assert same(weights(plain), weights(looking))


@pytest.mark.parametrize("pause", [1, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "sgd", "schedule": "multistep", "milestones": (2, 3), "learning_rate": 0.1},
        {"schedule": "cosine", "loss": "label_smoothing"},
        {"patience": 2, "stop_on": "accuracy", "learning_rate": 0.02},
        {"patience": 2, "stop_on": "adversarial_accuracy", "learning_rate": 0.02, **ADVERSARY},
        {"freeze": ("layer1",), "frobenius": 1.5, "optimizer": "sgd", "momentum": 0.5},
        {"autocast": "always"},
    ],
)
def test_going_on_from_a_snapshot_equals_never_stopping(options, pause):
    config = Train(epochs=6, **options)

    def run(resume=None, until=None):
        state = State(seed=0, data=DATA, net=new_net(), resume=resume)
        for _ in stages.STAGES[Train](state, config):
            if state.progress.epoch == until:
                break
        return state

    whole = run()
    resumed = run(resume=copy.deepcopy(stages.snapshot(run(until=pause))))
    assert resumed.progress.curves == whole.progress.curves
    assert resumed.progress.best_epoch == whole.progress.best_epoch
    assert same(weights(resumed.net), weights(whole.net))


def test_autocast_runs_forward_passes_in_bfloat16_and_keeps_everything_in_float32():
    seen = []
    net = new_net()
    net.body.layer1.register_forward_hook(lambda module, given, out: seen.append((module.training, out.dtype)))
    config = Train(epochs=2, autocast="always", adversarial_ratio=0.5, **ADVERSARY)
    progress = train(net, config)
    assert {dtype for training, dtype in seen if training} == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert progress.optimizer.state[net.body.layer1.weight]["exp_avg"].dtype == torch.float32
    assert progress.passes == train(new_net(), Train(epochs=2, adversarial_ratio=0.5, **ADVERSARY)).passes


def test_autocast_trains_as_well_and_for_a_gpu_alone_changes_nothing_here():
    plain, half, gpu = new_net(), new_net(), new_net()
    for net, autocast in ((plain, ""), (half, "always"), (gpu, "gpu")):
        train(net, Train(epochs=15, learning_rate=0.01, autocast=autocast))
    assert same(weights(plain), weights(gpu))
    assert not same(weights(plain), weights(half))
    assert abs(training.evaluate(plain, DATA.test)[0] - training.evaluate(half, DATA.test)[0]) < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of '', 'adam', 'sgd', got 'lion'"),
        ({"schedule": "linear"}, "schedule must be one of '', 'cosine', 'multistep', got 'linear'"),
        ({"loss": "hinge"}, "loss must be one of '', 'label_smoothing', got 'hinge'"),
        ({"stop_on": "luck"}, "stop_on must be one of '', 'accuracy', 'adversarial_accuracy', got 'luck'"),
        ({"autocast": "fp8"}, "autocast must be one of '', 'gpu', 'always', got 'fp8'"),
        ({"momentum": 0.9}, "momentum goes with optimizer sgd, got adamw"),
        ({"stop_on": "adversarial_accuracy"}, "needs a train_eps above 0"),
    ],
)
def test_what_there_is_not_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        training.start(new_net(), Train(**options))
