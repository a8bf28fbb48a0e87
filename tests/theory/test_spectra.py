"""The Gram route to a spectrum: as exact as it says, and left where it would not be."""

import pytest
import torch
from hypothesis import given, settings

from study.theory import compressibility as comp
from study.theory import operator_norms as norms
from study.theory import spectra
from tests.theory.strategies import matrices


def falling(m, n, least):
    """An (m, n) matrix whose singular values fall evenly on a log scale from 1 to `least`."""
    generator = torch.Generator().manual_seed(0)
    r = min(m, n)
    U, V = (torch.linalg.qr(torch.randn(d, r, generator=generator, dtype=torch.float64)).Q for d in (m, n))
    exponents = torch.linspace(0, 1, r, dtype=torch.float64)
    return (U * least**exponents) @ V.T


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (300, 300)])
@pytest.mark.parametrize("least", [0.9, 1e-3, 1e-5])
def test_large_values_are_exact_to_a_millionth(shape, least):
    W = falling(*shape, least)
    exact = torch.linalg.svdvals(W)
    error = (spectra.values(W) - exact).abs() / exact
    assert float(error[exact > 1e-4 * exact[0]].max()) < 1e-6


def test_a_low_rank_matrix_is_decomposed_directly(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(300, 5, generator=generator).double() @ torch.randn(5, 400, generator=generator).double()
    eps = comp.eps_q(comp.singular_values(W), 1, 5)
    assert eps < 1e-12
    assert norms.numerical_rank(comp.singular_values(W)) == 5
    monkeypatch.setattr(spectra, "RESOLVED", -1.0)
    assert comp.eps_q(comp.singular_values(W), 1, 5) > 1e-9, "this is what the direct route is kept for"


@settings(deadline=None, max_examples=60)
@given(matrices())
def test_the_gram_route_agrees_with_the_direct_one(W):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectra, "SMALL", 0)
        exact = torch.linalg.svdvals(W)
        assert torch.allclose(spectra.values(W), exact, rtol=1e-6, atol=1e-9 * float(exact[0]))
        found = spectra.factors(W, len(exact))
    assert torch.allclose(found.s, exact, rtol=1e-6, atol=1e-9 * float(exact[0]))
    assert torch.allclose((found.U * found.s) @ found.Vh, W, atol=1e-7 * float(exact[0]))
    large = found.s > 1e-4 * exact[0]
    for vectors in (found.U[:, large], found.Vh[large].T):
        assert torch.allclose(vectors.T @ vectors, torch.eye(int(large.sum()), dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("shape", [(30, 40), (40, 30)])
def test_leading_factors_give_the_compressed_matrix(shape, monkeypatch):
    monkeypatch.setattr(spectra, "SMALL", 0)
    W = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k in (0, 1, 7):
        found = spectra.factors(W, k)
        assert torch.allclose((found.U * found.s[:k]) @ found.Vh, comp.spectral_compress(W, k))


def test_the_lower_triangle_is_the_gram_matrix():
    W = torch.randn(21, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(spectra.lower_gram(W).tril(), (W @ W.T).tril())
