"""Every native attack: exact on linear nets, inside ball and box, and leaving no trace."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from study.attacks import ATTACKS, ball, memory
from study.attacks.losses import log_odds
from study.attacks.pgd import pgd
from study.attacks.random_points import uniform_points
from study.attacks.universal import fooling_rate, judge, universal_fgsm, universal_pgd
from tests.attack_cases import QUICK_ATTACKS, digits, linear, stream
from tests.helpers import linear_net

EVERY = pytest.mark.parametrize("name", ATTACKS)
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
UNIVERSAL = {"fgsm": universal_fgsm, "pgd": universal_pgd}


@pytest.mark.parametrize("name", ["pgd", "apgd", "autoattack", "cw", "fab"])
@pytest.mark.parametrize("classes", [2, 5])
@NORMS
def test_linear_nets_fall_at_their_exact_distance(name, norm, classes):
    net, x, y, exact = linear(classes, scale=20.0)  # margins as trained nets have: cross-entropy sees one rival
    missed = []
    for eps in exact[norm].quantile(torch.tensor([0.25, 0.5, 0.9])).tolist():
        found = QUICK_ATTACKS[name](net, x, y, eps, norm, generator=stream())
        assert not bool((~found.robust & (exact[norm] > eps * 1.0001)).any()), "fooled beyond the exact distance"
        assert not bool((found.robust & (exact[norm] < eps / 1.25)).any()), "missed well inside the exact distance"
        missed.append(int((found.robust & (exact[norm] < eps)).sum()))
    assert sum(missed) <= 6


@NORMS
def test_fgsm_is_exact_on_two_classes(norm):
    net, x, y, exact = linear()
    for eps in exact[norm].quantile(torch.tensor([0.1, 0.25, 0.5, 0.9])).tolist():
        found = ATTACKS["fgsm"](net, x, y, eps, norm, generator=stream())
        sure = (exact[norm] - eps).abs() > 1e-5
        assert torch.equal(found.robust[sure], (exact[norm] > eps)[sure])


@EVERY
@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.4), ("l2", 0.3), ("l2", 3.0)])
def test_always_inside_ball_and_box(name, norm, eps):
    net, x, y = digits()
    found = QUICK_ATTACKS[name](net, x, y, eps, norm, generator=stream())
    for point in (found.first, found.worst):
        assert float(point.min()) >= 0
        assert float(point.max()) <= 1
        assert float(ball.lengths(point - x, norm).max()) <= eps + 1e-6


@EVERY
@NORMS
def test_the_result_says_what_its_points_show(name, norm):
    net, x, y = digits()
    found = QUICK_ATTACKS[name](net, x, y, 0.1 if norm == "linf" else 1.0, norm, generator=stream())
    assert torch.equal(net(found.first).argmax(1) == y, found.robust)
    assert torch.allclose(cross_entropy(net(found.worst), y, reduction="none"), found.loss, atol=1e-4)
    assert bool((found.loss >= cross_entropy(net(x), y, reduction="none") - 1e-5).all())
    assert torch.equal(found.first[found.robust], x[found.robust])
    if name not in ("random_points", "square"):
        assert int(found.robust.sum()) < 0.9 * len(x)


@EVERY
@NORMS
def test_robust_accuracy_falls_with_eps_and_starts_at_clean(name, norm):
    net, x, y = digits()
    clean = net(x).argmax(1) == y
    counts = []
    for eps in (0.0, 0.05, 0.2, 0.5) if norm == "linf" else (0.0, 0.5, 2.0, 5.0):
        found = QUICK_ATTACKS[name](net, x, y, eps, norm, generator=stream())
        assert not bool((found.robust & ~clean).any())
        counts.append(int(found.robust.sum()))
        if eps == 0:
            assert torch.equal(found.robust, clean)
            assert torch.equal(found.worst, x)
    assert counts == sorted(counts, reverse=True) or name == "cw"
    if name not in ("random_points", "square", "fgsm", "cw"):
        assert counts[-1] < 0.2 * counts[0]


@EVERY
@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_global_streams_are_left_as_found(name, training):
    net, x, y = copy.deepcopy(digits()[0]), *digits()[1:]
    net.train(training)
    net.body.layer1.eval()
    net.body.head.weight.requires_grad_(False)
    net.body.layer2.weight.grad = torch.ones_like(net.body.layer2.weight)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    kept = x[:10].clone()
    np.random.seed(7)
    torch.manual_seed(7)
    wanted = np.random.get_state()[1].copy(), torch.get_rng_state()
    for norm in ("linf", "l2"):
        QUICK_ATTACKS[name](net, x[:10], y[:10], 0.1, norm, generator=stream())
    assert net.training is training
    assert net.body.layer1.training is False
    assert [p.requires_grad for p in net.parameters()] == [True, True, False]
    assert torch.equal(net.body.layer2.weight.grad, torch.ones_like(net.body.layer2.weight))
    assert net.body.layer1.weight.grad is None
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(x[:10], kept)
    assert x.grad is None
    assert np.array_equal(np.random.get_state()[1], wanted[0])
    assert torch.equal(torch.get_rng_state(), wanted[1])


@EVERY
@NORMS
def test_the_same_generator_gives_the_same_answer(name, norm):
    net, x, y = digits()
    a, b = (QUICK_ATTACKS[name](net, x, y, 0.1, norm, generator=stream(3)) for _ in range(2))
    for field in ("first", "worst", "loss", "robust", "forward", "backward", "fell"):
        assert torch.equal(getattr(a, field), getattr(b, field))


@EVERY
def test_a_saturated_loss_does_not_stop_the_attack(name):
    """Logits a thousand times larger change no prediction, and float32 cross-entropy is exactly 0 on them."""
    for norm in ("linf", "l2"):
        plain, x, y, exact = linear()
        loud = linear(scale=1000.0)[0]
        eps = float(exact[norm].median())
        with torch.no_grad():
            assert float(cross_entropy(loud(x), y, reduction="none").median()) == 0
        a, b = (QUICK_ATTACKS[name](net, x, y, eps, norm, generator=stream()) for net in (plain, loud))
        assert abs(int(a.robust.sum()) - int(b.robust.sum())) <= 1
        if name not in ("random_points", "square"):
            assert int(b.robust.sum()) <= 0.55 * len(x)


def test_log_odds_order_points_as_cross_entropy_does():
    logits = 5 * torch.randn(200, 7, generator=stream())
    y = torch.randint(7, (200,), generator=stream(1))
    u = log_odds(logits, y)
    assert torch.allclose(torch.nn.functional.softplus(u), cross_entropy(logits, y, reduction="none"), atol=1e-5)
    assert float(log_odds(torch.tensor([[300.0, 0.0]]), torch.tensor([0]))) == -300.0


def counting():
    calls = {"forward": 0}

    class Counted(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            calls["forward"] += len(x)
            return self.net(x)

    return Counted, calls


@EVERY
@NORMS
def test_passes_are_counted_right(name, norm):
    net, x, y = digits()
    counted, calls = counting()
    watched = counted(net)
    memory.images(watched, x)  # looks at three images, once
    calls["forward"] = 0
    found = QUICK_ATTACKS[name](watched, x, y, 0.1, norm, generator=stream())
    assert int(found.forward.sum()) == calls["forward"]
    assert bool((found.backward <= found.forward).all())


@EVERY
@NORMS
def test_when_a_sample_fell_is_the_number_of_its_first_misclassified_point(name, norm):
    """Counted by hand: the points of one sample that the net is shown, one after the other."""
    net, x, y = digits()
    wrong = []

    class Watched(torch.nn.Module):
        def forward(self, points):
            logits = net(points)
            wrong.append(bool(((logits.argmax(1) != y[i]) & (ball.lengths(points - x, norm) <= eps + 1e-6)).any()))
            return logits

    eps, seen = (0.1 if norm == "linf" else 0.8), set()
    for i in range(20):
        watched, x = Watched(), digits()[1][i : i + 1]
        memory.images(watched, x)
        wrong.clear()
        found = QUICK_ATTACKS[name](watched, x, y[i : i + 1], eps, norm, generator=stream())
        assert int(found.fell) == (-1 if bool(found.robust) else wrong.index(True))
        assert int(found.fell) < int(found.forward)
        seen.add(int(found.fell))
    assert name in ("random_points", "square") or max(seen) > 0


def test_passes_of_simple_attacks_are_those_on_paper():
    net, x, y = digits()
    for name, options, forward, backward in (
        ("fgsm", {}, 3, 1),
        ("pgd", {"iterations": 10}, 1 + 6 + 6, 10),
        ("pgd", {"iterations": 10, "restarts": 3}, 1 + 3 * 12, 30),
        ("apgd", {"iterations": 10, "goal": "loss"}, 1 + 11, 10),
        ("apgd", {"iterations": 10, "goal": "loss", "restarts": 2, "targets": 3}, 1 + 66, 60),
        ("cw", {}, 1 + 11, 10),
        ("random_points", {"samples": 4}, 5, 0),
    ):
        found = ATTACKS[name](net, x, y, 0.05, "linf", **options, generator=stream())
        assert set(found.forward.tolist()) == {forward}, name
        assert set(found.backward.tolist()) == {backward}, name


@pytest.mark.parametrize("method", UNIVERSAL)
@NORMS
def test_the_universal_perturbation_is_the_mean_direction_on_one_class(method, norm):
    """All samples of one class, two classes, no box in the way: eps sign(w) and eps w / ||w||_2, w the difference."""
    net, x, _, _ = linear()
    w = (net.body[1].weight[1] - net.body[1].weight[0]).detach().view(1, 1, 6, 6)
    y = torch.zeros(len(x), dtype=torch.long)
    eps = 0.01 if norm == "linf" else 0.05
    delta = UNIVERSAL[method](net, x, y, eps, norm, generator=stream())
    assert torch.allclose(delta, eps * ball.steepest(w, norm), atol=1e-6)


@pytest.mark.parametrize("method", UNIVERSAL)
@NORMS
def test_universal_perturbations_fool_inside_the_ball(method, norm):
    net, x, y = digits()
    eps = 0.3 if norm == "linf" else 2.0
    delta, again = (UNIVERSAL[method](net, x, y, eps, norm, generator=stream()) for _ in range(2))
    assert torch.equal(delta, again)
    assert delta.shape == (1, *x.shape[1:])
    assert float(ball.lengths(delta, norm)) <= eps + 1e-6
    found = judge(net, x, y, delta)
    assert torch.equal(found.robust, (net(x).argmax(1) == y) & (net((x + delta).clamp(0, 1)).argmax(1) == y))
    noise = ball.random_edge(x[:1], eps, norm, stream())
    assert fooling_rate(net, x, delta) > 2 * fooling_rate(net, x, noise)
    assert fooling_rate(net, x, torch.zeros_like(delta)) == 0.0
    assert not bool(UNIVERSAL[method](net, x, y, 0.0, norm, generator=stream()).any())


@NORMS
def test_random_points_are_uniform_in_ball_and_box(norm):
    """Against plain rejection from the cube, in three dimensions with the box in the way on two sides."""
    centre = torch.tensor([0.05, 0.5, 0.97])
    x = centre.view(1, 1, 1, 3).repeat(20000, 1, 1, 1)
    (ours,) = uniform_points(x, 0.3, norm, 1, stream())
    ours = ours.flatten(1)
    cube = torch.rand(300000, 3, generator=stream(1))
    naive = cube[ball.lengths(cube - centre, norm) <= 0.3]
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    for a, b in ((ours, naive), ((ours - centre).square(), (naive - centre).square())):
        assert torch.allclose(a.quantile(levels, dim=0), b.quantile(levels, dim=0), atol=0.01)
    lengths = ball.lengths(ours - centre, norm).quantile(levels), ball.lengths(naive - centre, norm).quantile(levels)
    assert torch.allclose(*lengths, atol=0.006)
    assert torch.allclose(torch.corrcoef(ours.T), torch.corrcoef(naive.T), atol=0.03)


@NORMS
def test_each_random_point_is_another_and_many_are_those_of_one_stream(norm):
    x, one = torch.rand(300, 1, 4, 4, generator=stream()), stream(1)
    many = list(uniform_points(x, 0.3, norm, 3, stream(1)))
    assert all(torch.equal(z, *uniform_points(x, 0.3, norm, 1, one)) for z in many)
    assert not torch.equal(many[0], many[1])
    assert list(uniform_points(x, 0.3, norm, 0, stream())) == []


def test_random_points_where_the_box_is_smaller_than_the_ball():
    (drawn,) = uniform_points(torch.full((4000, 1, 2, 2), 0.1), 50.0, "l2", 1, stream())
    assert torch.allclose(
        drawn.flatten().quantile(torch.tensor([0.1, 0.5, 0.9])), torch.tensor([0.1, 0.5, 0.9]), atol=0.02
    )


def test_the_worst_point_of_more_iterations_is_no_better():
    net, x, y = digits()
    few, many = (pgd(net, x, y, 0.1, "linf", iterations=i, generator=stream()) for i in (4, 40))
    assert float(many.loss.mean()) > float(few.loss.mean())
    apgd = ATTACKS["apgd"](net, x, y, 0.1, "linf", iterations=40, goal="loss", generator=stream())
    assert float(apgd.loss.mean()) > 0.99 * float(many.loss.mean())


def test_attacks_agree_on_who_is_robust():
    """Strong attacks of different make miss at most a few of 120 samples that another one fools."""
    net, x, y = digits()
    for norm, eps in (("linf", 0.08), ("l2", 0.6)):
        masks = {k: QUICK_ATTACKS[k](net, x, y, eps, norm, generator=stream()).robust
                 for k in ("pgd", "apgd", "autoattack", "fab")}  # fmt: skip
        never = torch.stack(list(masks.values())).all(0)
        assert 0.1 * len(x) < int(never.sum()) < 0.9 * len(x)
        assert all(int((mask & ~never).sum()) <= 6 for mask in masks.values())


@NORMS
def test_projection_is_the_nearest_point(norm):
    delta = torch.randn(50, 1, 3, 3, generator=stream())
    inside = ball.project(delta, 0.7, norm)
    assert float(ball.lengths(inside, norm).max()) <= 0.7 + 1e-6
    assert torch.equal(ball.project(inside / 2, 0.7, norm), inside / 2)
    if norm == "linf":
        assert torch.equal(inside, delta.clamp(-0.7, 0.7))
    drawn = ball.random_delta(torch.zeros(500, 1, 3, 3), 0.7, norm, stream())
    assert 0.5 < float(ball.lengths(drawn, norm).max()) <= 0.7 + 1e-6
    assert torch.allclose(ball.lengths(ball.random_edge(delta, 0.7, norm, stream()), norm), torch.tensor(0.7))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"norm": "l1"}, "norm must be one of linf, l2"), ({"eps": -0.1}, "eps must be a finite number"),
     ({"eps": math.nan}, "eps must be a finite number"),
     ({"x": torch.full((2, 1, 6, 6), 2.0)}, r"x must lie in \[0, 1\]"),
     ({"y": torch.zeros(3, dtype=torch.long)}, "one non-zero length")],
)  # fmt: skip
@EVERY
def test_bad_input_names_the_argument(name, change, words):
    net, x, y, _ = linear(n=2)
    given = {"x": x, "y": y, "eps": 0.1, "norm": "linf"} | change
    with pytest.raises(ValueError, match=words):
        ATTACKS[name](net, **given, generator=stream())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [("apgd", {"loss": "hinge"}, "loss must be one of ce, dlr"), ("apgd", {"goal": "both"}, "goal must be one of"),
     ("apgd", {"iterations": 0}, "iterations must be a whole number"), ("pgd", {"restarts": 0}, "restarts must be"),
     ("autoattack", {"version": "plus"}, "version must be one of standard, pair"),
     ("square", {"share": 0.0}, "share must lie"), ("cw", {"step": -1.0}, "step must be positive"),
     ("random_points", {"samples": 0}, "samples must be")],
)  # fmt: skip
def test_bad_options_name_the_argument(name, options, words):
    net, x, y, _ = linear(n=2)
    with pytest.raises(ValueError, match=words):
        ATTACKS[name](net, x, y, 0.1, "linf", **options, generator=stream())


def test_targets_and_ratios_with_few_classes():
    """DLR needs a third logit and targeted DLR a fourth: with fewer the plain differences are climbed."""
    for classes in (2, 3, 4):
        net, x, y, exact = linear(classes)
        eps = float(exact["linf"].median())
        for options in ({"loss": "dlr"}, {"targets": 9}):
            found = ATTACKS["apgd"](net, x, y, eps, "linf", iterations=20, **options, generator=stream())
            assert not bool((found.robust & (exact["linf"] < eps / 1.25)).any())
            assert bool(found.robust.any())


def test_wrong_samples_count_as_fooled_with_their_clean_point():
    net = linear_net(torch.randn(3, 36, generator=stream()), (1, 6, 6))
    x = torch.rand(20, 1, 6, 6, generator=stream())
    wrong = (net(x).argmax(1) + 1) % 3
    for name, attack in QUICK_ATTACKS.items():
        found = attack(net, x, wrong, 0.1, "linf", generator=stream())
        assert not bool(found.robust.any()), name
        assert torch.equal(found.first, x)
