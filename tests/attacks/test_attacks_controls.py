"""Positive controls and invariances: what is planted is found, and what changes no prediction changes no number."""

import functools

import pytest
import torch

from study.attacks import ATTACKS, art, ball
from tests.attack_cases import QUICK_ATTACKS, compressed, digits, distances, linear, stream

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
GRADIENTS = ["fgsm", "pgd", "apgd", "autoattack", "cw", "fab"]
TOOLBOX = {"art pgd": functools.partial(art.ATTACKS["pgd"], iterations=20),
           "art apgd": functools.partial(art.ATTACKS["apgd"], iterations=20),
           "art autoattack": functools.partial(art.ATTACKS["autoattack"], iterations=20, queries=20)}  # fmt: skip
CALLS = QUICK_ATTACKS | TOOLBOX
BUDGETS = {"linf": 0.08, "l2": 0.6}


class Around(torch.nn.Module):
    """The net with something done to its logits."""

    def __init__(self, net, change):
        super().__init__()
        self.net, self.change = net, change

    def forward(self, x):
        return self.change(self.net(x), x)


def planted(norm):
    """A net that is robust at eps, and the same with a trigger: nine pixels, which it does not look at else.

    Three classes are linear, the fourth never wins. It does where the nine pixels go along a pattern of signs by three
    quarters of what the ball allows; on the way there its logit grows by little.
    """
    net, x, _, _ = linear(3, scale=20.0, n=200)
    weight, pattern = net.body[1].weight.detach(), torch.randint(2, (9,), generator=stream(3)) * 2.0 - 1.0
    x[:, 0, 2:5, 2:5] = 0.5
    weight.view(3, 6, 6)[:, 2:5, 2:5] = 0.0
    y = net(x).argmax(1)
    exact = distances(weight, x, y)[norm]
    eps = float(exact.quantile(0.3))
    x, y = x[exact > 1.05 * eps], y[exact > 1.05 * eps]
    most = eps * (9 if norm == "linf" else 3)

    def fourth(logits, push):
        return torch.cat([logits, (logits.amax(1) - 0.8 + push)[:, None]], 1)

    def trigger(logits, z):
        along = (z[:, 0, 2:5, 2:5].flatten(1) - 0.5) @ pattern / most
        return fourth(logits, torch.where(along > 0.75, 50 * (along - 0.75) + 0.75, along))

    return Around(net, lambda logits, _: fourth(logits, 0)), Around(net, trigger), x, y, eps


@pytest.mark.parametrize("name", [*GRADIENTS, *TOOLBOX])
@NORMS
def test_a_planted_adversarial_example_is_found(name, norm):
    plain, spoilt, x, y, eps = planted(norm)
    assert bool((spoilt(x).argmax(1) == y).all())
    more = {"step": eps / 4} if (name, norm) == ("cw", "linf") else {}  # ten steps of 2/255 reach no further
    without, found = (CALLS[name](net, x, y, eps, norm, **more, generator=stream()) for net in (plain, spoilt))
    assert bool(without.robust.all())
    assert not bool(found.robust.any())
    assert bool((spoilt(found.first).argmax(1) == 3).all())


@pytest.mark.parametrize("name", CALLS)
def test_an_unbounded_attack_reaches_chance(name):
    net, x, y = digits()
    more = {"cw": {"step": 0.1, "iterations": 20}, "square": {"queries": 300}}.get(name, {})
    found = CALLS[name](net, x, y, 1.0, "linf", **more, generator=stream())
    assert float(found.robust.double().mean()) <= 0.1


@pytest.mark.parametrize("name", ["pgd", "apgd", "autoattack", "cw", "fab"])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e2, 1e4])
@NORMS
def test_four_classes_at_any_scale_have_their_exact_answer(name, scale, norm):
    net, x, y, exact = linear(4, scale=scale)
    for eps in exact[norm].quantile(torch.tensor([0.25, 0.5, 0.75])).tolist():
        found = QUICK_ATTACKS[name](net, x, y, eps, norm, generator=stream())
        assert not bool((~found.robust & (exact[norm] > eps * 1.0001)).any())
        sure = exact[norm] < eps * (0.97 if name != "cw" or norm == "linf" else 0.8)  # few searches for c
        assert not bool((found.robust & sure).any())


@functools.cache
def plain(name, kind, norm):
    net, x, y = compressed(kind)
    return QUICK_ATTACKS[name](net, x, y, BUDGETS[norm], norm, generator=stream()).robust


def moved(name, kind, norm, change, classes=None):
    """By how many of 360 images robust accuracy moves where the logits are changed."""
    net, x, y = compressed(kind)
    y = y if classes is None else classes[y]
    found = QUICK_ATTACKS[name](Around(net, change), x, y, BUDGETS[norm], norm, generator=stream())
    return abs(int(found.robust.sum()) - int(plain(name, kind, norm).sum()))


EVERY = pytest.mark.parametrize("name", ["fgsm", "pgd", "cw", "fab", "square", "apgd", "autoattack"])


@EVERY
@pytest.mark.parametrize("kind", ["dense", "masked"])
@NORMS
def test_the_scale_of_the_logits_is_of_no_account(name, kind, norm):
    """Half a point is 1.8 of 360 images."""
    for scale in (1e-4, 1e-2, 1e2, 1e4):
        assert moved(name, kind, norm, lambda z, _, c=scale: c * z) <= 1, scale


@EVERY
@NORMS
def test_a_power_of_two_in_the_logits_moves_nothing_at_all(name, norm):
    """Nothing is rounded then. A net of few levels gives many points the same margin, and the rounding of other factors
    parts them: its paths, Square's too, then lead elsewhere."""
    for power in (-13, 13):
        assert moved(name, "2 bits", norm, lambda z, _, c=2.0**power: c * z) == 0, power


@pytest.mark.parametrize("name", ATTACKS)
@NORMS
def test_a_constant_for_each_image_and_the_order_of_the_classes_are_of_no_account(name, norm):
    assert moved(name, "masked", norm, lambda z, x: z + 5 * x.flatten(1).sum(1, keepdim=True)) <= 1
    order = torch.randperm(10, generator=stream())
    assert moved(name, "masked", norm, lambda z, _: z[:, order], order.argsort()) <= 1


@NORMS
def test_several_attacks_leave_no_more_than_the_first_of_them(norm):
    net, x, y = compressed("2 bits")
    one = ATTACKS["apgd"](net, x, y, BUDGETS[norm], norm, iterations=6, generator=stream()).robust
    all_four = QUICK_ATTACKS["autoattack"](net, x, y, BUDGETS[norm], norm, generator=stream()).robust
    assert not bool((all_four & ~one).any())
    assert int(all_four.sum()) < int(one.sum())


@NORMS
def test_our_room_is_at_least_as_strong_as_the_toolbox_called_plainly(norm):
    """The same start, batch and number of iterations: what the last iterate shows, every iterate shows."""
    stronger = 0
    for kind in ("dense", "masked", "2 bits"):
        net, x, y = compressed(kind)
        right = net(x).argmax(1) == y
        x, y = x[right], y[right]
        for factor in (0.5, 1.0, 1.5):
            eps = factor * BUDGETS[norm]
            last = art.as_documented(net, x, y, eps, norm, iterations=20, restarts=1, batch_size=len(x),
                                     generator=stream())  # fmt: skip
            every = art.auto_pgd(net, x, y, eps, norm, iterations=20, generator=stream()).robust
            assert not bool((every & ~last).any()), "an image that plain ART fools stands here"
            stronger += int(last.sum()) - int(every.sum())
    assert stronger > 0 or norm == "linf"


def test_the_plain_toolbox_runs_unless_a_loss_is_exactly_zero():
    net, x, y = digits()
    with ball.frozen(net):
        from study.attacks.record import Record
        from study.attacks.recorder import Recorder

        for scale, quiet in ((1.0, 0), (1000.0, 1)):
            loud = Around(net, lambda z, _, c=scale: c * z)
            recorder = Recorder(Record(loud, x, y), 0.1, "linf")
            recorder.watch(recorder.record.all)
            assert torch.equal(recorder(x), loud(x))
            found = recorder.quiet(recorder.record.all)
            assert (len(found) > 0.8 * len(x)) == bool(quiet)
            recorder.watch(found, quiet=True)
            if quiet:
                top = recorder(x[found]).topk(2).values
                assert torch.allclose(top[:, 0] - top[:, 1], torch.tensor(10.0), rtol=1e-3)
