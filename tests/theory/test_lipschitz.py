"""Paper A's alignment and Theorem 3.2: certified bounds above enumerated maxima, and the printed slips that fail."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from study.theory import alignment as align
from study.theory import compressibility as comp
from study.theory import lipschitz as lip
from study.theory import operator_norms as norms
from tests.theory.strategies import KINDS, matrix, nets

INF = math.inf


def naive_alignment(W2, W1, k2, k1, p):
    """Every pattern of every hidden unit, written out from Equations 6 and 7."""
    best = 0.0
    for bits in itertools.product((0.0, 1.0), repeat=W1.shape[0]):
        D = torch.diag(torch.tensor(bits, dtype=torch.float64))
        if p == INF:
            M = comp.row_compress(W2, k2) @ D @ comp.row_compress(W1, k1)
            best = max(best, float(M.abs().sum(1).max()) / (norms.op_norm(W2, p) * norms.op_norm(W1, p)))
        else:
            _, s2, V2 = torch.linalg.svd(W2, full_matrices=False)
            U1, s1, _ = torch.linalg.svd(W1, full_matrices=False)
            M = torch.diag(s2[:k2].sqrt()) @ V2[:k2] @ D @ U1[:, :k1] @ torch.diag(s1[:k1].sqrt())
            best = max(best, float(torch.linalg.matrix_norm(M, ord=2)) / math.sqrt(float(s2[0] * s1[0])))
    return best


def cut_is_unique(W, k):
    """Whether the first k singular directions are one subspace: among equal values any would do, and each gives its own
    main term."""
    s = torch.linalg.svdvals(W)
    return k == len(s) or float(s[k - 1] - s[k]) > 1e-6 * float(s[0])


@settings(deadline=None, max_examples=60)
@given(nets(), st.sampled_from([2, INF]), st.data())
def test_exact_is_the_maximum_greedy_is_below_and_the_upper_bound_above(Ws, p, data):
    W1, W2 = Ws
    if float(W1.abs().max()) == 0 or float(W2.abs().max()) == 0:
        assert align.alignment(W2, W1, 1, 1, p).value == 0
        return
    k2 = data.draw(st.integers(1, W2.shape[0] if p == INF else min(W2.shape)))
    k1 = data.draw(st.integers(1, W1.shape[0] if p == INF else min(W1.shape)))
    assume(p == INF or all(cut_is_unique(W, k) for W, k in ((W2, k2), (W1, k1))))
    exact, upper, greedy = (align.alignment(W2, W1, k2, k1, p, m) for m in ("exact", "upper", "greedy"))
    assert exact.value == pytest.approx(min(1.0, naive_alignment(W2, W1, k2, k1, p)), rel=1e-7, abs=1e-9)
    assert greedy.value <= exact.value + 1e-9 <= upper.value + 2e-9
    assert upper.value <= 1
    assert (exact.certified, upper.certified, greedy.certified) == (True, True, False)


def naive_pattern_max(Ws, p):
    """Pattern after pattern, matrix after matrix."""
    best = 0.0
    for bits in itertools.product((0.0, 1.0), repeat=sum(len(W) for W in Ws[:-1])):
        product, left = Ws[0], list(bits)
        for W in Ws[1:]:
            D, left = torch.tensor(left[: W.shape[1]], dtype=torch.float64), left[W.shape[1] :]
            product = W @ torch.diag(D) @ product
        best = max(best, norms.op_norm(product, p))
    return best


@settings(deadline=None, max_examples=30)
@given(nets(least=1, deepest=4, most=3, hidden=6), st.sampled_from([2, INF]))
def test_the_pattern_maximum_agrees_with_its_naive_twin(Ws, p):
    assert lip.pattern_max(Ws, p) == pytest.approx(naive_pattern_max(Ws, p), rel=1e-9, abs=1e-12)


def bounds_hold(Ws, p, ks, method):
    true = lip.pattern_max(Ws, p)
    assert lip.product_of_norms(Ws, p) >= true * (1 - 1e-9)
    for tight in (False, True):
        bound = lip.lipschitz_upper(Ws, p, ks, method=method, tight=tight)
        assert bound.certified
        assert bound.value >= true * (1 - 1e-9)
        assert not math.isnan(bound.value)
    X = torch.randn(12, Ws[0].shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for how in ("jacobian", "secant"):
        assert lip.lipschitz_lower(Ws, X, p, how) <= true * (1 + 1e-7) + 1e-12


@settings(deadline=None, max_examples=100)
@given(
    nets(least=1, deepest=4, most=8, hidden=12),
    st.sampled_from([2, INF]),
    st.sampled_from(["exact", "upper"]),
    st.data(),
)
def test_a_certified_bound_is_never_below_the_true_maximum(Ws, p, method, data):
    ks = [data.draw(st.integers(1, W.shape[0] if p == INF else min(W.shape))) for W in Ws]
    bounds_hold(Ws, p, ks, method)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(8, 8, 8, 4, 8), (8, 7, 7, 6, 8), (5, 8, 6, 6, 1), (8, 8, 8, 8)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [2, INF])
def test_a_certified_bound_is_never_below_the_true_maximum_of_wide_nets(sizes, kind, p):
    generator = torch.Generator().manual_seed(1)
    Ws = [matrix(kind, m, n, generator) for n, m in itertools.pairwise(sizes)]
    for share in (0.01, 0.4, 1.0):
        ks = [comp.dominant_k(W.shape[0] if p == INF else min(W.shape), share) for W in Ws]
        bounds_hold(Ws, p, ks, "exact" if share == 0.4 else "upper")


def test_exact_refuses_what_it_cannot_enumerate():
    W = torch.randn(30, 30)
    for p in (2, INF):
        with pytest.raises(ValueError, match=r"exact needs 2\^30"):
            align.alignment(W, W, 30, 30, p, "exact")
    assert align.alignment(W, W, 3, 3, INF, "exact").certified


def test_erratum_4_the_remainder_needs_the_next_singular_value():
    W = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert comp.eps_q(comp.singular_values(W), 1, 2) == 0
    assert align.remainder(torch.eye(4), W, 4, 2, 2) == 0
    s = comp.singular_values(W)
    assert math.sqrt(float(s[1] / s[0])) == 1  # the printed sigma_k / sigma_1


def test_erratum_5_with_its_remainder_alignment_exceeds_one_and_is_capped():
    eye = torch.eye(4)
    assert align.aligned(eye, eye, 2, 2, INF, cap=False).value == pytest.approx(4)
    assert align.aligned(eye, eye, 2, 2, INF).value == 1


def test_erratum_6_overlapping_pairs_are_false_for_inf():
    Ws = [torch.tensor([[0.0], [1.0]]), torch.diag(torch.tensor([10.0, 1.0])), torch.tensor([[0.0, 1.0]])]
    terms = [align.aligned(b, a, b.shape[0], a.shape[0], INF, "exact").value for a, b in itertools.pairwise(Ws)]
    norm = lip.product_of_norms(Ws, INF)
    assert lip.pattern_max(Ws, INF) == pytest.approx(1)
    assert norm * math.prod(terms) == pytest.approx(0.1)  # below the truth
    assert norm * lip.sopt(terms)[0] == pytest.approx(1)


@given(st.lists(st.floats(0, 3), max_size=9))
def test_the_dynamic_programme_agrees_with_all_disjoint_sets(a):
    value, chosen = lip.sopt(a)
    every = [
        math.prod(a[i] for i in s)
        for r in range(len(a) + 1)
        for s in itertools.combinations(range(len(a)), r)
        if all(j - i > 1 for i, j in itertools.pairwise(s))
    ]
    assert value == pytest.approx(min(every))
    assert value == pytest.approx(math.prod(a[i - 1] for i in chosen))
    assert all(j - i > 1 for i, j in itertools.pairwise(chosen))


def test_erratum_11_the_bound_is_often_looser_than_the_product_of_norms():
    generator = torch.Generator().manual_seed(0)
    nets = [[matrix("gaussian", m, n, generator) for n, m in ((6, 8), (8, 8), (8, 5))] for _ in range(20)]
    for p in (2, INF):
        looser = [lip.lipschitz_upper(Ws, p, [2, 2, 2]).value > lip.product_of_norms(Ws, p) for Ws in nets]
        assert sum(looser) > 10, "not tighter in general, so both are reported"


def test_erratum_24_the_heads_norm_is_a_vectors():
    head = torch.tensor([1.0, -1.0])
    induced = float(torch.linalg.matrix_norm(head[None], ord=1))
    x, x_adv = torch.tensor([0.2, 0.2]), torch.tensor([0.3, 0.1])  # an identity encoder attacked by .1 in l_inf
    moved = abs(float(head @ x_adv - head @ x))
    assert moved > 0.1 * induced
    assert moved <= lip.adv_risk_bound(0.0, 0.1, 1.0, head, INF) + 1e-6


def test_erratum_26_a_mean_over_samples_stays_below_the_supremum():
    W = torch.tensor([[1.0], [-1.0]]).double()
    head = torch.tensor([[1.0, 0.0]]).double()  # relu(x): slope 0 or 1
    for count in (10, 1000):
        X = torch.randn(count, 1, generator=torch.Generator().manual_seed(count)).double()
        slopes = [lip.lipschitz_lower([W, head], x[None], 2) for x in X]
        assert sum(slopes) / count < 0.9, "no number of samples cures the bias"
        assert lip.lipschitz_lower([W, head], X, 2) == lip.pattern_max([W, head], 2) == 1


def test_corollary_on_paper():
    head = torch.tensor([1.0, -2.0])
    assert lip.adv_risk_bound(0.5, 0.1, 4.0, head, INF) == pytest.approx(0.5 + 0.1 * 4 * 3)
    assert lip.adv_risk_bound(0.5, 0.1, 4.0, head, 2) == pytest.approx(0.5 + 0.4 * math.sqrt(5))
    assert lip.adv_risk_bound(0.5, 0.0, INF, head, 2) == 0.5


def test_corollary_holds_against_an_attack_on_a_random_net():
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        generator.manual_seed(seed)
        Ws = [torch.randn(m, n, generator=generator, dtype=torch.float64) for m, n in ((6, 4), (5, 6))]
        c = torch.randn(5, generator=generator, dtype=torch.float64)
        x = torch.randn(50, 4, generator=generator, dtype=torch.float64)
        y = torch.randn(50, generator=generator, dtype=torch.float64).sign()

        def risk(points, Ws=Ws, c=c, y=y):
            z = points
            for W in Ws:
                z = (z @ W.T).clamp_min(0)
            return torch.nn.functional.softplus(-y * (z @ c))

        for p, delta in ((INF, 0.1), (2, 0.2)):
            worst = risk(x)
            for _ in range(200):
                step = torch.randn(50, 4, generator=generator, dtype=torch.float64)
                step = step.sign() if p == INF else step / step.norm(dim=1, keepdim=True)
                worst = torch.maximum(worst, risk(x + delta * step))
            bound = lip.lipschitz_upper(Ws, p, [2, 2])
            assert float(worst.mean()) <= lip.adv_risk_bound(float(risk(x).mean()), delta, bound.value, c, p)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: align.alignment(torch.eye(2), torch.eye(3), 1, 1, 2), "W2 must take what W1 gives"),
        (lambda: align.alignment(torch.eye(2), torch.eye(2), 3, 1, 2), "k2 must be a whole number from 1 to 2"),
        (lambda: align.alignment(torch.eye(2), torch.eye(2), 1, 0, INF), "k1 must be"),
        (lambda: align.alignment(torch.eye(2), torch.eye(2), 1, 1, 1), "p must be 2 or inf"),
        (lambda: align.alignment(torch.eye(2), torch.eye(2), 1, 1, 2, "guess"), "method must be"),
        (lambda: lip.sopt([0.5, -1.0]), "at place 2"),
        (lambda: lip.lipschitz_upper([torch.eye(2)], 2, [1, 1]), "one entry per layer"),
        (lambda: lip.adv_risk_bound(0.0, -1.0, 1.0, torch.ones(2), 2), "delta and lipschitz"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
