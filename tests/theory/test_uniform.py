"""One p for all layers: the scalarised minimum against a grid, the rate against differences."""

import math

import pytest
import torch

from study.theory import tradeoff, uniform


def draws(count):
    """Constants of 1 to 10 layers over several orders of magnitude, and a lam each."""
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        L = int(torch.randint(1, 11, (1,), generator=random))
        b = tuple((1 + 4 * torch.rand(L, generator=random)).tolist())
        A, C, lam = torch.rand(3, generator=random).double().tolist()
        yield tradeoff.Constants(10 ** (4 * A - 2), b, 10 ** (4 * C - 2)), lam


def test_no_point_of_a_grid_is_below_the_minimum():
    inside = 0
    for k, lam in draws(300):
        value, p = uniform.uniform_minimum(k, lam)
        L = len(k.b)
        assert value == pytest.approx(tradeoff.objective(k, lam, (p,) * L))
        grid = [tradeoff.objective(k, lam, ((i / 200) ** 3,) * L) for i in range(201)]
        assert value <= min(grid) * (1 + 1e-12)
        assert p in (0, 1) or (L >= 3 and p <= (L - 2) / (L - 1))
        inside += 0 < p < 1
    assert inside > 20


@pytest.mark.parametrize(("L", "lam", "p"), [(1, 0.0, 1.0), (1, 1.0, 0.0), (2, 0.9, 0.0), (5, 0.0, 1.0), (5, 1.0, 0.0)])
def test_where_one_side_alone_counts_an_end_is_the_least(L, lam, p):
    assert uniform.uniform_minimum(tradeoff.Constants(1.0, (1.0,) * L, 1.0), lam)[1] == p


def test_erratum_20_the_printed_algorithm_stops_at_the_upper_root():
    k = tradeoff.Constants(A=1.0, b=(1.0,) * 4, C=0.058)
    printed = tradeoff.algorithm1_as_printed(k, 0.2, (0.5,) * 4, tol=1e-13, most=5000)
    value, p = uniform.uniform_minimum(k, 0.2)
    assert p < 2 / 3 < printed[0]
    assert value < tradeoff.objective(k, 0.2, printed)


def test_lemma_3s_rate_is_the_slope_of_the_front():
    for k, _ in draws(100):
        for p in (0.1, 0.5, 0.9):
            a, b = (tradeoff.evaluate(k, (p + h,) * len(k.b)) for h in (-1e-6, 1e-6))
            assert uniform.uniform_rate(k, p) == pytest.approx((b.gamma - a.gamma) / (b.zeta - a.zeta), rel=1e-5)
        assert uniform.uniform_rate(k, 1.0) == 0
    assert uniform.uniform_rate(tradeoff.Constants(1.0, (1.0,), 1.0), 0.0) == -math.inf
    with pytest.raises(ValueError, match="p must lie in"):
        uniform.uniform_rate(tradeoff.Constants(1.0, (1.0,), 1.0), 1.5)
