"""The norms of convolutions among a net's structure rows: those of the maps, on the images that the layers meet."""

import math

import pytest
import torch
from torch import nn

from study.nets.net import Net
from study.nets.splits import Dataset, Split
from study.spec.config import Structure
from study.theory.bounds import layer_bounds
from study.trial.measures.structure import structure
from study.trial.state import State
from tests.helpers import hidden_of


def state(body, shape, classes=2):
    """A trial that has come to a net of one's own, on empty images of `shape`."""
    split = Split(pixels=torch.zeros(2, *shape), y=torch.zeros(2, dtype=torch.int64))
    data = Dataset(name="none", train=split, validation=split, test=split, classes=classes, mean=(0.0,) * shape[0],
                   std=(1.0,) * shape[0])  # fmt: skip
    torch.manual_seed(0)
    return State(seed=0, data=data, net=Net(body, data.mean, data.std, hidden_of(body)))


def numbers(body, shape):
    """Values of the structure rows by measure, layer and norm."""
    rows = structure(state(body, shape), Structure())
    return {(r["measure"], r.get("layer"), r.get("norm")): r["value"] for r in rows}


def test_ones_on_an_image_of_eight():
    body = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(64, 2))
    body[1].weight.data.fill_(1.0)
    found = numbers(body, (1, 8, 8))
    assert found["operator_norm", "1", "l2"] == pytest.approx((1 + 2 * math.cos(math.pi / 9)) ** 2)  # 8.29
    assert found["operator_norm_certified", "1", "l2"] == pytest.approx(9)
    assert found["operator_norm_matricised", "1", "l2"] == pytest.approx(3)
    assert found["operator_norm_bound", "1", "l2"] >= 9 * (1 - 1e-9)
    assert found["operator_norm", "1", "linf"] == found["operator_norm_matricised", "1", "linf"] == 9


def test_bounds_lie_on_their_sides_for_every_convolution_of_a_resnet():
    import torchvision

    torch.manual_seed(0)
    body = torchvision.models.resnet18(weights=None, num_classes=2)
    found = numbers(body, (3, 32, 32))
    layers = [layer for measure, layer, norm in found if measure == "operator_norm_certified" and layer != "product"]
    assert len(layers) == 19
    beyond = 0
    for layer in layers:
        true, most = found["operator_norm", layer, "l2"], found["operator_norm_certified", layer, "l2"]
        assert found["operator_norm_lower", layer, "l2"] <= true <= most * (1 + 1e-9)
        assert most <= found["operator_norm_bound", layer, "l2"] * (1 + 1e-9)
        beyond += true > 1.2 * found["operator_norm_matricised", layer, "l2"]
        assert found["operator_norm", layer, "linf"] <= found["operator_norm_bound", layer, "linf"] * (1 + 1e-9)
        assert found["operator_norm_lower", layer, "linf"] <= found["operator_norm", layer, "linf"]
    assert beyond >= 8, "the kernels' own norms are no norms of the layers"


def test_groups_depthwise_strides_frames_and_dense_layers_beside_them():
    body = nn.Sequential(
        nn.Conv2d(1, 4, 1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, padding_mode="reflect"),
        nn.Conv2d(6, 6, 2, dilation=2, padding="same", padding_mode="circular"),
        nn.Flatten(),
        nn.Linear(96, 5),
        nn.Linear(5, 2),
    )
    found = numbers(body, (1, 8, 8))
    for name, size in (("1", (4, 8, 8)), ("2", (4, 8, 8)), ("3", (6, 4, 4))):
        layer = body.get_submodule(name)
        with torch.no_grad():
            basis = torch.eye(math.prod(size)).view(-1, *size)
            T = (layer(basis) - layer(0 * basis)).flatten(1).T.double()
        true = float(torch.linalg.matrix_norm(T, ord=2))
        assert found["operator_norm", name, "l2"] == pytest.approx(true, rel=1e-3)
        assert found["operator_norm_lower", name, "l2"] <= true <= found["operator_norm_bound", name, "l2"]
        assert found["operator_norm_certified", name, "l2"] >= true * (1 - 1e-5)
        assert found["operator_norm", name, "linf"] == pytest.approx(float(T.abs().sum(1).max()), rel=1e-5)
    for name, groups in (("1", 4), ("2", 2)):
        parts = body.get_submodule(name).weight.detach().flatten(1).chunk(groups)
        largest = max(float(torch.linalg.matrix_norm(part, 2)) for part in parts)
        assert found["operator_norm_matricised", name, "l2"] == pytest.approx(largest)
    dense = layer_bounds(body[5].weight.detach())
    for measure in ("operator_norm", "operator_norm_certified", "operator_norm_matricised"):
        assert found[measure, "5", "l2"] == dense.l2_norm
        product = math.prod(found[measure, name, "l2"] for name in "1235")
        assert found[measure, "product", "l2"] == pytest.approx(product)


def test_a_depthwise_identity_is_the_identity():
    body = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=4), nn.Flatten(), nn.Linear(16, 2))
    body[1].weight.data.fill_(1.0)
    found = numbers(body, (1, 2, 2))
    for measure in ("operator_norm", "operator_norm_certified", "operator_norm_matricised", "operator_norm_bound"):
        assert found[measure, "1", "l2"] == pytest.approx(1)
    assert found["compress_eps_sigma", "1", None] == pytest.approx(0.75), "three of four equal values are left out"


def test_a_dense_net_has_no_rows_of_convolutions():
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2))
    found = numbers(body, (1, 2, 2))
    assert not any(m in ("operator_norm_certified", "operator_norm_matricised") for m, _, _ in found)
    assert found["operator_norm", "1", "l2"] == pytest.approx(layer_bounds(body[1].weight.detach()).l2_norm)
