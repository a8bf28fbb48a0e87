"""Penalties: values by hand, naive twins, gradients against central differences, invariances, odd matrices."""

import math

import pytest
import torch

from study.nets.penalties import PENALTIES, group_lasso_invariant, l1_norm, spread_control
from study.theory import alignment as theory
from study.theory.alignment_slope import alignment_slope

F64 = torch.float64
SMOOTH = {"group_lasso_invariant": group_lasso_invariant, "l1": l1_norm, "spread_control": spread_control,
          "group_lasso": PENALTIES["group_lasso"]}  # fmt: skip
SHAPES = [(7, 4), (1, 5), (4, 1), (2, 2), (60, 3)]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def differences(function, W, step=1e-6):
    """Central differences of a function of one matrix, entry by entry."""
    out = torch.zeros_like(W)
    for i in range(W.numel()):
        move = torch.zeros_like(W)
        move.view(-1)[i] = step
        out.view(-1)[i] = (function(W + move) - function(W - move)) / (2 * step)
    return out


def slope(function, W):
    W = W.clone().requires_grad_(True)
    function([W]).backward()
    return W.grad


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_central_differences(name, shape):
    function = SMOOTH[name]
    for seed in range(3):
        W = drawn(*shape, seed=seed) * 3
        found = differences(lambda V: float(function([V])), W)
        assert torch.allclose(slope(function, W), found, atol=1e-6), (name, shape, seed)


def test_a_zero_row_is_left_where_it_is_and_the_others_have_their_gradient():
    """At a zero row a sum of norms has a kink, whose subgradients 0 is among."""
    W = drawn(5, 3)
    W[2] = 0
    clear = torch.arange(5) != 2
    for name in ("group_lasso", "group_lasso_invariant"):
        function = PENALTIES[name]
        given = slope(function, W)
        assert given[2].tolist() == [0, 0, 0]
        assert torch.allclose(given[clear], differences(lambda V, f=function: float(f([V])), W)[clear], atol=1e-6)
    W[:3] = 0  # of 5 rows the top two are those left
    assert torch.allclose(slope(spread_control, W), differences(lambda V: float(spread_control([V])), W), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_layer_of_zeros_or_nearly_and_a_huge_one_have_finite_values_and_gradients(name, dtype):
    function = SMOOTH[name]
    W = drawn(4, 3).to(dtype)
    for scale in (0.0, 1e-30, 1e-22, 1e-15, 1e15):
        V = (scale * W).requires_grad_(True)
        value = function([V])
        value.backward()
        assert bool(value.isfinite()), scale
        assert bool(V.grad.isfinite().all()), scale
        if scale == 0:
            assert float(value.detach()) == 0
            assert torch.equal(V.grad, torch.zeros_like(V))


def test_values_by_hand():
    W = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -12.0]])  # norms 5, 0, 12; ||W||_F = 13
    assert float(group_lasso_invariant([W, torch.eye(2)])) == pytest.approx(17 / 13 + 2 / math.sqrt(2))
    assert float(l1_norm([W, torch.tensor([-1.0])])) == pytest.approx(20)
    assert float(spread_control([W])) == pytest.approx(3.5**2)  # 5 and 12: deviations of 3.5
    assert float(spread_control([W, torch.eye(2), torch.ones(1, 4)])) == pytest.approx(3.5**2)


def test_gradients_by_hand():
    W = torch.tensor([[3.0, 0.0], [0.0, 4.0]])  # sum 7, norm 5: (w_i / n_i - 7/25 w_i) / 5
    found = slope(group_lasso_invariant, W)
    assert torch.allclose(found, torch.tensor([[(1 - 0.84) / 5, 0], [0, (1 - 1.12) / 5]]))
    assert torch.allclose(slope(spread_control, W), torch.tensor([[-0.5, 0], [0, 0.5]]))  # 2 (n - mean) / 2 u
    assert slope(l1_norm, W - 1).tolist() == [[1, -1], [-1, 1]]


@pytest.mark.parametrize(("rows", "top"), [(1, 1), (2, 2), (3, 2), (29, 2), (40, 2), (60, 3), (100, 5), (400, 20)])
def test_the_largest_rows_are_a_twentieth_and_two_at_least(rows, top):
    W = drawn(rows, 6)
    norms = sorted((math.sqrt(sum(float(w) ** 2 for w in row)) for row in W), reverse=True)[:top]
    mean = sum(norms) / top
    assert float(spread_control([W])) == pytest.approx(sum((n - mean) ** 2 for n in norms) / top)
    assert int((slope(spread_control, W).abs().sum(dim=1) > 0).sum()) == (top if rows > 1 else 0)


def test_of_equal_rows_at_the_cut_the_first_counts():
    W = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 1.0]])
    assert float(spread_control([W])) == pytest.approx(0.25)
    assert slope(spread_control, W).tolist() == [[0, -0.5], [0.5, 0], [0, 0]]


@pytest.mark.parametrize("shape", SHAPES)
def test_naive_twins_agree(shape):
    matrices = [drawn(*shape, seed=s) for s in range(3)]
    ratio = absolute = 0.0
    for W in matrices:
        norms = [math.sqrt(sum(float(w) ** 2 for w in row)) for row in W]
        ratio += sum(norms) / math.sqrt(sum(n * n for n in norms))
        absolute += sum(abs(float(w)) for w in W.flatten())
    assert float(group_lasso_invariant(matrices)) == pytest.approx(ratio)
    assert float(l1_norm(matrices)) == pytest.approx(absolute)


def test_the_invariant_form_has_no_scale_and_lies_between_one_row_and_equal_rows():
    for seed in range(20):
        W = drawn(6, 4, seed=seed)
        value = float(group_lasso_invariant([W]))
        assert 1 < value < math.sqrt(6)
        assert float(group_lasso_invariant([W * 10.0 ** (seed - 10)])) == pytest.approx(value)
        assert float((slope(group_lasso_invariant, W) * W).sum()) == pytest.approx(0, abs=1e-12)
        assert float(group_lasso_invariant([W[torch.randperm(6)] * -1])) == pytest.approx(value)
    one = torch.zeros(6, 4, dtype=F64)
    one[3] = drawn(4)
    assert float(group_lasso_invariant([one])) == pytest.approx(1)
    assert float(group_lasso_invariant([torch.eye(9)])) == pytest.approx(3)


def test_a_common_scale_moves_l1_and_spread_as_the_formula_says():
    W = drawn(30, 4)
    assert float(l1_norm([3 * W])) == pytest.approx(3 * float(l1_norm([W])))
    assert float(spread_control([3 * W])) == pytest.approx(9 * float(spread_control([W])))


# --- the alignment of consecutive layers

CHAINS = [((6, 5), (4, 6), 0.5), ((5, 9), (7, 5), 0.3), ((8, 3), (2, 8), 1.0), ((1, 3), (4, 1), 0.1),
          ((4, 4), (1, 4), 0.5), ((20, 20), (20, 20), 0.1)]  # fmt: skip


def align(W1, W2, share):
    return float(alignment_slope([W1, W2], [(0, 1)], share)[0])


@pytest.mark.parametrize(("first", "second", "share"), CHAINS)
def test_alignment_is_the_main_term_of_theory_at_the_identity_and_its_gradient_that_of_differences(
    first, second, share
):
    W1, W2 = drawn(*first), drawn(*second, seed=1)
    k1, k2 = (max(1, round(share * min(shape))) for shape in (first, second))
    later, earlier = theory.side(W2, k2, 2.0), theory.side(W1, k1, 2.0)
    whole = float(theory.norms(later.after @ earlier.before, 2.0)) / (later.scale * earlier.scale)
    assert align(W1, W2, share) == pytest.approx(whole)
    _, (by_first, by_second) = alignment_slope([W1, W2], [(0, 1)], share)
    if W1.numel() <= 50:
        assert torch.allclose(by_first, differences(lambda V: align(V, W2, share), W1), atol=1e-6)
        assert torch.allclose(by_second, differences(lambda V: align(W1, V, share), W2), atol=1e-6)
    if W1.shape[0] <= 8:  # over all patterns it can only be larger
        assert theory.alignment(W2, W1, k2, k1, 2.0, "exact").value >= whole - 1e-9


def test_alignment_has_no_scale_and_does_not_see_common_rotations():
    W1, W2 = drawn(6, 5), drawn(4, 6, seed=1)
    value, slopes = alignment_slope([W1, W2], [(0, 1)], 0.5)
    assert align(1e4 * W1, 1e-6 * W2, 0.5) == pytest.approx(float(value))
    for W, found in zip((W1, W2), slopes, strict=True):
        assert float((W * found).sum()) == pytest.approx(0, abs=1e-12)
    Q = torch.linalg.qr(drawn(6, 6, seed=2)).Q
    assert align(Q @ W1, W2 @ Q.T, 0.5) == pytest.approx(float(value))


def test_alignment_by_hand():
    tall = torch.diag(torch.tensor([4.0, 1.0], dtype=F64))
    assert align(tall, tall, 0.5) == pytest.approx(1)  # both stretch the first axis most
    assert align(tall, tall.flip(0, 1), 0.5) == pytest.approx(0, abs=1e-12)  # k = 1: the axes have nothing in common
    assert align(tall, tall.flip(0, 1), 1.0) == pytest.approx(0.5)  # sqrt(4 * 1) / 4
    turn = torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]], dtype=F64)
    assert align(turn @ tall, tall, 0.5) == pytest.approx(math.cos(0.3))


def test_ties_low_rank_and_zeros_have_finite_gradients_of_alignment():
    flat, low = torch.eye(5, dtype=F64), drawn(5, 2) @ drawn(2, 5, seed=1)
    for first in (flat, low, torch.zeros(5, 5, dtype=F64), torch.ones(5, 5, dtype=F64)):
        for second in (flat, low.T, torch.zeros(5, 5, dtype=F64)):
            for share in (0.1, 0.6, 1.0):
                value, slopes = alignment_slope([first, second], [(0, 1)], share)
                assert 0 <= float(value) <= 1 + 1e-9
                assert all(bool(s.isfinite().all()) for s in slopes)
                if not first.any() or not second.any():
                    assert float(value) == 0
                    assert not any(bool(s.any()) for s in slopes)


def test_equal_singular_values_on_one_side_of_the_cut_have_the_gradient_of_differences():
    """Where a singular value decomposition's own gradient divides by zero."""
    s = torch.tensor([3.0, 3.0, 1.0, 1.0], dtype=F64)
    U, V = (torch.linalg.qr(drawn(4, 4, seed=i)).Q for i in (3, 4))
    W1, W2 = (U * s) @ V.T, drawn(3, 4, seed=5)
    found = alignment_slope([W1, W2], [(0, 1)], 0.5)[1][0]
    # sigma_1 alone has a kink there: the main term before it is divided by sigma_1 has none

    def undivided(M):
        later, earlier = theory.side(W2, 2, 2.0), theory.side(M, 2, 2.0)
        return float(theory.norms(later.after @ earlier.before, 2.0))

    scale = math.sqrt(3.0 * float(torch.linalg.svdvals(W2)[0]))
    smooth = differences(undivided, W1, 1e-5) / scale
    rest = found - smooth  # a subgradient of -(1/2) log sigma_1, times the value
    value = align(W1, W2, 0.5)
    assert torch.linalg.svdvals(rest).tolist() == pytest.approx([value / 6, 0, 0, 0], abs=1e-5)


def test_pairs_add_up_and_what_is_in_none_has_no_gradient():
    layers = [drawn(6, 5), drawn(4, 6, seed=1), drawn(3, 4, seed=2), drawn(9, 9, seed=3)]
    value, slopes = alignment_slope(layers, [(0, 1), (1, 2)], 0.5)
    assert float(value) == pytest.approx(align(*layers[:2], 0.5) + align(*layers[1:3], 0.5))
    middle = alignment_slope(layers[:2], [(0, 1)], 0.5)[1][1] + alignment_slope(layers[1:3], [(0, 1)], 0.5)[1][0]
    assert torch.allclose(slopes[1], middle)
    assert not slopes[3].any()
    with pytest.raises(ValueError, match=r"a pair must chain: shapes \(9, 9\) after \(3, 4\)"):
        alignment_slope(layers, [(2, 3)], 0.5)
