"""Attacks on nets whose exact distance to the boundary is known, and every trap of the toolbox."""

import copy
import math

import numpy as np
import pytest
import torch

from study.attacks import ball
from study.attacks.art import auto_pgd
from study.attacks.pgd import pgd
from study.config import Load, Train
from study.data import load
from study.models import build
from study.train import epochs, start
from tests.helpers import linear_net

ATTACKS = {"pgd": pgd, "auto_pgd": auto_pgd}


@pytest.fixture(scope="module")
def trained():
    from study.config import Build

    data = load(Load(), 0)
    net = build(Build(width=64, depth=2), data.shape, 10, (data.mean, data.std), 0)
    progress = start(net, Train(epochs=8))
    for _ in epochs(net, data, Train(epochs=8), 0, progress):
        pass
    return net.eval(), data.test.x[:120], data.test.y[:120]


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def two_class(seed=0, n=60, scale=1.0):
    """A linear net, points away from the box's border, and each point's exact distances to the boundary."""
    generator = stream(seed)
    w = torch.randn(36, generator=generator)
    weight = scale * torch.stack([torch.zeros(36), w])
    x = 0.4 + 0.2 * torch.rand(n, 1, 6, 6, generator=generator)
    scores = x.flatten(1) @ w
    offset = scores.median()
    x = x - (offset / w.dot(w)) * w.view(1, 1, 6, 6)  # centre the boundary on the data
    x = x.clamp(0.2, 0.8)
    scores = x.flatten(1) @ w
    exact = {"linf": scores.abs() / w.abs().sum(), "l2": scores.abs() / w.norm()}
    return linear_net(weight, (1, 6, 6)), x, (scores > 0).long(), exact


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_nets_fall_at_their_exact_distance(name, norm):
    net, x, y, exact = two_class()
    for eps in (0.01, 0.03, 0.06):
        found = ATTACKS[name](net, x, y, eps, norm, iterations=20, generator=stream())
        assert not bool((~found.robust & (exact[norm] > eps * 1.0001)).any()), "fooled beyond the exact distance"
        assert not bool((found.robust & (exact[norm] < eps / 1.25)).any()), "missed well inside the exact distance"


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.4), ("l2", 0.3), ("l2", 3.0)])
def test_always_inside_ball_and_box(name, norm, eps, trained):
    net, x, y = trained
    found = ATTACKS[name](net, x, y, eps, norm, iterations=5, generator=stream())
    assert float(found.worst.min()) >= 0
    assert float(found.worst.max()) <= 1
    assert float(ball.lengths(found.worst - x, norm).max()) <= eps + 1e-6


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_robust_accuracy_falls_with_eps_and_starts_at_clean(name, norm, trained):
    net, x, y = trained
    clean = net(x).argmax(1) == y
    counts = []
    for eps in (0.0, 0.05, 0.2, 0.5) if norm == "linf" else (0.0, 0.5, 2.0, 5.0):
        found = ATTACKS[name](net, x, y, eps, norm, iterations=10, generator=stream())
        assert not bool((found.robust & ~clean).any())
        counts.append(int(found.robust.sum()))
    assert counts[0] == int(clean.sum())
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 0.2 * counts[0]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_global_streams_are_left_as_found(name, training, trained):
    net, x, y = copy.deepcopy(trained[0]), *trained[1:]
    net.train(training)
    net.body.layer1.eval()
    net.body.head.weight.requires_grad_(False)
    net.body.layer2.weight.grad = torch.ones_like(net.body.layer2.weight)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    np.random.seed(7)
    torch.manual_seed(7)
    wanted = np.random.get_state()[1].copy(), torch.get_rng_state()
    ATTACKS[name](net, x[:10], y[:10], 0.1, "linf", iterations=3, generator=stream())
    assert net.training is training
    assert net.body.layer1.training is False
    assert [p.requires_grad for p in net.parameters()] == [True, True, False]
    assert torch.equal(net.body.layer2.weight.grad, torch.ones_like(net.body.layer2.weight))
    assert net.body.layer1.weight.grad is None
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert np.array_equal(np.random.get_state()[1], wanted[0])
    assert torch.equal(torch.get_rng_state(), wanted[1])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_generator_gives_the_same_answer(name, trained):
    net, x, y = trained
    a, b = (ATTACKS[name](net, x, y, 0.06, "l2", iterations=5, generator=stream(3)) for _ in range(2))
    assert torch.equal(a.worst, b.worst)
    assert torch.equal(a.robust, b.robust)


def test_true_labels_are_attacked_not_predictions(trained):
    """Trap 2 of ART: without y it attacks the predicted label and may repair wrong samples."""
    net, x, _y = trained
    wrong = (net(x).argmax(1) + 1) % 10
    found = auto_pgd(net, x, wrong, 0.3, "linf", iterations=5, generator=stream())
    assert not bool(found.robust.any())


def test_any_iterate_counts(trained):
    """Trap 4 of ART: it tests its last iterate alone. Ours may only find more."""
    from art.attacks.evasion import AutoProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    net, x, y = trained
    ours, theirs = 0, 0
    for eps in (0.06, 0.08, 0.1):
        found = auto_pgd(net, x, y, eps, "linf", iterations=10, generator=stream())
        classifier = PyTorchClassifier(net, torch.nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1),
                                       device_type="cpu")  # fmt: skip
        attack = AutoProjectedGradientDescent(classifier, norm=np.inf, eps=eps, eps_step=2 * eps, max_iter=10,
                                              nb_random_init=1, batch_size=120, verbose=False)  # fmt: skip
        np.random.seed(int(torch.randint(2**31, (1,), generator=stream())))
        adversarial = torch.from_numpy(attack.generate(x.numpy(), y=y.numpy()))
        ours += int(found.robust.sum())
        theirs += int(((net(adversarial).argmax(1) == y) & (net(x).argmax(1) == y)).sum())
    assert ours <= theirs


def test_a_saturated_loss_does_not_stop_the_attack():
    """Trap 7 of ART: it stops when every loss is exactly 0. Logits a thousand times larger change nothing here."""
    for norm, eps in (("linf", 0.05), ("l2", 0.3)):
        plain, x, y, _ = two_class()
        loud = two_class(scale=1000.0)[0]
        for attack in ATTACKS.values():
            a = attack(plain, x, y, eps, norm, iterations=20, generator=stream())
            b = attack(loud, x, y, eps, norm, iterations=20, generator=stream())
            assert abs(int(a.robust.sum()) - int(b.robust.sum())) <= 1


def test_the_worst_point_is_worse_than_what_art_returns(trained):
    """ART returns the random start where it fails: its loss gap is too small."""
    net, x, y = trained
    eps = 0.05
    worst = pgd(net, x, y, eps, "linf", iterations=50, generator=stream())
    returned = auto_pgd(net, x, y, eps, "linf", iterations=20, generator=stream())
    clean = torch.nn.functional.cross_entropy(net(x), y, reduction="none")
    assert bool((worst.loss >= clean - 1e-6).all())
    assert float(worst.loss.mean()) > float(returned.loss.mean())
    recomputed = torch.nn.functional.cross_entropy(net(worst.worst), y, reduction="none")
    assert torch.allclose(recomputed, worst.loss, atol=1e-5)


def test_restarts_find_no_less(trained):
    net, x, y = trained
    one = auto_pgd(net, x, y, 1.0, "l2", iterations=5, restarts=1, generator=stream())
    three = auto_pgd(net, x, y, 1.0, "l2", iterations=5, restarts=3, generator=stream())
    assert not bool((three.robust & ~one.robust).any())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_is_the_nearest_point(norm):
    delta = torch.randn(50, 1, 3, 3, generator=stream())
    inside = ball.project(delta, 0.7, norm)
    assert float(ball.lengths(inside, norm).max()) <= 0.7 + 1e-6
    assert torch.equal(ball.project(inside / 2, 0.7, norm), inside / 2)
    if norm == "linf":
        assert torch.equal(inside, delta.clamp(-0.7, 0.7))
    drawn = ball.random_delta(torch.zeros(500, 1, 3, 3), 0.7, norm, stream())
    assert 0.5 < float(ball.lengths(drawn, norm).max()) <= 0.7 + 1e-6


@pytest.mark.parametrize(
    ("change", "words"),
    [({"norm": "l1"}, "norm must be one of linf, l2"), ({"eps": -0.1}, "eps must be a finite number"),
     ({"eps": math.nan}, "eps must be a finite number"),
     ({"x": torch.full((2, 1, 6, 6), 2.0)}, r"x must lie in \[0, 1\]"),
     ({"y": torch.zeros(3, dtype=torch.long)}, "one non-zero length")],
)  # fmt: skip
@pytest.mark.parametrize("name", ATTACKS)
def test_bad_input_names_the_argument(name, change, words):
    net, x, y, _ = two_class(n=2)
    given = {"x": x, "y": y, "eps": 0.1, "norm": "linf"} | change
    with pytest.raises(ValueError, match=words):
        ATTACKS[name](net, **given, generator=stream())
