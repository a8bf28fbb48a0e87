"""What must not move and what must stay above or below, on matrices of any scale, with ties, of rank one."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.theory import alignment as align
from study.theory import lipschitz as lip
from study.theory import operator_norms as norms
from study.theory import pruning, tradeoff
from study.theory.bounds import layer_bounds, net_bounds
from study.theory.scaling import product
from tests.theory.strategies import KINDS, matrices, matrix, nets, sylvester

INF = math.inf
ODD = {
    "one by one": torch.tensor([[3.0]]),
    "one row": torch.tensor([[1.0, -2.0, 2.0]]),
    "one column": torch.tensor([[1.0], [-2.0], [2.0]]),
    "identity": torch.eye(12),
    "constant spectrum": sylvester(16),
    "rank one": torch.outer(torch.arange(1.0, 13), torch.ones(11)),
    "ties": torch.ones(12, 12).triu(),
    "zero rows": torch.cat([torch.ones(3, 12), torch.zeros(9, 12)]),
    "zero": torch.zeros(12, 12),
    "heavy tails": torch.tensor([[10.0 ** (3 * i - j) for i in range(11)] for j in range(12)]),
}
SCALES = [1e-300, 1e-200, 1e-100, 1e-30, 1e30, 1e100, 1e200, 1e250]


def sane(found):
    """Each bound on its side, for both norms."""
    for low, exact, high in (
        (found.linf_lower, found.linf_norm, found.linf_upper_tight),
        (found.l2_lower, found.l2_norm, found.l2_upper),
    ):
        assert low <= exact * (1 + 1e-9)
        assert exact <= high * (1 + 1e-9)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("scale", [1.0, *SCALES])
def test_scale_leaves_eps_and_spread_and_multiplies_norms(name, scale):
    W = ODD[name].double()
    one, other = layer_bounds(W), layer_bounds(W * scale)
    sane(other)
    for field in one._fields:
        factor = scale if field.endswith(("norm", "upper", "tight", "lower")) else 1.0
        assert getattr(other, field) == pytest.approx(getattr(one, field) * factor, rel=1e-6, abs=1e-9 * factor)


@settings(deadline=None, max_examples=60)
@given(matrices(12), st.integers(0, 2**31))
def test_permutations_rotations_and_transposes(W, seed):
    random = torch.Generator().manual_seed(seed)
    m, n = W.shape
    one = layer_bounds(W)
    moved = layer_bounds(W[torch.randperm(m, generator=random)][:, torch.randperm(n, generator=random)])
    assert tuple(moved) == pytest.approx(tuple(one), rel=1e-6, abs=1e-9)
    Q, R = (torch.linalg.qr(torch.randn(d, d, generator=random, dtype=torch.float64)).Q for d in (m, n))
    for other in (layer_bounds(Q @ W @ R), layer_bounds(W.T)):
        for field in ("compress_eps_sigma", "spread_sigma", "frobenius_norm", "l2_norm", "l2_lower"):
            assert getattr(other, field) == pytest.approx(getattr(one, field), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [2, INF])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nets_bounds_hold_at_any_scale(scale, p, kind):
    random = torch.Generator().manual_seed(0)
    Ws = [matrix(kind, m, n, random) for n, m in ((4, 5), (5, 4), (4, 3))]
    scales = (scale, 1.0, 1 / scale)  # the product is that of the plain net
    odd = [W * s for W, s in zip(Ws, scales, strict=True)]
    plain, true = lip.lipschitz_upper(Ws, p, [2, 2, 2]), lip.pattern_max(Ws, p)
    bound = lip.lipschitz_upper(odd, p, [2, 2, 2])
    assert min(bound.value, 1e12) == pytest.approx(
        min(plain.value, 1e12), rel=1e-6
    )  # a rank below k: infinite, or nearly
    assert lip.pattern_max(odd, p) == pytest.approx(true)
    assert lip.product_of_norms(odd, p) == pytest.approx(lip.product_of_norms(Ws, p))
    found, other = net_bounds(Ws), net_bounds(odd)
    for a, b in zip(found.l2_alignment + found.linf_alignment, other.l2_alignment + other.linf_alignment, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-6, abs=1e-6)
    assert pruning.gamma_bound(odd, [0.5] * 3) == pytest.approx(pruning.gamma_bound(Ws, [0.5] * 3))
    assert pruning.zeta_bound(odd, [0.5] * 3, 1.0) == pytest.approx(pruning.zeta_bound(Ws, [0.5] * 3, 1.0))
    if true > 0:
        assert tradeoff.constants(odd, 1.0).b == pytest.approx(tradeoff.constants(Ws, 1.0).b)
    X = torch.randn(6, 4, generator=random, dtype=torch.float64)
    for how in ("jacobian", "secant"):
        assert lip.lipschitz_lower(odd, X, p, how) == pytest.approx(lip.lipschitz_lower(Ws, X, p, how))
        assert lip.lipschitz_lower(Ws, X * scale, p, how) <= true * (1 + 1e-9)


def test_an_upper_bound_too_small_for_float64_is_its_least_number():
    Ws = [torch.eye(3, dtype=torch.float64) * 1e-200] * 2
    assert lip.lipschitz_upper(Ws, 2, [1, 1]).value > 0
    assert lip.product_of_norms(Ws, INF) > 0
    assert product([0.0, 5.0]) == 0


@given(st.lists(st.floats(1e-20, 1e20), max_size=8))
def test_a_product_of_usual_numbers_does_not_move_by_a_bit(values):
    assert product(values) == math.prod(values)


@settings(deadline=None, max_examples=60)
@given(nets(least=1, deepest=3), st.sampled_from([2, INF]), st.sampled_from([1.0, 1e-4, 1e-8, 1e-12, 1e-15]), st.data())
def test_a_secant_is_never_above_the_constant_however_close_the_points(Ws, p, step, data):
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    X = torch.randn(1, Ws[0].shape[1], generator=random, dtype=torch.float64)
    X = X + step * torch.randn(30, Ws[0].shape[1], generator=random, dtype=torch.float64)
    assert lip.lipschitz_lower(Ws, X, p, "secant") <= lip.pattern_max(Ws, p) * (1 + 1e-15)


def test_secants_of_many_points_do_not_cancel():
    x = 1e4 + torch.rand(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e-4
    W = 0.99 * torch.eye(3, dtype=torch.float64)
    assert 0.98 < lip.lipschitz_lower([W], x, 2, "secant") <= 0.99
    naive = max(float((W @ (a - b)).norm() / (a - b).norm()) for a, b in itertools.combinations(x, 2))
    assert lip.lipschitz_lower([W], x, 2, "secant") == pytest.approx(naive, rel=1e-5)


@pytest.mark.parametrize("p", [1, 3, 0, -2, math.nan, "inf", True])
def test_no_other_norm_is_certified(p):
    W, V = torch.ones(2, 1), torch.ones(1, 2)
    side = align.side(W, 1, 2)
    calls = (
        lambda: norms.op_norm(W, p),
        lambda: lip.lipschitz_upper([W], p, [1]),
        lambda: lip.compose([2.0], [], p, "upper"),
        lambda: lip.product_of_norms([], p),
        lambda: lip.pattern_max([W], p),
        lambda: lip.lipschitz_lower([W], torch.ones(2, 1), p),
        lambda: lip.lipschitz_lower([W], torch.ones(2, 1), p, "secant"),
        lambda: lip.adv_risk_bound(0.0, 1.0, 1.0, torch.ones(2), p),
        lambda: align.side(W, 1, p),
        lambda: align.norms(W, p),
        lambda: align.main_term(side, side, p),
        lambda: align.aligned_sides(side, side, p),
        lambda: align.aligned(V, W, 1, 1, p),
    )
    for call in calls:
        with pytest.raises(ValueError, match="p must be 2 or inf"):
            call()
