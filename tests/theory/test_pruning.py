"""Paper B's bounds against exact enumeration over masks, and the trade-off's exact fronts against search."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.theory import blocks, pruning
from study.theory.blocks import Block
from tests.theory.strategies import sylvester


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


def test_erratum_14_the_budget_belongs_in_gamma():
    W = torch.eye(2)
    assert pruning.gamma_bound([W], [1.0], eps=3.0) == pytest.approx(3 * math.sqrt(2))
    assert pruning.gamma_bound([W], [1.0]) < 3.0  # the printed gamma, below the risk of the identity at eps = 3


def test_erratum_14_pruning_may_raise_the_true_norm():
    H = sylvester(64)
    random = torch.Generator().manual_seed(0)
    kept = [norm_2(H * (torch.rand(64, 64, generator=random) < 0.9)) for _ in range(20)]
    assert sum(kept) / 20 > 10 > norm_2(H) == pytest.approx(8)


def test_erratum_14_layers_must_be_masked_independently():
    one, p = torch.ones(1, 1), 0.3
    shared = p  # one coin for all three layers: their product is 1 with chance p
    assert shared > pruning.gamma_bound([one] * 3, [p] * 3) == pytest.approx(p**1.5)


def test_erratum_14_only_the_tight_form_sees_magnitude_pruning():
    W = torch.tensor([[3.0, 1.0], [1.0, -2.0]])
    kept = (W.abs() > 1.5).double()
    assert pruning.gamma_bound([W], [kept]) == pytest.approx(float(W.norm()))
    assert pruning.gamma_bound([W], [kept], tight=True) == pytest.approx(math.sqrt(13))
    assert norm_2(kept * W) <= math.sqrt(13)


def test_erratum_15_removing_entries_may_raise_a_norm_layer_after_layer():
    W = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    P = (W > 0).double()
    assert norm_2(P * W) == pytest.approx((1 + math.sqrt(5)) / 2)
    assert norm_2(W) == pytest.approx(math.sqrt(2))
    full = pruned = torch.tensor([(1 + math.sqrt(5)) / 2, 1.0], dtype=torch.float64)
    norm = float(full.norm())
    for _ in range(22):
        full, pruned = (W @ full).clamp_min(0), ((P * W) @ pruned).clamp_min(0)
    actual = float((pruned - full).norm()) / norm
    assert actual > 37000 > 32000 > pruning.zeta_bound([W] * 22, [P] * 22, 1.0, "paper")
    assert pruning.zeta_bound([W] * 22, [P] * 22, 1.0, "sharp") >= actual


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
    printed = blocks.thm1_constant(Block([zero], [zero], [zero], zero, [ffn], d), p, corrected=False)
    corrected = blocks.thm1_constant(Block([zero], [zero], [zero], zero, [ffn], d), p)
    assert expected > (d / (d - 1)) ** 2 * printed * frobenius
    assert expected <= corrected * frobenius
    assert blocks.thm1_constant(Block([zero], [zero], [zero], zero, [ffn], d), 1.0) == pytest.approx(1)


@pytest.mark.parametrize("p", [0.5, 0.25])
def test_erratum_16_the_attention_path_gets_p_and_not_its_square(p):
    d = 102
    zero, V, out = torch.zeros(d, d), torch.zeros(d, d), torch.zeros(d, d)
    V[0, 2:], out[2:, 0] = 1.0, 1.0
    random = torch.Generator().manual_seed(0)

    def draw(W):
        return W * (torch.rand(d, d, generator=random) < p)

    # one token attends to itself alone, so that the block is x + out V x
    expected = sum(norm_2(torch.eye(d) + draw(out) @ draw(V)) for _ in range(60)) / 60
    full = 1 + float(out.norm()) * float(V.norm())
    printed = blocks.thm1_constant(Block([zero], [zero], [V], out, [zero], d), p, corrected=False)
    assert expected > (d / (d - 1)) ** 2 * printed * full
    assert expected <= blocks.thm1_constant(Block([zero], [zero], [V], out, [zero], d), p) * full


def test_erratum_17_the_expected_maximum_over_heads_is_not_the_maximum_of_expectations():
    p, H = 0.2, 8  # eight heads of one entry each, kept with chance p: E ||B * V|| = p <= sqrt(p)
    largest = 1 - (1 - p) ** H
    assert largest == pytest.approx(0.83, abs=0.01)
    assert largest > math.sqrt(p)
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    factor = blocks.thm1_constant(Block([zero] * H, [zero] * H, [one] * H, one, [zero], 8), p)
    block = factor * (1 + math.sqrt(H))  # the corrected Frobenius bound of 1 + out [heads]
    assert 1 + p * largest <= 1 + p * math.sqrt(H) <= block + 1e-9


@pytest.mark.parametrize("corrected", [False, True])
def test_erratum_18_the_constant_does_not_multiply_the_spectral_gamma(corrected):
    H, zero, p = sylvester(16), torch.zeros(16, 16), 0.5
    random = torch.Generator().manual_seed(0)
    expected = sum(norm_2(torch.eye(16) + H * (torch.rand(16, 16, generator=random) < p)) for _ in range(200)) / 200
    factor = blocks.thm1_constant(Block([zero], [zero], [zero], zero, [H], 16), p, corrected)
    assert expected > factor * (1 + norm_2(H))
    assert expected <= factor * (1 + float(H.norm()))


def test_erratum_19_a_head_may_exceed_its_constant_on_the_unit_cube():
    A = torch.full((8, 8), 0.25, dtype=torch.float64)
    X = torch.full((49, 8), 0.5, dtype=torch.float64)
    X[0] = 1
    J = torch.func.jacrev(lambda X: torch.softmax(X @ A @ X.T, -1) @ X)(X).reshape(X.numel(), X.numel())
    assert norm_2(A) == pytest.approx(2)
    assert norm_2(J) > 10.6 > 4 * norm_2(A) + 1


def test_erratum_19_layer_normalisation_has_no_such_lipschitz_constant():
    d = 8
    x = 1 + 1e-4 * torch.arange(d, dtype=torch.float64)
    J = torch.func.jacrev(lambda x: (x - x.mean()) / x.var(correction=0).sqrt())(x)
    assert norm_2(J) > 1000 * d / (d - 1)


def test_lemma_1_on_paper():
    eye = torch.eye(4)
    found = blocks.lemma1_gamma(Block([eye, eye], [eye, eye], [eye, eye], eye, [2 * eye], 4), 0.1)
    c1 = 1 + math.sqrt(2) * (4 / math.sqrt(2) + 1)
    assert found == pytest.approx((4 / 3) ** 2 * c1 * 3 * 0.1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pruning.gamma_bound([torch.eye(2)], [1.5]), r"Ps\[0\] must lie in"),
        (lambda: pruning.gamma_bound([torch.eye(2)], [torch.ones(3, 3)]), r"Ps\[0\] must be a number or of shape"),
        (lambda: pruning.gamma_bound([torch.eye(2)], [1.0], eps=-1), "eps must be at least 0"),
        (lambda: pruning.zeta_bound([torch.eye(2)], [1.0, 1.0], 1.0), "one entry per layer"),
        (lambda: pruning.zeta_bound([torch.eye(2)], [1.0], 1.0, "loose"), "form must be"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_two_matrices_of_a_feed_forward_part_are_masked_each_by_itself(p):
    """Without attention and activation the block is I + W2 W1: its expected norm lies under the corrected factor."""
    random = torch.Generator().manual_seed(0)
    W1, W2 = torch.randn(24, 8, generator=random), torch.randn(8, 24, generator=random)
    zero = torch.zeros(8, 8)

    def draw(W):
        return W * (torch.rand(W.shape, generator=random) < p)

    expected = sum(norm_2(torch.eye(8) + draw(W2) @ draw(W1)) for _ in range(100)) / 100
    block = Block([zero], [zero], [zero], zero, [W1, W2], 8)
    assert expected <= blocks.thm1_gamma(block, p) == pytest.approx(1 + p * float(W1.norm()) * float(W2.norm()))
    assert blocks.thm1_gamma(block, p, norms=(5.0, 2.0)) == pytest.approx(1 + 2 * p * float(W1.norm() * W2.norm()))
