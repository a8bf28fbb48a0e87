"""Paper B's bounds against exact enumeration over masks, and the trade-off's exact fronts against search."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.theory import pruning, tradeoff


def masks(W):
    """Every 0/1 mask of a small matrix."""
    for bits in itertools.product((0.0, 1.0), repeat=W.numel()):
        yield torch.tensor(bits, dtype=torch.float64).view_as(W)


def chance(B, P):
    return float(torch.where(B > 0, P, 1 - P).prod())


def norm_2(W):
    return float(torch.linalg.matrix_norm(W, ord=2))


small = st.integers(0, 2**31).map(lambda s: torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(s)).double())


@settings(deadline=None, max_examples=25)
@given(small, st.booleans(), st.integers(0, 2**31))
def test_gamma_bounds_the_expected_product_of_norms(stack, uniform, seed):
    Ws = [stack[0], stack[1].T[:2, :2]]
    random = torch.Generator().manual_seed(seed)
    Ps = [torch.rand(W.shape, generator=random).double() for W in Ws]
    if uniform:
        Ps = [torch.full_like(W, float(P.mean())) for W, P in zip(Ws, Ps, strict=True)]
    expected = [sum(chance(B, P) * norm_2(B * W) for B in masks(W)) for W, P in zip(Ws, Ps, strict=True)]
    tight, printed = pruning.gamma_bound(Ws, Ps, 0.7, tight=True), pruning.gamma_bound(Ws, Ps, 0.7)
    assert 0.7 * math.prod(expected) <= tight * (1 + 1e-9)
    assert tight <= printed * (1 + 1e-9)


@settings(deadline=None, max_examples=25)
@given(small, st.booleans(), st.integers(0, 2**31))
def test_zeta_bounds_the_expected_distance(stack, uniform, seed):
    Ws = [stack[0], stack[1].T[:2, :2]]
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(3, generator=random).double()
    Ps = [torch.rand(W.shape, generator=random).double() for W in Ws]
    if uniform:
        Ps = [torch.full_like(W, float(P.mean())) for W, P in zip(Ws, Ps, strict=True)]

    def run(A, B):
        return B @ (A @ x).clamp_min(0)

    full = run(*Ws)
    expected = sum(
        chance(A, Ps[0]) * chance(B, Ps[1]) * float((run(A * Ws[0], B * Ws[1]) - full).norm())
        for A in masks(Ws[0])
        for B in masks(Ws[1])
    )
    assert expected <= pruning.zeta_bound(Ws, Ps, float(x.norm()), "sharp") * (1 + 1e-9)
    if uniform:
        assert expected <= pruning.zeta_bound(Ws, Ps, float(x.norm()), "paper") * (1 + 1e-9)
        assert pruning.zeta_bound(Ws, Ps, 1.0, "sharp") <= pruning.zeta_bound(Ws, Ps, 1.0, "paper") * (1 + 1e-9)


def sylvester(n):
    H = torch.ones(1, 1, dtype=torch.float64)
    while len(H) < n:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)], 0)
    return H


def test_erratum_14_the_budget_belongs_in_gamma():
    W = torch.eye(2)
    assert pruning.gamma_bound([W], [1.0], eps=3.0) == pytest.approx(3 * math.sqrt(2))
    assert pruning.gamma_bound([W], [1.0]) < 3.0  # the printed gamma, below the risk of the identity at eps = 3


def test_erratum_14_pruning_may_raise_the_true_norm():
    H = sylvester(64)
    random = torch.Generator().manual_seed(0)
    kept = [norm_2(H * (torch.rand(64, 64, generator=random) < 0.9)) for _ in range(20)]
    assert sum(kept) / 20 > 10 > norm_2(H) == pytest.approx(8)


def test_erratum_15_the_printed_zeta_fails_and_the_sharp_form_holds():
    n = 32
    H = sylvester(n)
    P1, P2 = (H > 0).double(), (H < 0).double()
    x = torch.ones(n, dtype=torch.float64) / math.sqrt(n)
    full = H @ (H @ x).clamp_min(0)
    pruned = (P2 * H) @ ((P1 * H) @ x).clamp_min(0)
    actual = float((pruned - full).norm())
    assert actual == pytest.approx(283.5, rel=1e-3)
    assert pruning.zeta_bound([H, H], [P1, P2], 1.0, "paper") == pytest.approx(256, rel=1e-3)
    assert pruning.zeta_bound([H, H], [P1, P2], 1.0, "sharp") >= actual


@pytest.mark.parametrize("p", [0.5, 0.25, 0.1])
def test_erratum_16_the_printed_constant_fails_and_the_corrected_one_holds(p):
    d = 102
    zero, ffn = torch.zeros(d, d), torch.zeros(d, d)
    ffn[0, 1:101] = 5.0
    random = torch.Generator().manual_seed(0)
    expected = sum(norm_2(torch.eye(d) + ffn * (torch.rand(d, d, generator=random) < p)) for _ in range(200)) / 200
    frobenius = 1 + float(ffn.norm())
    printed = pruning.thm1_constant([zero], [zero], [zero], zero, ffn, d, p, corrected=False)
    corrected = pruning.thm1_constant([zero], [zero], [zero], zero, ffn, d, p)
    assert expected > (d / (d - 1)) ** 2 * printed * frobenius
    assert expected <= corrected * frobenius
    assert pruning.thm1_constant([zero], [zero], [zero], zero, ffn, d, 1.0) == pytest.approx(1)


def test_lemma_1_on_paper():
    eye = torch.eye(4)
    found = pruning.lemma1_gamma([eye, eye], [eye, eye], [eye, eye], eye, 2 * eye, 4, 0.1)
    c1 = 1 + math.sqrt(2) * (4 / math.sqrt(2) + 1)
    assert found == pytest.approx((4 / 3) ** 2 * c1 * 3 * 0.1)


K = tradeoff.Constants(A=13.0, b=(1.4, 1.1, 2.0), C=5.0)


def test_constants_on_paper():
    k = tradeoff.constants([torch.diag(torch.tensor([3.0, 4.0])), 2 * torch.eye(2)], 1.5)
    assert k.A == pytest.approx(5 * 2 * math.sqrt(2))
    assert k.b == pytest.approx((5 / 4, math.sqrt(2)))
    assert k.C == pytest.approx(1.5 * 4 * 2)


@pytest.mark.parametrize("floor", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_no_search_beats_the_layerwise_front(floor, share):
    gamma0 = max(share, floor**1.5) * K.A
    best = tradeoff.front_layerwise(K, gamma0, floor)
    assert best.gamma == pytest.approx(gamma0)
    assert min(best.p) >= floor
    draws = torch.rand(3000, 3, generator=torch.Generator().manual_seed(1)).log().pow(3)  # many near the corners
    for u in draws / draws.sum(1, keepdim=True):
        p = [math.exp(-2 * math.log(K.A / gamma0) * float(v)) for v in u]
        if min(p) >= floor:
            assert tradeoff.evaluate(K, p).zeta >= best.zeta - 1e-9
    uniform = tradeoff.front_uniform(K, gamma0)
    assert uniform.gamma == pytest.approx(gamma0)
    assert uniform.zeta >= best.zeta - 1e-12


def test_the_front_without_a_floor_is_a_quarter_ellipse():
    for share in (0.0, 0.2, 0.7, 1.0):
        at = tradeoff.front_layerwise(K, share * K.A)
        assert (at.gamma / K.A) ** 2 + (at.zeta / (K.C * min(K.b))) ** 2 == pytest.approx(1)


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.28, 0.5, 0.9, 1.0])
def test_the_scalarised_minimum_is_the_least_on_a_grid(lam):
    value, p = tradeoff.scalarised_minimum(K, lam)
    grid = [i / 12 for i in range(13)]
    assert value <= min(tradeoff.objective(K, lam, q) for q in itertools.product(grid, repeat=3)) + 1e-9
    assert value == pytest.approx(tradeoff.objective(K, lam, p))
    assert set(p) <= {0.0, 1.0}


@pytest.mark.parametrize("lam", [0.3, 0.5, 0.7])
def test_erratum_20_the_printed_algorithm_climbs_to_coordinate_maxima(lam):
    k = tradeoff.Constants(A=12.0, b=(1.3, 1.3), C=4.0)
    found = tradeoff.algorithm1_as_printed(k, lam, (0.5, 0.5), tol=1e-14, most=2000)
    here = tradeoff.objective(k, lam, found)
    for i in range(2):
        for q in (j / 50 for j in range(51)):
            other = list(found)
            other[i] = q
            assert tradeoff.objective(k, lam, other) <= here + 1e-6
    assert here >= tradeoff.scalarised_minimum(k, lam)[0]


def test_erratum_20_the_printed_algorithm_prunes_everything_when_only_fidelity_counts():
    assert tradeoff.algorithm1_as_printed(K, 0.0, (0.5, 0.5, 0.5)) == pytest.approx((0, 0, 0))
    assert tradeoff.algorithm1_as_printed(K, 1.0, (0.5, 0.5, 0.5)) == (1.0, 1.0, 1.0)
    assert tradeoff.scalarised_minimum(K, 0.0)[1] == (1.0, 1.0, 1.0)


def test_erratum_21_scalarisation_misses_the_middle_of_the_front():
    found = {tradeoff.scalarised_minimum(K, lam / 50)[1] for lam in range(51)}
    assert len(found) == 2
    reached = {round(tradeoff.chebyshev_layerwise(K, lam / 10).gamma, 6) for lam in range(11)}
    assert len(reached) == 11


@pytest.mark.parametrize("lam", [0.1, 0.5, 0.8])
def test_chebyshev_points_balance_both_sides(lam):
    at = tradeoff.chebyshev_layerwise(K, lam)
    assert lam * at.gamma / K.A == pytest.approx((1 - lam) * at.zeta / (K.C * min(K.b)))
    uniform = tradeoff.chebyshev_uniform(K, lam)
    assert lam * uniform.gamma / K.A == pytest.approx((1 - lam) * uniform.zeta / (K.C * sum(K.b)), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pruning.gamma_bound([torch.eye(2)], [1.5]), r"Ps\[0\] must lie in"),
        (lambda: pruning.gamma_bound([torch.eye(2)], [torch.ones(3, 3)]), r"Ps\[0\] must be a number or of shape"),
        (lambda: pruning.gamma_bound([torch.eye(2)], [1.0], eps=-1), "eps must be at least 0"),
        (lambda: pruning.zeta_bound([torch.eye(2)], [1.0, 1.0], 1.0), "one entry per layer"),
        (lambda: pruning.zeta_bound([torch.eye(2)], [1.0], 1.0, "loose"), "form must be"),
        (lambda: tradeoff.front_layerwise(K, 0.1 * K.A, 0.9), "gamma0 must lie in"),
        (lambda: tradeoff.objective(K, 2.0, (1, 1, 1)), "lam must lie in"),
        (lambda: tradeoff.evaluate(K, (1, 1)), "p must hold 3 numbers"),
        (lambda: tradeoff.constants([torch.zeros(2, 2)], 1.0), "none of them zero"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
