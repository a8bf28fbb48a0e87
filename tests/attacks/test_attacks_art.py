"""The toolbox's attacks behind our signature, and every trap of the toolbox."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from study.attacks import art, ball
from study.attacks.art import auto_pgd
from study.attacks.pgd import pgd
from study.attacks.universal import fooling_rate
from tests.attack_cases import digits, linear, stream

QUICK = {
    "fgsm": {},
    "pgd": {"iterations": 10},
    "apgd": {"iterations": 10},
    "autoattack": {"iterations": 10, "queries": 20},
    "cw": {},
    "square": {"queries": 50},
}
CALLS = {name: functools.partial(attack, **QUICK[name]) for name, attack in art.ATTACKS.items()}
EVERY = pytest.mark.parametrize("name", CALLS)


def some(name, norm):
    """Fewer samples for ART's l_inf Carlini and Wagner, which takes them one by one."""
    net, x, y = digits()
    n = 2 if (name, norm) == ("cw", "linf") else 60
    return net, x[:n], y[:n]


@EVERY
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.12), ("l2", 0.7)])
def test_the_same_signature_and_the_same_promises(name, norm, eps):
    """Inside ball and box; what the result says is what its points show; the same seed, the same answer; no trace."""
    net, x, y = some(name, norm)
    net = copy.deepcopy(net).train()
    net.body.layer1.weight.grad = torch.ones_like(net.body.layer1.weight)
    np.random.seed(7)
    random.seed(7)
    torch.manual_seed(7)
    wanted = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    found, again = (CALLS[name](net, x, y, eps, norm, generator=stream()) for _ in range(2))
    assert np.array_equal(np.random.get_state()[1], wanted[0])
    assert random.getstate() == wanted[1]
    assert torch.equal(torch.get_rng_state(), wanted[2])
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(net.body.layer1.weight.grad, torch.ones_like(net.body.layer1.weight))
    assert net.body.layer2.weight.grad is None
    for field in ("first", "worst", "robust", "forward", "backward"):
        assert torch.equal(getattr(found, field), getattr(again, field))
    net.eval()
    for point in (found.first, found.worst):
        assert float(point.min()) >= 0
        assert float(point.max()) <= 1
        assert float(ball.lengths(point - x, norm).max()) <= eps + 2e-6
    assert torch.equal(net(found.first).argmax(1) == y, found.robust)
    assert torch.allclose(cross_entropy(net(found.worst), y, reduction="none"), found.loss, atol=1e-4)
    assert int(found.forward.min()) >= 1
    if name != "square":
        assert int(found.backward[found.robust].min()) >= 1
        # at ART's own settings its l_inf Carlini and Wagner finds nothing near these two
        assert int(found.robust.sum()) < len(x) or (name, norm) == ("cw", "linf")


@EVERY
def test_no_radius_gives_clean_accuracy(name):
    net, x, y = digits()
    found = CALLS[name](net, x, y, 0, "linf", generator=stream())
    assert torch.equal(found.robust, net(x).argmax(1) == y)
    assert torch.equal(found.worst, x)


@pytest.mark.parametrize("name", ["pgd", "apgd", "autoattack"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_nets_fall_at_their_exact_distance(name, norm):
    net, x, y, exact = linear(5, scale=20.0)
    for eps in exact[norm].quantile(torch.tensor([0.25, 0.5, 0.9])).tolist():
        found = CALLS[name](net, x, y, eps, norm, generator=stream())
        assert not bool((~found.robust & (exact[norm] > eps * 1.0001 + 1e-6)).any())
        assert not bool((found.robust & (exact[norm] < eps / 1.25)).any())


def test_true_labels_are_attacked_not_predictions():
    """Trap 2: without y ART attacks the predicted label and may repair wrong samples."""
    net, x, _ = digits()
    wrong = (net(x).argmax(1) + 1) % 10
    for call in CALLS.values():
        assert not bool(call(net, x, wrong, 0.3, "linf", generator=stream()).robust.any())


def test_any_iterate_counts():
    """Trap 4: ART tests its last iterate alone. Ours may only find more."""
    from art.attacks.evasion import AutoProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    net, x, y = digits()
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


def test_the_recorder_survives_a_new_classifier():
    """Trap 6: loss_type builds another classifier around the net; iterates are still judged and passes counted."""
    net, x, y = digits()
    eps = 0.1
    found = auto_pgd(net, x, y, eps, "linf", iterations=10, loss="dlr", generator=stream())
    assert int(found.backward.max()) >= 10
    better = found.robust & (net(found.worst).argmax(1) != y)
    assert not bool(better.any())
    plain = auto_pgd(net, x, y, eps, "linf", iterations=10, generator=stream())
    assert abs(int(found.robust.sum()) - int(plain.robust.sum())) <= 6


def test_a_saturated_loss_does_not_stop_the_attack():
    """Trap 7: ART stops when every loss is exactly 0. Logits a thousand times larger change nothing here."""
    for norm in ("linf", "l2"):
        plain, x, y, exact = linear()
        loud = linear(scale=1000.0)[0]
        eps = float(exact[norm].median())
        a, b = (auto_pgd(net, x, y, eps, norm, iterations=20, generator=stream()) for net in (plain, loud))
        assert abs(int(a.robust.sum()) - int(b.robust.sum())) <= 3  # other random starts
        assert int(b.robust.sum()) < 0.6 * len(x)


def test_the_worst_point_is_worse_than_what_art_returns():
    """ART returns the random start where it fails: its loss gap is too small."""
    net, x, y = digits()
    worst = pgd(net, x, y, 0.05, "linf", iterations=50, generator=stream())
    returned = auto_pgd(net, x, y, 0.05, "linf", iterations=20, generator=stream())
    assert float(worst.loss.mean()) > float(returned.loss.mean())


def test_restarts_find_no_less():
    net, x, y = digits()
    one = auto_pgd(net, x, y, 1.0, "l2", iterations=5, restarts=1, generator=stream())
    three = auto_pgd(net, x, y, 1.0, "l2", iterations=5, restarts=3, generator=stream())
    assert not bool((three.robust & ~one.robust).any())


@pytest.mark.parametrize("attacker", ["fgsm", "pgd", "deepfool"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.3), ("l2", 2.0)])
def test_the_universal_perturbation_fools_inside_the_ball(attacker, norm, eps):
    net, x, y = digits()
    x, y = x[:40], y[:40]
    delta = art.universal(net, x, y, eps, norm, attacker=attacker, epochs=2, generator=stream())
    assert delta.shape == (1, *x.shape[1:])
    assert float(ball.lengths(delta, norm)) <= eps + 1e-6
    assert fooling_rate(net, x, delta) > fooling_rate(net, x, ball.random_edge(x[:1], eps, norm, stream()))
    assert not bool(art.universal(net, x, y, 0, norm, generator=stream()).any())


@pytest.mark.parametrize(
    ("change", "words"),
    [({"norm": "l1"}, "norm must be one of"), ({"eps": -1.0}, "eps must be a finite"), ({"loss": "hinge"}, "loss must"),
     ({"batch_size": 0}, "batch_size must"), ({"loss": "dlr"}, "at least 3 classes")],
)  # fmt: skip
def test_bad_input_names_the_argument(change, words):
    net, x, y, _ = linear(2, n=4)
    with pytest.raises(ValueError, match=words):
        auto_pgd(net, **({"x": x, "y": y, "eps": 0.1, "norm": "linf"} | change), generator=stream())
