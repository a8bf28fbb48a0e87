"""Feature maps on nets and clouds whose numbers are known on paper."""

import dataclasses

import pytest
import torch
from torch import nn

from study.nets.build import build
from study.nets.compression.quantize import quantize
from study.nets.net import Net, features, weighted
from study.nets.splits import Dataset, Split
from study.spec.attack_names import RANDOM, current
from study.spec.config import Build, FeatureMaps
from study.store.schema import check
from study.trial.measures.features import feature_maps, maps, overlap, perplexity, plane, shift
from study.trial.state import State
from tests.attack_cases import digits, stream
from tests.helpers import linear_net

APGD = current("native", "apgd")
QUICK = FeatureMaps(norm="linf", eps=0.1, iterations=5)


def state_of(net, x, y):
    part = Split(pixels=x, y=y)
    data = Dataset(name="made", train=part, validation=part, test=part, classes=net(x[:1]).shape[1],
                   mean=(0.0,), std=(1.0,))  # fmt: skip
    return State(seed=0, data=data, net=net.eval())


def value(rows, measure, **where):
    found = [r["value"] for r in rows if r["measure"] == measure and all(r.get(k) == v for k, v in where.items())]
    assert len(found) == 1, (measure, where, found)
    return found[0]


def numbers(rows):
    return {(r["measure"], r.get("layer"), r.get("attack")): r["value"] for r in rows if "draw" not in r}


@pytest.fixture
def no_plane(monkeypatch):
    """Without t-SNE, which takes a second for every layer."""
    monkeypatch.setattr("study.trial.measures.features.plane", lambda points, seed: torch.zeros(len(points), 2))


def test_a_linear_net_moves_as_arithmetic_says(no_plane):
    """Of weights w and -w the worst point moves every pixel by eps against sign(w): each logit by eps ||w||_1, and the
    two images' logits lie sqrt(2) |w'(x_0 - x_1)| apart."""
    w = torch.tensor([3.0, -1.0, 2.0, -2.0])
    net = linear_net(torch.stack([w, -w]), (1, 2, 2))
    x = torch.tensor([[0.6, 0.4, 0.5, 0.3], [0.5, 0.6, 0.5, 0.5]]).view(2, 1, 2, 2)
    rows = feature_maps(state_of(net, x, torch.tensor([0, 0])), QUICK)
    check(rows)
    moved = 2**0.5 * 0.1 * 8
    apart = 2**0.5 * abs(3 * 0.1 + 0.2 - 2 * -0.2)
    assert value(rows, "feature_shift", layer="last", attack=APGD) == pytest.approx(moved / apart, rel=1e-5)
    pixels = 0.1 * 2 / (0.1**2 + 0.2**2 + 0.2**2) ** 0.5
    for attack in (APGD, RANDOM):
        assert value(rows, "feature_shift", layer="input", attack=attack) == pytest.approx(pixels, rel=1e-5)
    assert value(rows, "feature_shift", layer="last", attack=RANDOM) < moved / apart
    assert value(rows, "feature_perplexity") == 1.0, "two images have three other points: a third of them"
    assert {r.get("layer") for r in rows} == {None, "input", "last"}


def test_an_identity_moves_as_far_as_the_pixels(no_plane):
    hidden, head = nn.Linear(9, 9, bias=False), nn.Linear(9, 2, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(torch.eye(9))
    net = Net(nn.Sequential(nn.Flatten(), hidden, head), (0.0,), (1.0,), ("1",))
    x = torch.rand(12, 1, 3, 3, generator=stream())
    found = numbers(feature_maps(state_of(net, x, net(x).argmax(1)), QUICK))
    for attack in (APGD, RANDOM):
        for measure in ("feature_shift", "feature_overlap"):
            assert found[measure, "last-1", attack] == pytest.approx(found[measure, "input", attack], rel=1e-6)


def test_a_budget_of_nothing_moves_nothing_and_mixes_wholly(no_plane):
    net, x, y = digits()
    found = numbers(feature_maps(state_of(net, x, y), dataclasses.replace(QUICK, eps=0.0, images=40)))
    assert {v for (m, _, _), v in found.items() if m == "feature_shift"} == {0.0}
    assert {v for (m, _, _), v in found.items() if m == "feature_overlap"} == {1.0}
    assert {layer for _, layer, _ in found} == {None, "input", "last-2", "last-1", "last"}


def test_a_layer_that_is_multiplied_has_the_same_numbers(no_plane):
    """A layer of a ReLU net times 100, its bias too, multiplies all behind it, up to the head's bias (here without)."""
    net = build(Build(model="cnn8", width_multiplier=0.25), (1, 8, 8), 10, ((0.5,), (0.5,)), 0).eval()
    with torch.no_grad():
        for layer in list(weighted(net).values())[-2:]:
            layer.bias.zero_()
    x = torch.rand(30, 1, 8, 8, generator=stream())
    y = net(x).argmax(1)
    before = numbers(feature_maps(state_of(net, x, y), QUICK))
    with torch.no_grad():
        for p in weighted(net)["conv6"].parameters():
            p.mul_(100.0)
    after = numbers(feature_maps(state_of(net, x, y), QUICK))
    assert after == pytest.approx(before, rel=2e-3)
    assert before["feature_shift", "last", APGD] > 0


def test_two_clusters_do_not_overlap_and_one_cloud_does():
    a, b = torch.randn(2, 60, 5, generator=stream(), dtype=torch.float64)
    assert overlap(a, b + 100) == 0.0
    assert overlap(a, b) == pytest.approx(1.0, abs=0.1)
    assert overlap(a, a) == 1.0, "a point and its partner are equally far: each counts for its part"
    swapped = torch.tensor([[0.0], [100.0]], dtype=torch.float64)
    assert overlap(swapped, swapped.flip(0), nearest=1) == 2.0, "each among the other kind alone"


def test_the_own_partner_is_no_neighbour():
    """Images far apart, each beside its own worst point: who counted partners would find nothing but the other kind."""
    a = 1000 * torch.randn(30, 4, generator=stream(), dtype=torch.float64)
    near = a + 1e-3 * torch.randn(30, 4, generator=stream(1), dtype=torch.float64)
    assert overlap(a, near, nearest=10) == pytest.approx(1.0, abs=0.05)
    assert overlap(a, near, nearest=1) == pytest.approx(1.0, abs=0.5)


def test_overlap_is_that_of_a_plain_count():
    a, b = torch.randn(2, 9, 3, generator=stream(7), dtype=torch.float64)
    b = b + 3
    points, shares = torch.cat([a, b]), []
    for i, p in enumerate(points):
        others = [j for j in range(18) if j % 9 != i % 9]
        nearest = sorted(others, key=lambda j, p=p: float((points[j] - p).norm()))[:4]
        shares.append(sum((j >= 9) != (i >= 9) for j in nearest) / 4)
    assert overlap(a, b, nearest=4) == pytest.approx(sum(shares) / 18 / 0.5)
    assert 0 < overlap(a, b, nearest=4) < 1


def test_a_shift_has_no_scale_where_all_images_are_one_point():
    same = torch.ones(5, 3, dtype=torch.float64)
    assert shift(same, same) == 0.0
    assert shift(same, same + 1) is None


@pytest.mark.parametrize(
    ("model", "shape"),
    [("fcn", (1, 8, 8)), ("cnn8", (1, 8, 8)), ("resnet18", (3, 32, 32)), ("vit", (3, 32, 32))],
)
def test_layers_are_known_by_their_place(model, shape):
    """The last is the head, the one before it what the head is given, and its own input what comes before."""
    sizes = {"fcn": {"width": 24}, "vit": {"width": 32, "depth": 1}}.get(model, {"width_multiplier": 0.25})
    net = build(Build(model=model, **sizes), shape, 24 if model == "fcn" else 7, ((0.5,), (0.5,)), 0).eval()
    x = torch.rand(3, *shape, generator=stream())
    found = maps(net, x, 3)
    assert list(found) == ["input", "last-2", "last-1", "last"]
    assert torch.equal(found["input"].float(), x.flatten(1))
    with torch.no_grad():
        assert torch.allclose(found["last"].float(), net(x))
    assert torch.allclose(found["last-1"].float(), features(net, x))
    if model in ("fcn", "cnn8"):
        last_hidden = list(weighted(net).values())[-2]
        with torch.no_grad():
            assert torch.allclose(last_hidden(found["last-2"].float()).relu(), features(net, x), atol=1e-6)
    assert list(maps(net, x, 1)) == ["input", "last"]


def test_a_quantized_net_is_seen_on_its_levels():
    net, x, _ = digits()
    found = maps(quantize(net, 2, [x]), x, 2)
    assert len(found["last-1"].unique()) <= 4
    assert len(maps(net, x, 2)["last-1"].unique()) > 4


def test_one_class_alone_and_at_most_so_many_images(no_plane):
    net, x, y = digits()
    rows = feature_maps(state_of(net, x, y), dataclasses.replace(QUICK, label=3, images=5))
    assert value(rows, "feature_shift", layer="last", attack=APGD) > value(
        rows, "feature_shift", layer="last", attack=RANDOM
    )
    assert {r["n"] for r in rows if "n" in r} == {5}
    three = State(seed=0, data=state_of(net, x[y == 3][:5], y[y == 3][:5]).data, net=net)
    assert feature_maps(three, QUICK) == rows
    with pytest.raises(ValueError, match="1 test images of class 3 are too few"):
        feature_maps(state_of(net, x[y == 3][:1], y[y == 3][:1]), dataclasses.replace(QUICK, label=3))


def test_pgd_says_so(no_plane):
    net, x, y = digits()
    rows = feature_maps(state_of(net, x, y), dataclasses.replace(QUICK, attack="pgd", images=10))
    assert {r["attack"] for r in rows if "attack" in r} == {current("native", "pgd"), RANDOM}


def test_a_plane_keeps_two_clusters_apart_and_repeats():
    a, b = torch.randn(2, 20, 6, generator=stream(), dtype=torch.float64)
    points = torch.cat([a, b + 50])
    found = plane(points, 2**40 + 1)
    assert found.shape == (40, 2)
    assert torch.equal(found, plane(points, 2**40 + 1))
    far = torch.cdist(found, found)
    assert far[:20, 20:].min() > far[:20, :20].median()
    assert torch.equal(plane(torch.ones(6, 3, dtype=torch.float64), 0), torch.zeros(6, 2, dtype=torch.float64))
    assert plane(torch.arange(8.0, dtype=torch.float64)[:, None], 0).isfinite().all(), "one feature alone"
    assert perplexity(200) == 30.0
    assert perplexity(4) == 1.0


def test_the_points_are_rows_of_both_kinds():
    net, x, y = digits()
    rows = feature_maps(state_of(net, x, y), dataclasses.replace(QUICK, layers=1, images=6))
    check(rows)
    points = [r for r in rows if r["measure"] == "feature_point"]
    assert len(points) == 2 * 2 * 6 * 2
    assert {(r.get("attack"), r.get("eps")) for r in points} == {(None, None), (APGD, 0.1)}
    assert sorted({r["draw"] for r in points}) == list(range(6))
