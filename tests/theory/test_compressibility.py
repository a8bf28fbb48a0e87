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
