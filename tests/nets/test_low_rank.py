"""Low-rank convolutions of every kind: the dense one of their product, with its norms, gradients, costs and bounds."""

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets.compression.factorize import factorize
from study.nets.net import LowRankConv2d, Net
from study.theory import operators
from study.trial.measures.convolutions import convolutions
from study.trial.measures.cost import macs
from tests.helpers import hidden_of

KINDS = {
    "plain": {},
    "strided": {"stride": (2, 1)},
    "padded": {"padding": (2, 1)},
    "dilated": {"dilation": 2, "padding": 2},
    "same": {"padding": "same"},
    "grouped": {"groups": 3, "padding": 1},
    "depthwise": {"groups": 6, "padding": 1, "stride": 2},
    "grouped, all at once": {"groups": 2, "padding": 1, "dilation": 2, "stride": 2, "bias": False},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflect": {"padding": (2, 1), "padding_mode": "reflect", "groups": 2},
    "oblong": {"padding": 1},
}
STATS = ((0.5,), (0.25,))


def net_of(kind):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 12, (2, 3) if kind == "oblong" else 3, **KINDS[kind])
    body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
    return Net(body, *STATS, hidden_of(body))


def pair(kind, rank=2):
    """A low-rank convolution and the dense one with its product for weights."""
    net = net_of(kind)
    low = factorize(net, rank, 0).body[1]
    dense = net.body[1]
    nets.set_matrix(dense, nets.matrix(low))
    return low, dense


@pytest.mark.parametrize("kind", KINDS)
def test_a_low_rank_convolution_is_the_dense_one_of_its_product(kind):
    low, dense = pair(kind)
    assert isinstance(low, LowRankConv2d)
    x = torch.rand(3, 6, 9, 8)
    out = low(x)
    assert torch.allclose(out, dense(x), atol=1e-5)
    out.square().sum().backward()
    dense(x).square().sum().backward()
    assert low.bias is None or torch.allclose(low.bias.grad, dense.bias.grad, rtol=1e-4, atol=1e-4)
    groups = dense.groups
    for part, A, B, grad, wanted in zip(
        nets.matrix(low).chunk(groups), low.A.chunk(groups), low.B.chunk(groups), low.A.grad.chunk(groups),
        dense.weight.grad.flatten(1).chunk(groups), strict=True,
    ):  # fmt: skip
        assert int(torch.linalg.matrix_rank(part)) == min(2, len(A)), "of each group"
        assert torch.allclose(grad, wanted @ B.T, rtol=1e-3, atol=1e-3), "the chain rule: dL/dA = dL/dW B^T"


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_at_the_scale_of_what_it_replaces_and_scales_as_that_does(kind):
    net = net_of(kind)
    low = factorize(net, 2, 0)
    a, b = net.body[1], low.body[1]
    assert nets.frobenius(b) == pytest.approx(nets.frobenius(a), rel=1e-4)
    assert nets.frobenius(b) == pytest.approx(float(nets.matrix(b).detach().norm()), rel=1e-4)
    before = nets.matrix(b).detach().clone()
    nets.scale(b, 3.0)
    assert torch.allclose(nets.matrix(b), 3 * before, rtol=1e-4)
    factors = torch.arange(12.0)
    nets.scale_rows(b, factors)
    assert torch.allclose(nets.matrix(b), 3 * before * factors[:, None], rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_theory_measures_the_map_that_it_is(kind):
    net = net_of(kind)
    low = factorize(net, 2, 0)
    (found,) = convolutions(low, (1, 9, 8)).values()
    layer, x = low.body[1], torch.rand(2, 6, 9, 8)
    shift = 0.0 if layer.bias is None else layer.bias[None, :, None, None]
    assert torch.allclose(operators.applied(found, x), layer(x) - shift, atol=1e-5)
    assert found.groups == KINDS[kind].get("groups", 1)


def test_multiply_adds_of_a_grouped_one_by_hand():
    """12 filters in 3 groups of 2 inputs, 3 x 3, rank 2: 3 * 2 * 18 and 12 * 2 at each of 9 x 8 positions."""
    low = factorize(net_of("grouped"), 2, 0)
    stem, head = 6 * 9 * 72, 12 * 2
    assert macs(low, torch.zeros(1, 1, 9, 8)) == stem + 72 * (3 * 2 * 18 + 12 * 2) + head


def test_a_rank_above_that_of_a_group_is_that_of_the_group():
    layer = factorize(net_of("depthwise"), 100, 0).body[1]
    assert layer.A.shape == (12, 2)
    assert layer.B.shape == (12, 9)
