"""Grouped convolutions as the map that they are, with the groups' blocks on the diagonal: penalties, bounds, plants."""

import copy

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets.compression.prune import plant
from study.nets.net import Net
from study.nets.pairs import pairs
from study.nets.penalties import group_lasso, group_lasso_invariant, nuclear_norm, polar, shrink, spread_control
from study.spec.config import Train
from study.theory.bounds import layer_bounds
from study.trial import penalty
from study.trial import train as training
from study.trial.freeze import frozen
from tests.helpers import hidden_of

BLOCKED = ("compress_eps_sigma", "spread_sigma", "frobenius_norm", "l2_norm", "k_sigma", "l2_upper", "l2_lower")


def grouped(groups=3, kernel=3):
    """A hidden convolution of 6 to 12 channels in groups, between others."""
    torch.manual_seed(0)
    middle = nn.Conv2d(6, 12, kernel, padding=kernel // 2, groups=groups)
    body = nn.Sequential(nn.Conv2d(1, 6, 1), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
    return Net(body, (0.5,), (0.25,), hidden_of(body))


def diagonal(W, groups):
    return torch.block_diag(*W.chunk(groups))


@pytest.mark.parametrize(("shape", "groups"), [((6, 4), 2), ((6, 4), 3), ((12, 2), 6), ((5, 9), 5), ((8, 3), 1)])
def test_bounds_of_groups_are_those_of_the_block_diagonal_matrix(shape, groups):
    W = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, whole, stacked = layer_bounds(W, 0.3, groups), layer_bounds(diagonal(W, groups), 0.3), layer_bounds(W, 0.3)
    for name, value in found._asdict().items():
        wanted = whole if name in BLOCKED or "nu" in name else stacked
        assert value == pytest.approx(getattr(wanted, name)), name
    assert found.l2_norm == pytest.approx(max(float(torch.linalg.matrix_norm(part, 2)) for part in W.chunk(groups)))
    assert found.linf_norm == whole.linf_norm
    assert found.l2_lower <= found.l2_norm <= found.l2_upper


def test_a_depthwise_identity_has_norm_one_and_every_direction():
    found = layer_bounds(torch.ones(4, 1), 0.25, 4)
    assert (found.l2_norm, found.compress_eps_sigma, found.l2_upper) == (1, 0.75, 1), "2, 0 and 2 of the column"


@pytest.mark.parametrize("refresh", [0, 1])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_the_nuclear_norm_is_the_sum_over_groups_and_so_is_its_gradient(groups, refresh):
    net = grouped(groups)
    held = frozen(net, ())
    config = Train(alpha=2.0, penalty="nuclear_norm", penalty_refresh=refresh)
    value = penalty.add(torch.zeros(()), net, held, held.layers(net), config, penalty.Held(left=1))
    value.backward()
    W = nets.matrix(net.body[1]).detach().clone().requires_grad_()
    torch.linalg.svdvals(diagonal(W, groups)).sum().mul(2).backward()
    assert value.item() == pytest.approx(2 * torch.linalg.svdvals(diagonal(W, groups)).sum().item(), rel=1e-5)
    torch.testing.assert_close(net.body[1].weight.grad.flatten(1), W.grad, rtol=1e-3, atol=1e-5)
    if groups == 6:
        depthwise = nets.unstacked(W, 12)
        torch.testing.assert_close(nuclear_norm([depthwise]), group_lasso([W])), "of one row each"


def test_rows_do_not_see_groups():
    W = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    for of_rows in (group_lasso, group_lasso_invariant, spread_control):
        torch.testing.assert_close(of_rows([W]), of_rows([diagonal(W, 3)]))


def test_polar_factors_and_the_proximal_map_of_a_stack_are_those_of_its_blocks():
    W = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    W[:4] *= 1e-8  # small beside the others, and not within its block
    stack = nets.unstacked(W, 3)
    torch.testing.assert_close(polar(stack), torch.stack([polar(part) for part in W.chunk(3)]))
    torch.testing.assert_close(torch.block_diag(*shrink(stack, 0.3)), shrink(diagonal(W, 3), 0.3), rtol=1e-4, atol=1e-5)


def test_proximal_steps_take_from_each_group():
    net = grouped()
    layer = net.body[1]
    wanted = shrink(diagonal(nets.matrix(layer).detach(), 3), 0.05)
    training._shrink([layer], Train(penalty="nuclear_norm_prox", alpha=0.5, penalty_refresh=1), 0.1, 0)
    torch.testing.assert_close(diagonal(nets.matrix(layer).detach(), 3), wanted, rtol=1e-4, atol=1e-6)


def test_a_planted_spectrum_is_that_of_the_whole_map():
    net = grouped()
    before, after = (diagonal(nets.matrix(n.body[1]).detach(), 3) for n in (net, plant(net, "spectrum", 1.5)))
    s, planted = torch.linalg.svdvals(before), torch.linalg.svdvals(after)
    wanted = s * (s / s[0]) ** 1.5
    torch.testing.assert_close(planted, wanted * s.norm() / wanted.norm(), rtol=1e-4, atol=1e-6)
    assert after.norm() == pytest.approx(float(before.norm()), rel=1e-5)


def test_a_grouped_convolution_is_in_no_pair():
    net = grouped(1, 1)
    body = copy.deepcopy(net.body)
    body.insert(2, nn.Conv2d(12, 8, 1))
    assert pairs(Net(body, (0.5,), (0.25,), hidden_of(body))) == [("1", "2")]
    body[1] = nn.Conv2d(6, 12, 1, groups=2)
    assert not pairs(Net(body, (0.5,), (0.25,), hidden_of(body))), "12 rows, but of two maps"
    body[1], body[2] = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 8, 1, groups=1)
    body[2].groups, body[2].weight = 2, nn.Parameter(torch.rand(8, 4, 1, 1))
    assert not pairs(Net(body, (0.5,), (0.25,), hidden_of(body))), "4 columns by chance"
