"""Growth, alignment and boundaries on nets whose answers are known on paper."""

import pytest
import torch
from torch import nn

from study.attacks import ball
from study.nets.net import Net, features
from study.nets.splits import Dataset, Split
from study.spec.attack_names import RANDOM, current
from study.spec.config import Boundaries, Representations
from study.store.schema import check
from study.trial.measures.boundaries import boundaries
from study.trial.measures.representations import first_directions, isotropic, representations
from study.trial.state import State
from tests.attack_cases import digits, stream

APGD = current("native", "apgd")


def state_of(net, x, y):
    part = Split(pixels=x, y=y)
    data = Dataset(name="made", train=part, validation=part, test=part, classes=net(x[:1]).shape[1],
                   mean=(0.0,), std=(1.0,))  # fmt: skip
    return State(seed=0, data=data, net=net.eval())


def deep_linear(scale=1.0):
    """Flatten, a hidden linear map of known singular directions, and a head that reads the first of its outputs."""
    n = 36
    Q = torch.linalg.qr(torch.randn(n, n, generator=stream(3)))[0]
    hidden, head = nn.Linear(n, n, bias=False), nn.Linear(n, 2, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(scale * torch.diag(torch.linspace(10, 1, n)) @ Q)
        head.weight.zero_()
        head.weight[1, 0], head.weight[0, 0] = 1.0, -1.0
    return Net(nn.Sequential(nn.Flatten(), hidden, head), (0.0,), (1.0,), ("1",))


def value(rows, measure, **where):
    found = [r["value"] for r in rows if r["measure"] == measure and all(r.get(k) == v for k, v in where.items())]
    assert len(found) == 1, (measure, where, found)
    return found[0]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_a_net_that_reads_the_first_direction_is_attacked_along_it(scale):
    """a* = eps v_1 in l_2, so |v_1' a| / ||a|| = 1, |v_i' a| = 0 else, and the growth is sigma_1 eps / ||z||."""
    net = deep_linear(scale)
    x = 0.4 + 0.2 * torch.rand(50, 1, 6, 6, generator=stream())
    y = net(x).argmax(1)
    rows = representations(state_of(net, x, y), Representations(norm="l2", eps=(0.1,), iterations=20))
    check(rows)
    assert value(rows, "direction_alignment", attack=APGD, k=1, layer="1") == pytest.approx(1.0, abs=1e-3)
    assert value(rows, "direction_alignment", attack=APGD, k=2, layer="1") < 0.02
    assert value(rows, "direction_alignment", attack=APGD, layer="top") == pytest.approx(0.25, abs=0.01)
    assert value(rows, "direction_ratio", attack=APGD) > 20
    grown = (10 * scale * 0.1 / features(net, x).norm(dim=1)).mean()
    assert value(rows, "representation_growth", attack=APGD) == pytest.approx(float(grown), rel=1e-2)
    assert value(rows, "representation_growth", attack=RANDOM) < 0.7 * float(grown)
    null = value(rows, "direction_alignment", layer="isotropic")
    for layer in ("top", "rest"):
        assert value(rows, "direction_alignment", attack=RANDOM, layer=layer) == pytest.approx(null, abs=0.05)


def test_the_isotropic_value_is_that_of_random_directions():
    u = torch.randn(20000, 49, generator=stream(), dtype=torch.float64)
    assert isotropic(49) == pytest.approx(float((u[:, 0].abs() / u.norm(dim=1)).mean()), rel=0.02)


def test_the_perturbation_is_taken_as_the_layer_is_given_it():
    """With std 1 and 0.1 per channel a perturbation of equal pixels lies almost wholly in the second channel."""
    hidden, head = nn.Linear(8, 8, bias=False), nn.Linear(8, 2, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(torch.diag(torch.arange(8.0, 0.0, -1.0)))
        head.weight.zero_()
        head.weight[1] = 1.0
    net = Net(nn.Sequential(nn.Flatten(), hidden, head), (0.5, 0.5), (1.0, 0.1), ("1",))
    x = torch.full((4, 2, 2, 2), 0.5)
    y = torch.ones(4, dtype=torch.long)
    rows = representations(state_of(net, x, y), Representations(norm="linf", eps=(0.1,), iterations=20, share=0.5))
    first, second = (value(rows, "direction_alignment", attack=APGD, layer=layer) for layer in ("top", "rest"))
    assert first == pytest.approx(0.1 * second, rel=0.05)
    assert second == pytest.approx(10 / (4 * 101) ** 0.5, rel=0.02)


def test_a_convolutional_net_has_growth_alone():
    body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    net = Net(body, (0.0,), (1.0,), ("3",)).eval()
    x = torch.rand(20, 1, 6, 6, generator=stream())
    assert first_directions(net, x) is None
    rows = representations(state_of(net, x, net(x).argmax(1)), Representations(norm="linf", eps=(0.1,), iterations=5))
    assert {r["measure"] for r in rows} == {"representation_growth"}


def test_no_budget_moves_nothing():
    net, x, y = digits()
    rows = representations(state_of(net, x, y), Representations(norm="linf", eps=(0.0,)))
    assert {r["value"] for r in rows if r["measure"] == "representation_growth"} == {0.0}
    assert {r.get("layer") for r in rows if r["measure"] == "direction_alignment"} == {"isotropic"}


def test_the_grid_of_a_linear_net_is_cut_by_its_line_and_small():
    net, x, y = digits()
    rows = boundaries(state_of(net, x, y), Boundaries(budgets=(("l2", 0.5),), side=21, points=4, iterations=5))
    check(rows)
    assert len(rows) < 400
    extent = [value(rows, "boundary_extent", layer="representation", k=k) for k in range(4)]
    cells = [r for r in rows if r["measure"] == "boundary_class" and r["layer"] == "representation"]
    runs = sorted((r["k"], r["value"]) for r in cells)
    z = features(net, x)
    axes = torch.linalg.svd(z - z.mean(0), full_matrices=False).Vh[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    for cell in (0, 20, 200, 440):
        across = extent[0] + (extent[1] - extent[0]) * (cell % 21) / 20
        up = extent[2] + (extent[3] - extent[2]) * (cell // 21) / 20
        place = z.mean(0) + torch.tensor([across, up]) @ axes
        assert [c for k, c in runs if k <= cell][-1] == float(net.body[-1](place).argmax())
    for i in range(4):
        flat = (z[i] - z.mean(0)) @ axes.T
        at = [value(rows, "boundary_point", layer="representation", draw=i, k=k, attack=None) for k in (0, 1)]
        assert at == pytest.approx(flat.tolist(), abs=1e-3)
        assert value(rows, "boundary_label", layer="true", draw=i) == float(y[i])
    worst = [value(rows, "boundary_point", layer="input", draw=0, k=k, attack=APGD) for k in (0, 1)]
    clean = [value(rows, "boundary_point", layer="input", draw=0, k=k, attack=None) for k in (0, 1)]
    assert float(ball.lengths(torch.tensor([worst]) - torch.tensor([clean]), "l2")) <= 0.5 + 1e-4
