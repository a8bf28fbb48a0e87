"""Attacks in batches from a memory budget: the same answers at any batch size, memory that the count does not move."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from study.attacks import ATTACKS, ball, draws, memory
from tests.attack_cases import QUICK_ATTACKS, digits, linear, stream

EVERY = pytest.mark.parametrize("name", ATTACKS)
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


def both(name, net, x, y, eps, norm, **options):
    """An attack in batches of seven and on all images at once, and where their streams end."""
    out = []
    for size in (7, len(x)):
        generator = stream(5)
        found = QUICK_ATTACKS[name](net, x, y, eps, norm, batch_size=size, generator=generator, **options)
        out.append((found, generator.get_state()))
    return out


class Exactly(nn.Module):
    """A net computed in float64: in float32 some processors add up the products of a batch of 7 in another order than
    those of 60, which is no doing of an attack."""

    def __init__(self, net):
        super().__init__()
        self.net = net.double()

    def forward(self, x):
        return self.net(x.double()).float()


@EVERY
@NORMS
@pytest.mark.parametrize("classes", [2, 4])
def test_the_batch_size_changes_nothing_on_linear_nets(name, norm, classes):
    net, x, y, exact = linear(classes=classes)
    net = Exactly(net)
    eps = float(exact[norm].quantile(0.6))
    (parts, here), (whole, there) = both(name, net, x, y, eps, norm)
    assert torch.equal(parts.robust, whole.robust)
    assert torch.allclose(parts.loss, whole.loss, atol=1e-6)
    for field in ("first", "worst"):
        moved = float((getattr(parts, field) - getattr(whole, field)).abs().max())
        assert moved == 0 if norm == "linf" else moved < 1e-5, field  # lengths round by their place in a register
    assert torch.equal(here, there), "the generator was drawn from differently"
    assert 0 < int(whole.robust.sum()) < len(x) or name in ("square", "random_points")


@EVERY
@NORMS
def test_the_batch_size_changes_nothing_on_trained_nets(name, norm):
    net, x, y = digits()
    (parts, here), (whole, there) = both(name, net, x, y, 0.08 if norm == "linf" else 0.6, norm)
    assert torch.equal(parts.robust, whole.robust)
    assert torch.equal(here, there)
    same = (parts.worst - whole.worst).flatten(1).abs().amax(1) < 1e-4
    assert int((~same).sum()) <= 2, "a sign that rounding turned may move one image; more is another stream"


@NORMS
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pgd", {"iterations": 6, "restarts": 3}),
        ("apgd", {"iterations": 6, "restarts": 3}),
        ("apgd", {"iterations": 6, "goal": "loss"}),
        ("apgd", {"iterations": 6, "targets": 2}),
        ("fgsm", {"random_start": True}),
        ("fab", {"iterations": 3, "restarts": 2, "targets": 2}),
        ("square", {"queries": 20, "restarts": 2}),
    ],
)
def test_restarts_draw_the_same_in_any_batches(name, options, norm):
    net, x, y, exact = linear(classes=4)
    eps = float(exact[norm].median())
    out = [ATTACKS[name](net, x, y, eps, norm, batch_size=n, generator=stream(1), **options) for n in (7, 16, len(x))]
    for other in out[:2]:
        assert torch.allclose(other.worst, out[2].worst, rtol=0, atol=0 if norm == "linf" else 1e-5)
        assert torch.equal(other.robust, out[2].robust)


@NORMS
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 6, 6), (1, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize("draw", ["deltas", "edges"])
def test_perturbations_drawn_in_parts_are_those_of_one_draw(draw, shape, norm):
    """torch makes normals in blocks of sixteen and the last block anew: naive parts would differ."""
    x = torch.rand(53, *shape, generator=stream())
    whole = {"deltas": ball.random_delta, "edges": ball.random_edge}[draw]
    for sizes in ([7] * 7 + [4], [16, 16, 21], [52, 1], [53], [1] * 53):
        one, many = stream(2), stream(2)
        wanted = whole(x, 0.3, norm, one)
        parts = torch.arange(53).split(sizes)
        assert torch.equal(torch.cat(list(getattr(draws, draw)(x, parts, 0.3, norm, many))), wanted)
        assert torch.equal(one.get_state(), many.get_state())


def test_an_empty_list_of_parts_draws_nothing():
    generator = stream()
    before = generator.get_state()
    assert list(draws.deltas(torch.rand(3, 1, 2, 2), [], 0.1, "l2", generator)) == []
    assert torch.equal(before, generator.get_state())


class Wide(nn.Module):
    """Keeps exactly two activations of a thousand numbers for each image."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1000))

    def forward(self, x):
        h = x.flatten(1).sum(1, keepdim=True) * self.weight
        return h.tanh().exp()[:, :2]


def test_the_bytes_of_an_image_are_those_kept_for_the_backward_pass():
    net = Wide()
    x = torch.rand(9, 1, 2, 2, generator=stream())
    counted = memory.bytes_per_image(net, x)
    assert counted == 2 * 4000 + memory.GRADIENTS * 4000 + memory.COPIES * 16


def test_a_budget_is_kept_and_never_below_one_image():
    net = Wide()
    x = torch.rand(9, 1, 2, 2, generator=stream())
    with ball.frozen(net):
        one = memory.bytes_per_image(net, x)
        assert memory.images(net, x, budget=3 * one) == 3
        assert memory.images(net, x, budget=1) == 1
        assert memory.images(net, x) == 9
        assert memory.images(net, x[:4], budget=10**12) == 4


@EVERY
def test_no_forward_pass_sees_more_than_a_batch(name, monkeypatch):
    net, x, y = digits()
    longest = []
    net.register_forward_hook(lambda module, given, out: longest.append(len(given[0])))
    monkeypatch.setattr(memory, "BUDGET", 11 * memory.bytes_per_image(net, x))
    try:
        for norm in ("linf", "l2"):
            QUICK_ATTACKS[name](net, x, y, 0.05, norm, generator=stream())
    finally:
        net._forward_hooks.clear()
    assert max(longest) <= 11


@pytest.mark.parametrize("size", [-1, 1.5])
def test_a_batch_size_that_is_none_is_refused(size):
    net, x, y, _ = linear()
    for attack in ATTACKS.values():
        with pytest.raises(ValueError, match="batch_size"):
            attack(net, x, y, 0.1, "linf", batch_size=size, generator=stream())


PEAK = """
import resource, sys, torch
from study.attacks import ATTACKS, memory
from study.nets.build import build
from study.spec.config import Build
torch.set_num_threads(1)
name, norm, count, memory.BUDGET = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
options = {"pgd": {"iterations": 2}, "apgd": {"iterations": 1}, "square": {"queries": 2}}[name]
net = build(Build(model="resnet18"), (3, 32, 32), 10, ((0.5,) * 3, (0.25,) * 3), 0)
x = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
y = torch.arange(count) % 10
ATTACKS[name](net, x, y, 8 / 255, norm, generator=torch.Generator().manual_seed(0), **options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(name, norm, count, budget=memory.BUDGET):
    """Peak resident bytes of attacking `count` CIFAR-shaped images with ResNet18, in a process of its own."""
    words = [sys.executable, "-c", PEAK, name, norm, str(count), str(budget)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return 1024 * int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_the_peak_of_an_attack_does_not_grow_with_the_images(name):
    """Beside images, points handed back and the heap's holes: a quarter of what their activations would take."""
    few, many = (peak(name, "l2", count, budget=2**28) for count in (400, 1200))  # some 300 images a batch
    assert many - few < 800 * 2**20 * 0.8 / 4


@pytest.mark.slow
def test_ten_thousand_images_are_attacked_below_three_gigabytes():
    assert peak("pgd", "l2", 10_000) < 3e9
