"""Compressibility: answers known on paper, and invariants on random vectors."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.theory import compressibility as comp

vectors = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40).map(torch.tensor)


def test_eps_on_paper():
    v = torch.tensor([4.0, -3.0, 2.0, 1.0])
    assert comp.eps_q(v, 1, 1) == pytest.approx(6 / 10)
    assert comp.eps_q(v, 2, 2) == pytest.approx(math.sqrt(5 / 30))
    assert comp.eps_q(v, math.inf, 1) == pytest.approx(3 / 4)
    assert comp.eps_q(v, 1, 0) == pytest.approx(1.0)
    assert comp.eps_q(v, 1, 4) == 0.0
    assert comp.eps_q(torch.zeros(3), 1, 1) == 0.0


def test_flat_vector_is_least_compressible():
    assert comp.eps_q(torch.ones(50), 1, 5) == pytest.approx(0.9)


def test_spread_on_paper():
    v = torch.tensor([1.0, -4.0, 2.0])
    assert comp.spread(v, 1) == 0.0
    assert comp.spread(v, 2) == pytest.approx(0.5)
    assert comp.spread(torch.tensor([3.0, 0.0]), 2) == 1.0
    assert comp.spread(torch.zeros(4), 3) == 0.0


def test_k_for_eps_is_the_smallest():
    v = torch.tensor([5.0, 3.0, 1.0, 1.0])
    assert comp.k_for_eps(v, 1, 0.5) == 1
    assert comp.k_for_eps(v, 1, 0.49) == 2
    assert comp.k_for_eps(v, 1, 0.0) == 4


@pytest.mark.parametrize(("d", "k"), [(1, 1), (4, 1), (10, 1), (64, 6), (200, 20), (2000, 200)])
def test_dominant_k(d, k):
    assert comp.dominant_k(d) == k


@settings(deadline=None)
@given(vectors, st.sampled_from([0.5, 1.0, 2.0, math.inf]), st.floats(0.1, 1000))
def test_eps_is_scale_free_and_falls_with_k(v, q, scale):
    eps = [comp.eps_q(v, q, k) for k in range(len(v) + 1)]
    assert all(0 <= e <= 1 + 1e-12 for e in eps)
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(eps))
    if float(v.abs().max()) > 1e-3:
        assert eps == pytest.approx([comp.eps_q(v.double() * scale, q, k) for k in range(len(v) + 1)], abs=1e-6)


@settings(deadline=None)
@given(vectors, st.floats(0, 1))
def test_k_for_eps_agrees_with_a_scan(v, eps):
    scan = next(k for k in range(len(v) + 1) if comp.eps_q(v, 1, k) <= eps)
    assert comp.k_for_eps(v, 1, eps) == scan


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: comp.eps_q(torch.ones(3), 1, 4), "k must be a whole number from 0 to 3, got 4"),
        (lambda: comp.eps_q(torch.ones(3), 1, -1), "from 0 to 3"),
        (lambda: comp.eps_q(torch.ones(3), 0, 1), "q must be positive"),
        (lambda: comp.eps_q(torch.ones(3), math.nan, 1), "q must be positive"),
        (lambda: comp.eps_q(torch.tensor([]), 1, 0), "non-empty vector"),
        (lambda: comp.eps_q(torch.tensor([1.0, math.nan]), 1, 1), "must be finite"),
        (lambda: comp.spread(torch.ones(3), 0), "from 1 to 3"),
        (lambda: comp.spread(torch.ones(2, 2), 1), "non-empty vector"),
        (lambda: comp.k_for_eps(torch.ones(3), 1, -0.1), "eps must be at least 0"),
        (lambda: comp.row_l1(torch.ones(3)), "non-empty matrix"),
        (lambda: comp.singular_values(torch.full((2, 2), math.inf)), "must be finite"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_pq_index_on_paper():
    assert comp.pq_index(torch.ones(7), 1, 2) == pytest.approx(0)
    assert comp.pq_index(torch.tensor([0.0, 3.0, 0.0, 0.0]), 1, 2) == pytest.approx(1 - 4**-0.5)
    assert comp.pq_index(torch.tensor([0.8, 0.2]), 0.5, 1) == pytest.approx(0.1)


def test_erratum_10_the_papers_bound_needs_p_of_at_least_one():
    theta = torch.tensor([0.8, 0.2])
    eps = comp.eps_q(theta, 1, 1)
    phi = 1 / 0.5 - 1 / 1
    printed = 1 - eps - 0.5**phi
    assert printed == pytest.approx(0.3)
    assert printed > comp.pq_index(theta, 0.5, 1)
    assert comp.pq_lower_bound(0.5, 1, 1, 2, eps) <= comp.pq_index(theta, 0.5, 1) + 1e-12
    with pytest.raises(ValueError, match="needs p >= 1"):
        comp.pq_lower_bound(0.5, 1, 1, 2, eps, "paper")


@settings(deadline=None)
@given(vectors, st.sampled_from([(0.5, 1.0), (1.0, 2.0), (0.3, 2.0), (1.5, 3.0)]), st.data())
def test_pq_lower_bounds_hold(v, pq, data):
    if float(v.abs().max()) < 1e-3:
        return
    p, q = pq
    k = data.draw(st.integers(0, len(v)))
    eps = min(1.0, comp.eps_q(v, q, k))
    index = comp.pq_index(v, p, q)
    assert comp.pq_lower_bound(p, q, k, len(v), eps) <= index + 1e-6
    if p >= 1:
        paper = comp.pq_lower_bound(p, q, k, len(v), eps, "paper")
        assert paper <= index + 1e-6


def test_the_papers_bound_is_equation_67():
    assert comp.pq_lower_bound(1, 2, 4, 16, 0.25, "paper") == 1 - 0.25 - math.sqrt(4 / 16)
    assert comp.pq_lower_bound(1, 2, 4, 16, 0.25) > comp.pq_lower_bound(1, 2, 4, 16, 0.25, "paper")


def test_compressed_matrices():
    W = torch.tensor([[1.0, 1.0], [3.0, 0.0], [1.0, -1.0]])
    assert comp.row_compress(W, 1).tolist() == [[0, 0], [3, 0], [0, 0]]
    assert comp.row_compress(W, 2).tolist() == [[1, 1], [3, 0], [0, 0]], "ties keep the lower index"
    assert torch.allclose(comp.spectral_compress(W, 2), W.double())
    assert int(torch.linalg.matrix_rank(comp.spectral_compress(W, 1))) == 1
