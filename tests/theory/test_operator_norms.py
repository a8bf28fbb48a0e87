"""Theorem 3.1 of paper A: the bounds hold on every kind of matrix, and the printed slips do not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.theory import compressibility as comp
from study.theory import operator_norms as norms
from tests.theory.strategies import matrices


def naive_inf_upper(W, k_nu, k_r, tight):
    """Theorem 3.1a written out entry by entry."""
    m, n = W.shape
    nu = sorted((sum(abs(float(v)) for v in row) for row in W), reverse=True)
    if nu[0] == 0:
        return 0.0
    beta = 1 - nu[k_nu - 1] / nu[0]
    if beta >= 1:
        return math.inf
    e_nu = sum(nu[k_nu:]) / sum(nu)
    e_r = 0.0
    for row in W:
        squares = sorted((float(v) ** 2 for v in row), reverse=True)
        if sum(squares) > 0:
            e_r = max(e_r, math.sqrt(sum(squares[k_r:]) / sum(squares)))
    frobenius = math.sqrt(sum(float(v) ** 2 for row in W for v in row))
    if tight:
        bracket = math.sqrt(m) * (math.sqrt(k_r * (1 - e_r**2)) + math.sqrt(n - k_r) * e_r)
    else:
        bracket = math.sqrt(m * k_r) + math.sqrt(m * n) * e_r
    return (1 - e_nu) / (1 - beta) * bracket / k_nu * frobenius


@settings(deadline=None, max_examples=200)
@given(matrices(), st.data())
def test_bounds_hold(W, data):
    k_nu = data.draw(st.integers(1, W.shape[0]))
    k_r = data.draw(st.one_of(st.none(), st.integers(1, W.shape[1])))
    k_sigma = data.draw(st.integers(1, min(W.shape)))
    loose, tight = norms.opnorm_inf_upper(W, k_nu, k_r), norms.opnorm_inf_upper(W, k_nu, k_r, tight=True)
    assert norms.op_norm(W, math.inf) <= tight * (1 + 1e-9) + 1e-12
    assert tight <= loose * (1 + 1e-9)
    assert norms.op_norm(W, 2) <= norms.opnorm_2_upper(W, k_sigma) * (1 + 1e-9) + 1e-12


@settings(deadline=None, max_examples=60)
@given(matrices(), st.data())
def test_agrees_with_the_naive_twin_and_the_best_k_r_is_the_best(W, data):
    k_nu = data.draw(st.integers(1, W.shape[0]))
    for tight in (False, True):
        every = [naive_inf_upper(W, k_nu, k_r, tight) for k_r in range(1, W.shape[1] + 1)]
        ours = [norms.opnorm_inf_upper(W, k_nu, k_r, tight) for k_r in range(1, W.shape[1] + 1)]
        assert ours == pytest.approx(every, rel=1e-6, abs=1e-9)
        assert norms.opnorm_inf_upper(W, k_nu, tight=tight) == pytest.approx(min(every), rel=1e-6, abs=1e-9)


def test_erratum_1_a_declared_eps_makes_the_theorem_false():
    W = torch.eye(2)  # nu = (1, 1), k = 1: the exact eps is .5
    declared = (1 - 0.9) * math.sqrt(2) * norms.frobenius_norm(W)
    assert declared < norms.op_norm(W, math.inf)
    assert norms.opnorm_inf_upper(W, 1, 2) >= norms.op_norm(W, math.inf)


def test_erratum_2_the_printed_root_of_h_fails_and_h_holds():
    W, k_nu, k_r, h = torch.ones(9, 9), 9, 1, 9
    e_r = comp.eps_q(W[0], 2, k_r)
    printed = (math.sqrt(h * k_r) + math.sqrt(h) * e_r) / k_nu * norms.frobenius_norm(W)

    assert printed == pytest.approx(52.5 / 9, rel=1e-2)
    assert printed < norms.op_norm(W, math.inf)
    assert norms.opnorm_inf_upper(W, k_nu, k_r) >= 9


def test_a_full_spread_is_infinite_and_never_nan():
    W = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert norms.opnorm_2_upper(W, 3) == math.inf
    assert norms.opnorm_inf_upper(W, 3) == math.inf
    assert norms.opnorm_2_upper(torch.zeros(3, 3), 2) == 0.0


def test_known_norms():
    W = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    assert norms.op_norm(W, math.inf) == 7
    assert norms.frobenius_norm(W) == pytest.approx(math.sqrt(26))
    assert norms.op_norm(torch.diag(torch.tensor([2.0, -5.0])), 2) == pytest.approx(5)
    with pytest.raises(ValueError, match="p must be 2 or inf"):
        norms.op_norm(W, 1)


def test_numerical_rank_of_a_float32_product():
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(200, 4, generator=generator) @ torch.randn(4, 200, generator=generator)
    assert norms.numerical_rank(comp.singular_values(W)) == 4
    assert norms.numerical_rank(torch.zeros(3, dtype=torch.float64)) == 1


@settings(deadline=None, max_examples=150)
@given(matrices(), st.data())
def test_lower_bounds_hold_and_the_strong_one_is_the_stronger(W, data):
    k_nu = data.draw(st.integers(1, W.shape[0]))
    k_r = data.draw(st.integers(1, W.shape[1]))
    k_sigma = data.draw(st.integers(1, min(W.shape)))
    paper, strong = (norms.opnorm_inf_lower(W, k_nu, k_r, form) for form in ("paper", "strong"))
    assert paper <= strong * (1 + 1e-9) + 1e-12
    assert strong <= norms.op_norm(W, math.inf) * (1 + 1e-9) + 1e-12
    assert norms.opnorm_2_lower(W, k_sigma) <= norms.op_norm(W, 2) * (1 + 1e-9) + 1e-12


def test_erratum_8_the_largest_row_residual_makes_b4a_false():
    W = torch.zeros(2, 24, dtype=torch.float64)
    W[0, 0] = 1.0
    W[1] = 1e-3
    e = max(comp.eps_q(w, 2, 4) for w in W)
    printed = math.sqrt(4) / (math.sqrt(4 * (1 - e * e)) + math.sqrt(e))
    printed *= (1 - comp.eps_q(comp.row_l1(W), 1, 1)) * norms.frobenius_norm(W)
    assert printed > norms.op_norm(W, math.inf) == 1
    assert norms.opnorm_inf_lower(W, 1, 4, "paper") <= 1
    assert norms.opnorm_inf_lower(W, 1, 4, "strong") <= 1


def test_erratum_9_b4b_is_clamped():
    W = torch.ones(3, 3) - 2 * torch.eye(3)
    e = comp.eps_q(comp.singular_values(W), 1, 1)
    assert 1 - 3 * e * e < 0
    assert norms.opnorm_2_lower(W, 1) == 0


def test_erratum_8_the_proofs_step_fails_and_its_conclusion_holds():
    w = torch.cat([torch.ones(1), torch.full((100,), 0.01)]).double()
    e2 = comp.eps_q(w, 2, 1)
    assert float(w[1:].sum()) > e2 * float(w.sum()), "the l_1 share of the tail is .5, its l_2 residual .1"
    assert norms.opnorm_inf_lower(w[None], 1, 1, "paper") <= norms.opnorm_inf_lower(w[None], 1, 1) <= float(w.sum())


def test_erratum_23_one_over_k_divides_both_terms():
    W, k_nu, k_r = torch.eye(8) + 0.1, 4, 2
    e_r, fro = float(norms.row_residuals(W)[k_r - 1]), norms.frobenius_norm(W)
    factor = (1 - comp.eps_q(comp.row_l1(W), 1, k_nu)) / (1 - comp.spread(comp.row_l1(W), k_nu))

    def noted(k):
        return factor * (math.sqrt(8 * k_r) + 8 * e_r / k) * fro

    ours = norms.opnorm_inf_upper(W, k_nu, k_r)
    assert ours == pytest.approx(factor * (math.sqrt(8 * k_r) + 8 * e_r) / k_nu * fro)
    assert norms.op_norm(W, math.inf) <= ours < noted(k_nu)


def test_erratum_11_theorem_31_can_be_weaker_than_the_trivial_bounds():
    W = torch.diag(torch.tensor([10.0] + [1.0] * 19))
    assert norms.opnorm_2_upper(W, 2) > norms.frobenius_norm(W) >= norms.op_norm(W, 2)
    assert norms.opnorm_inf_upper(W, 2) > math.sqrt(20) * norms.frobenius_norm(W) >= norms.op_norm(W, math.inf)
