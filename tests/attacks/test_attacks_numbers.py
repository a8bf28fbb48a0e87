"""What is no number is never a success, and attacks work at any precision, without gradients and in inference mode."""

import copy
import functools

import pytest
import torch

from study.attacks import ATTACKS, art, ball
from study.attacks.losses import right
from study.attacks.recheck import AT_ONCE, recheck
from study.attacks.record import Record
from study.attacks.universal import judge, universal_fgsm, universal_pgd
from tests.attack_cases import QUICK, QUICK_ATTACKS, digits, linear, stream

TOOLBOX = {"fgsm": {}, "pgd": {"iterations": 5}, "apgd": {"iterations": 5}, "cw": {}, "square": {"queries": 20},
           "autoattack": {"iterations": 5, "queries": 20}}  # fmt: skip
CALLS = QUICK_ATTACKS | {f"art {name}": functools.partial(art.ATTACKS[name], **TOOLBOX[name]) for name in TOOLBOX}
EVERY = pytest.mark.parametrize("name", CALLS)
OURS = pytest.mark.parametrize("name", ATTACKS)
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


class _NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, value):
        ctx.value = value
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.full_like(gradient, ctx.value), None


class Lying(torch.nn.Module):
    """The net's own logits, and a gradient that is `value` everywhere."""

    def __init__(self, net, value):
        super().__init__()
        self.net, self.value = net, value

    def forward(self, x):
        return self.net(_NoGradient.apply(x, self.value))


class Broken(torch.nn.Module):
    """The net's own logits where `fine` (N,) holds of the images, NaN elsewhere."""

    def __init__(self, net, fine):
        super().__init__()
        self.net, self.fine = net, fine

    def forward(self, x):
        return self.net(x).where(self.fine(x)[:, None], torch.nan)


def some(name, norm, n=40):
    """Fewer samples for ART's l_inf Carlini and Wagner, which takes a second for each."""
    net, x, y = digits()
    n = 2 if (name, norm) == ("art cw", "linf") else n
    return net, x[:n], y[:n]


@EVERY
@NORMS
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_no_number_is_no_success(name, norm, value):
    net, x, y = some(name, norm)
    found = CALLS[name](Lying(net, value), x, y, 1e-6, norm, generator=stream())
    assert torch.equal(found.robust, net(x).argmax(1) == y)
    assert bool(found.first.isfinite().all())
    assert bool(found.worst.isfinite().all())
    assert bool(found.loss.isfinite().all())


@OURS
@NORMS
def test_a_gradient_in_part_no_number_is_climbed_by_its_other_part(name, norm):
    net, x, y, exact = linear()

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z.clone()

        @staticmethod
        def backward(ctx, gradient):
            return torch.cat([torch.full_like(gradient[..., :3], torch.nan), gradient[..., 3:]], -1)

    class Masked(torch.nn.Module):
        def forward(self, z):
            return net(Half.apply(z))

    found = QUICK_ATTACKS[name](Masked(), x, y, 4 * float(exact[norm].median()), norm, generator=stream())
    assert bool(found.first.isfinite().all())
    assert name in ("square", "random_points") or int(found.robust.sum()) < 0.3 * len(x)


@EVERY
@NORMS
def test_a_net_without_numbers_is_never_right(name, norm):
    net, x, y = some(name, norm)
    found = CALLS[name](Broken(net, lambda z: torch.zeros(len(z), dtype=torch.bool)), x, y, 0.05, norm,
                        generator=stream())  # fmt: skip
    assert not bool(found.robust.any())
    assert set(found.fell.tolist()) == {0}
    assert torch.equal(found.first, x)
    assert bool((found.loss == torch.inf).all()) or name.startswith("art")


@OURS
@NORMS
def test_no_number_at_a_point_of_numbers_is_a_misclassification(name, norm):
    """A net that breaks off the clean points is fooled there; its loss is infinite."""
    net, x, y = digits()
    clean = {tuple(row) for row in x.flatten(1).tolist()}
    fragile = Broken(net, lambda z: torch.tensor([tuple(row) in clean for row in z.flatten(1).tolist()]))
    more = {"iterations": 60} if name == "fab" else {}  # it comes from outside, a tenth of the way at a time
    found = QUICK_ATTACKS[name](fragile, x, y, 0.05, norm, **more, generator=stream())
    assert not bool(found.robust.any())
    moved = (found.first != x).flatten(1).any(1)
    assert torch.equal(moved, net(x).argmax(1) == y)
    assert bool((found.loss[moved] == torch.inf).all())
    assert bool(found.first.isfinite().all())


def test_points_that_are_no_numbers_count_for_nothing():
    net, x, y = digits()
    with ball.frozen(net):
        record = Record(net, x, y)
        before = record.loss.clone()
        for value in (torch.nan, torch.inf, -torch.inf):
            bad = x.clone()
            bad[:, :, 3, 3] = value
            assert not bool(record.judge(record.all, bad, torch.full((len(x), 10), torch.nan)).any())
            found = judge(net, x, y, torch.zeros_like(x[:1]))
            for point in ("first", "worst"):
                getattr(found, point)[:] = bad
            found.loss[:], found.robust[:] = torch.inf, False
            record.merge(record.all, found)
    assert torch.equal(record.robust, net(x).argmax(1) == y)
    assert torch.equal(record.loss, before)
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\]"):
        ball.check(bad, y, 0.1, "linf")


def test_logits_with_a_nan_are_never_right():
    z = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [0.0, torch.nan], [torch.inf, 0.0], [0.0, -torch.inf]])
    assert right(z, torch.zeros(5, dtype=torch.long)).tolist() == [True, False, False, True, True]
    assert right(z, torch.ones(5, dtype=torch.long)).tolist() == [False] * 5


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1.0, 1e20, 1e36])
@NORMS
def test_the_steepest_direction_has_unit_norm_at_any_scale(norm, scale):
    g = torch.randn(5, 1, 4, 4, generator=stream())
    direction = ball.steepest(scale * g, norm)
    assert torch.allclose(ball.lengths(direction, norm), torch.ones(5))
    assert torch.allclose(direction, ball.steepest(g, norm), atol=1e-6)
    assert not bool(ball.steepest(torch.zeros(2, 1, 4, 4), norm).any())


@EVERY
@NORMS
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_had_where_they_are_switched_off(name, norm, mode):
    net, x, y = some(name, norm, 20)
    eps = 0.1 if norm == "linf" else 0.8
    plain = CALLS[name](net, x, y, eps, norm, generator=stream())
    with mode():
        found = CALLS[name](net, x.clone(), y.clone(), eps, norm, generator=stream())
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    for field in ("first", "worst", "robust", "fell"):
        assert torch.equal(getattr(found, field), getattr(plain, field)), field


@pytest.mark.parametrize("method", [universal_fgsm, universal_pgd])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_universal_perturbations_without_gradients(method, mode):
    net, x, y = digits()
    plain = method(net, x, y, 0.1, "linf", generator=stream())
    with mode():
        assert torch.equal(method(net, x.clone(), y.clone(), 0.1, "linf", generator=stream()), plain)


@EVERY
@NORMS
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_nets_of_another_precision(name, norm, dtype):
    """Images stay float32 and are cast at the net's door: as for the net in float32, up to its rounding."""
    net, x, y = some(name, norm)
    other = copy.deepcopy(net).to(dtype)
    eps = 0.1 if norm == "linf" else 0.8
    found = CALLS[name](other, x, y, eps, norm, generator=stream())
    assert found.first.dtype == found.loss.dtype == torch.float32
    assert float(ball.lengths(found.first - x, norm).max()) <= eps + 1e-6
    assert torch.equal(other(found.first.to(dtype)).argmax(1) == y, found.robust)
    plain = CALLS[name](net, x, y, eps, norm, generator=stream())
    assert abs(int(found.robust.sum()) - int(plain.robust.sum())) <= (1 if dtype == torch.float64 else 4)
    assert all(p.dtype == dtype for p in other.parameters())


@OURS
@NORMS
def test_images_in_float64(name, norm):
    net, x, y = digits()
    eps = 0.1 if norm == "linf" else 0.8
    plain = QUICK_ATTACKS[name](net, x, y, eps, norm, generator=stream())
    for other in (copy.deepcopy(net).double(), net):
        found = QUICK_ATTACKS[name](other, x.double(), y, eps, norm, generator=stream())
        assert found.first.dtype == torch.float64
        assert abs(int(found.robust.sum()) - int(plain.robust.sum())) <= 2


@EVERY
@pytest.mark.parametrize(
    ("change", "words"),
    [({"y": torch.tensor([0, 10])}, r"y must lie in 0 to 9, the net's 10 classes, got \[10\]"),
     ({"y": torch.tensor([-1, 3])}, r"got \[-1\]"), ({"y": torch.tensor([0.0, 1.0])}, "type int64"),
     ({"y": torch.tensor([[0], [1]])}, r"per sample, got torch.int64 of shape \(2, 1\)"),
     ({"x": torch.full((2, 1, 8, 8), torch.nan)}, r"x must lie in \[0, 1\]"),
     ({"x": torch.full((2, 1, 8, 8), 0.5, dtype=torch.float16)}, "x must be float32 or float64")],
)  # fmt: skip
def test_labels_and_images_that_cannot_be_are_named(name, change, words):
    net, x, y = digits()
    with pytest.raises(ValueError, match=words):
        CALLS[name](net, **({"x": x[:2], "y": y[:2], "eps": 0.1, "norm": "linf"} | change), generator=stream())


@NORMS
def test_points_that_hold_at_another_batch_size(norm):
    net, x, y = digits()
    eps = 0.1 if norm == "linf" else 0.8
    found = ATTACKS["apgd"](net, x, y, eps, norm, iterations=10, generator=stream())
    assert 0 < int(found.robust.sum()) < len(x) - AT_ONCE
    assert not bool(recheck(net, x, y, eps, norm, found).any())
    fooled = ~found.robust
    clean_right = net(x).argmax(1) == y
    assert torch.equal(recheck(net, x, y, eps / 100, norm, found), fooled & clean_right)  # outside of a smaller ball
    for bad in (torch.full_like(x, torch.nan), x):
        found.first[:] = bad
        assert torch.equal(recheck(net, x, y, eps, norm, found), fooled & (clean_right | bad.isnan().any()))


def test_a_net_that_looks_at_its_batch_is_found_out():
    """Every image of a large batch is misclassified, none of a small one."""
    net, x, y = digits()

    class Crowd(torch.nn.Module):
        def forward(self, z):
            logits = net(z)
            return -logits if len(z) > AT_ONCE else logits

    found = ATTACKS["pgd"](Crowd(), x, y, 1e-6, "linf", iterations=2, generator=stream())
    assert torch.equal(recheck(Crowd(), x, y, 1e-6, "linf", found), ~found.robust & (net(x).argmax(1) == y))
    assert set(QUICK) == set(ATTACKS)
