"""The bounds of a whole net from one decomposition per layer, against the functions that take single matrices."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.theory import alignment as align
from study.theory import compressibility as comp
from study.theory import lipschitz as lip
from study.theory import operator_norms as norms
from study.theory.bounds import layer_bounds, net_bounds
from tests.theory.strategies import matrices, matrix, nets

INF = math.inf


@settings(deadline=None, max_examples=60)
@given(matrices(), st.sampled_from([0.1, 0.4, 1.0]))
def test_a_layer_agrees_with_the_single_functions(W, share):
    found = layer_bounds(W, share)
    nu, sigma = comp.row_l1(W), comp.singular_values(W)
    at_nu, at_sigma = comp.dominant_k(len(nu), share), comp.dominant_k(len(sigma), share)
    k_nu, k_sigma = min(at_nu, norms.numerical_rank(nu)), min(at_sigma, norms.numerical_rank(sigma))
    expected = {
        "compress_eps_nu": comp.eps_q(nu, 1, at_nu),
        "spread_nu": comp.spread(nu, at_nu),
        "compress_eps_sigma": comp.eps_q(sigma, 1, at_sigma),
        "spread_sigma": comp.spread(sigma, at_sigma),
        "frobenius_norm": norms.frobenius_norm(W),
        "linf_norm": norms.op_norm(W, INF),
        "l2_norm": norms.op_norm(W, 2),
        "k_nu": k_nu,
        "k_sigma": k_sigma,
        "linf_upper": norms.opnorm_inf_upper(W, k_nu),
        "linf_upper_tight": norms.opnorm_inf_upper(W, k_nu, tight=True),
        "l2_upper": norms.opnorm_2_upper(W, k_sigma),
        "linf_lower": norms.opnorm_inf_lower(W, k_nu),
        "l2_lower": norms.opnorm_2_lower(W, k_sigma),
    }
    assert found._asdict() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found.linf_lower <= found.linf_norm * (1 + 1e-9) + 1e-12
    assert found.l2_lower <= found.l2_norm * (1 + 1e-9) + 1e-12
    assert math.isfinite(found.linf_upper)


@settings(deadline=None, max_examples=40)
@given(nets(least=1, deepest=4), st.sampled_from([0.1, 0.4]), st.sampled_from(["upper", "exact", "greedy"]))
def test_a_net_agrees_with_the_single_functions(Ws, share, method):
    found = net_bounds(Ws, share, method)
    for layer, W in zip(found.layers, Ws, strict=True):
        assert layer == pytest.approx(tuple(layer_bounds(W, share)), rel=1e-9, abs=1e-12)
    k_nu, k_sigma = [v.k_nu for v in found.layers], [v.k_sigma for v in found.layers]
    for p, ks, terms in ((INF, k_nu, found.linf_alignment), (2, k_sigma, found.l2_alignment)):
        pairs = zip(Ws[1:], Ws[:-1], ks[1:], ks[:-1], strict=True)
        assert terms == tuple(align.aligned(*pair, p, method) for pair in pairs)
    assert found.linf_lipschitz == lip.lipschitz_upper(Ws, INF, k_nu, method=method)
    assert found.linf_lipschitz_tight == lip.lipschitz_upper(Ws, INF, k_nu, method=method, tight=True)
    assert found.l2_lipschitz.value == pytest.approx(lip.lipschitz_upper(Ws, 2, k_sigma, method=method).value)
    assert found.linf_product == pytest.approx(lip.product_of_norms(Ws, INF))
    assert found.l2_product == pytest.approx(lip.product_of_norms(Ws, 2))
    assert found.l2_lipschitz.certified == (method != "greedy" or len(Ws) == 1)


def test_wide_layers_take_the_gram_route_and_agree():
    generator = torch.Generator().manual_seed(0)
    Ws = [matrix("gaussian", m, n, generator) for n, m in ((350, 300), (300, 300), (300, 280))]
    found = net_bounds(Ws)
    U, s, V = zip(*(torch.linalg.svd(W, full_matrices=False) for W in Ws), strict=True)
    for layer, sigma in zip(found.layers, s, strict=True):
        assert layer.compress_eps_sigma == pytest.approx(comp.eps_q(sigma, 1, layer.k_sigma), rel=1e-9)
        assert layer.l2_norm == pytest.approx(float(sigma[0]), rel=1e-12)
    for at, term in enumerate(found.l2_alignment):
        k1, k2 = found.layers[at].k_sigma, found.layers[at + 1].k_sigma
        A, B = U[at][:, :k1] * s[at][:k1].sqrt(), s[at + 1][:k2, None].sqrt() * V[at + 1][:k2]
        top = math.sqrt(float(s[at][0] * s[at + 1][0]))
        envelope = (B.abs() @ A.abs() + (B @ A).abs()) / 2
        main = min(1, (1 + norms.op_norm(B @ A, 2) / top) / 2, norms.op_norm(envelope, 2) / top)
        rest = [math.sqrt(float(s[i][k] / s[i][0])) for i, k in ((at, k1), (at + 1, k2))]
        assert term.value == pytest.approx(min(1, main + (1 + rest[0]) * (1 + rest[1]) - 1), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: net_bounds([]), "at least one matrix"),
        (lambda: net_bounds([torch.eye(2), torch.eye(3)]), r"Ws\[1\] must take what Ws\[0\] gives"),
        (lambda: net_bounds([torch.eye(2), torch.full((2, 2), math.nan)]), r"Ws\[1\] must be finite"),
        (lambda: net_bounds([torch.eye(2)], share=0.0), r"share must lie in \(0, 1\]"),
        (lambda: layer_bounds(torch.eye(2), share=1.5), r"share must lie in \(0, 1\]"),
        (lambda: net_bounds([torch.eye(2)] * 2, method="guess"), "method must be"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
