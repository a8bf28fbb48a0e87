"""Certificates: exact on linear nets, and no certified sample ever falls."""

import copy
import itertools

import pytest
import torch
from torch import nn

from study.attacks import certificate
from study.attacks.apgd import apgd
from study.attacks.random_points import uniform_points
from study.nets.net import LowRankLinear, Net
from tests.attack_cases import QUICK_ATTACKS, digits, linear, stream

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
LADDER = {"linf": (0.005, 0.01, 0.02, 0.04), "l2": (0.02, 0.05, 0.1, 0.2)}


def biased(depth, seed=0, width=24):
    """An untrained net with biases, odd normalisation and loud weights."""
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Flatten())
    sizes = [2 * 9] + [width] * depth
    for n, m in itertools.pairwise(sizes):
        body.extend([nn.Linear(n, m), nn.ReLU()])
    body.append(nn.Linear(sizes[-1], 5))
    return Net(body, (0.3, 0.6), (0.2, 0.5), ()).eval()


@NORMS
@pytest.mark.parametrize("classes", [2, 5])
def test_exact_on_linear_nets(norm, classes):
    net, x, y, exact = linear(classes)
    for eps in exact[norm].quantile(torch.tensor([0.2, 0.5, 0.8])).tolist():
        proven = certificate.safe(net, x, y, eps, norm)
        assert torch.equal(proven, exact[norm] > eps) or bool(
            ((exact[norm] - eps).abs() < 1e-5)[proven != (exact[norm] > eps)].all()
        )
        assert 0 < int(proven.sum()) < len(x)


@NORMS
@pytest.mark.parametrize(("eps", "right"), [(0.5, 1.0), (5.0, 1.0)])
def test_the_box_is_used(norm, eps, right):
    """z_0 - z_1 = x_1 - x_2 + 2 at (0, 1): neither pixel can move to lower it, so its least is its value there, 1."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
        layer.bias.copy_(torch.tensor([2.0, 0.0]))
    net = Net(nn.Sequential(nn.Flatten(), layer), (0.0,), (1.0,), ())
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert float(certificate.margins(net, x, torch.tensor([0]), eps, norm)) == pytest.approx(right, abs=1e-5)


@NORMS
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_margins_lie_below_every_point_of_the_ball(norm, depth):
    net = biased(depth, seed=depth)
    x = torch.rand(40, 2, 3, 3, generator=stream()).round(decimals=1)  # some pixels on the box
    y = net(x).argmax(1)
    for eps in LADDER[norm]:
        bound = certificate.margins(net, x, y, eps, norm)
        lowest = torch.full_like(bound, torch.inf)
        points = list(uniform_points(x, eps, norm, 20, stream()))
        points += [apgd(net, x, y, eps, norm, iterations=30, goal="loss", generator=stream()).worst]
        for point in points:
            logits = net(point).double().detach()
            own = logits.gather(1, y[:, None])
            lowest = torch.minimum(lowest, (own - logits).scatter(1, y[:, None], torch.inf).amin(1))
        assert bool((bound <= lowest).all())
        if depth == 1 and eps == LADDER[norm][0]:
            assert float((lowest - bound).median()) < 0.1 * float(lowest.median()), "vacuous"


@NORMS
@pytest.mark.parametrize("depth", [1, 2])
def test_no_certified_sample_is_ever_fooled(norm, depth):
    """Trained nets, every attack, at each rung of a ladder of radii up to where certificates end."""
    net, x, y = digits(depth)
    tried = 0
    for eps in LADDER[norm][1:]:
        proven = certificate.safe(net, x, y, eps, norm)
        if not bool(proven.any()):
            continue
        for name, attack in QUICK_ATTACKS.items():
            if (name, norm) == ("cw", "l2") and eps != LADDER[norm][1]:
                continue
            found = attack(net, x[proven], y[proven], eps, norm, generator=stream())
            assert bool(found.robust.all()), f"{name} fools a certified sample at {eps}"
            tried += int(proven.sum())
    assert tried > 1000


@NORMS
def test_wrong_samples_are_never_certified_and_radii_nest(norm):
    net, x, y = digits(1)
    wrong = (y + 1) % 10
    assert not bool(certificate.safe(net, x, torch.where(net(x).argmax(1) == y, wrong, y), 0.001, norm).any())
    masks = [certificate.safe(net, x, y, eps, norm) for eps in (0.0, *LADDER[norm])]
    assert all(not bool((b & ~a).any()) for a, b in itertools.pairwise(masks))
    assert torch.equal(masks[0], net(x).argmax(1) == y)
    assert 0 < int(masks[-1].sum()) < int(masks[1].sum())


def test_factors_are_certified_as_the_product_they_are():
    net, x, y = copy.deepcopy(digits(1)[0]), *digits(1)[1:]
    dense = net.body.layer1
    U, S, V = torch.linalg.svd(dense.weight.detach().double(), full_matrices=False)
    layer = LowRankLinear(64, 64, 64, None)
    with torch.no_grad():
        layer.A.copy_((U * S).float())
        layer.B.copy_(V.float())
    before = certificate.margins(net, x, y, 0.02, "linf")
    net.body.layer1 = layer
    assert torch.allclose(certificate.margins(net, x, y, 0.02, "linf"), before, atol=1e-2)
    assert torch.equal(certificate.safe(net, x, y, 0.02, "linf"), before > 0)


@NORMS
def test_certified_attacks_give_the_same_mask_for_less(norm):
    net, x, y = digits(1)
    eps = LADDER[norm][2]
    plain, spared = (
        apgd(net, x, y, eps, norm, iterations=30, restarts=2, certify=c, generator=stream()) for c in (False, True)
    )
    proven = certificate.safe(net, x, y, eps, norm)
    assert torch.equal(plain.robust, spared.robust)
    assert set(spared.forward[proven].tolist()) == {1}
    assert int(spared.backward.sum()) < 0.7 * int(plain.backward.sum())


def test_what_is_not_handled_is_named():
    net, x, y = digits(1)
    with pytest.raises(TypeError, match="needs a Net"):
        certificate.safe(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), x, y, 0.1, "linf")
    bent = Net(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)), (0.0,), (1.0,), ())
    with pytest.raises(TypeError, match="Tanh"):
        certificate.safe(bent, x, y, 0.1, "linf")
    open_ended = Net(nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU()), (0.0,), (1.0,), ())
    with pytest.raises(TypeError, match="ends in a Linear"):
        certificate.safe(open_ended, x, y, 0.1, "linf")
    with pytest.raises(ValueError, match="serve masks, not losses"):
        apgd(net, x, y, 0.1, "linf", certify=True, goal="loss", generator=stream())
    with pytest.raises(ValueError, match="eps must be"):
        certificate.safe(net, x, y, -0.1, "linf")


def test_coarser_nets_than_float32_have_no_certificate():
    net, x, y = digits()
    with pytest.raises(TypeError, match=r"the net's are coarser \(torch.bfloat16\)"):
        certificate.safe(copy.deepcopy(net).bfloat16(), x, y, 1e-5, "linf")
