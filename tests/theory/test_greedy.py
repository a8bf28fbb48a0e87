"""The search for an alignment term: one pattern's value, near the maximum, and what one-neuron flips find or more."""

import math

import pytest
import torch

from study.theory import alignment as align
from study.theory import greedy
from study.theory.bounds import net_bounds
from tests.theory.strategies import KINDS, matrix

INF = math.inf


def one_flip(B, A, p):
    """Flip the neuron that gains most until none does, from the full pattern (SeqLip's greedy search)."""
    d = torch.ones(B.shape[1], dtype=torch.float64)
    while True:
        values = []
        for j in range(len(d)):
            flipped = d.clone()
            flipped[j] = 1 - d[j]
            values.append(float(align.norms((B * flipped) @ A, p)))
        best = float(align.norms((B * d) @ A, p))
        if max(values) <= best * (1 + 1e-12):
            return best
        j = values.index(max(values))
        d[j] = 1 - d[j]


def pairs(count, kind, generator):
    """Two layers around eight hidden units, and a k for each."""
    for _ in range(count):
        a, c = (int(v) for v in torch.randint(1, 9, (2,), generator=generator))
        yield matrix(kind, c, 8, generator), matrix(kind, 8, a, generator)


@pytest.mark.parametrize("p", [2, INF])
def test_the_search_stays_below_the_maximum_and_seldom_misses_it(p):
    generator = torch.Generator().manual_seed(0)
    shares, flips = [], []
    for kind in KINDS:
        for W2, W1 in pairs(30, kind, generator):
            k2, k1 = (max(1, min(W.shape) // 2) for W in (W2, W1))
            exact, found = (align.alignment(W2, W1, k2, k1, p, m) for m in ("exact", "greedy"))
            assert found.value <= exact.value + 1e-12
            assert not found.certified
            if exact.value > 1e-6:
                later, earlier = align.side(W2, k2, p), align.side(W1, k1, p)
                full = later.scale * earlier.scale
                shares.append(found.value / exact.value)
                flips.append(one_flip(later.after[:, earlier.units], earlier.before, p) / full / exact.value)
    assert len(shares) > 150
    assert sum(shares) / len(shares) > 0.99
    assert sum(shares) >= sum(flips) - 0.01 * len(flips), "no worse than flips of single neurons"


def test_a_wide_pair_agrees_with_flips_of_single_neurons_within_a_twentieth():
    generator = torch.Generator().manual_seed(0)
    W2, W1 = (matrix("gaussian", 60, 60, generator) for _ in range(2))
    later, earlier = align.side(W2, 6, 2), align.side(W1, 6, 2)
    found = greedy.search(later.after, earlier.before, 2)
    assert found == pytest.approx(one_flip(later.after, earlier.before, 2), rel=0.05)


def test_a_net_has_main_terms_beside_the_certified_ones():
    generator = torch.Generator().manual_seed(0)
    Ws = [matrix("gaussian", m, n, generator) for n, m in ((30, 40), (40, 40), (40, 20))]
    found = net_bounds(Ws, search=True)
    assert net_bounds(Ws).l2_search == ()
    for p, ks, terms, bounds in (
        (INF, [v.k_nu for v in found.layers], found.linf_search, found.linf_alignment),
        (2, [v.k_sigma for v in found.layers], found.l2_search, found.l2_alignment),
    ):
        for i, (term, bound) in enumerate(zip(terms, bounds, strict=True)):
            assert term == align.alignment(Ws[i + 1], Ws[i], ks[i + 1], ks[i], p, "greedy")
            assert 0 < term.value < bound.value == 1, "the cap hides what the search shows"


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
@pytest.mark.parametrize("p", [2, INF])
def test_scale_leaves_the_term(scale, p):
    generator = torch.Generator().manual_seed(0)
    W2, W1 = (matrix("gaussian", 8, 8, generator) for _ in range(2))
    plain = align.alignment(W2, W1, 3, 3, p, "greedy").value
    assert align.alignment(W2 * scale, W1, 3, 3, p, "greedy").value == pytest.approx(plain)
    assert align.alignment(W2 * scale, W1 * scale, 3, 3, p, "greedy").value == pytest.approx(plain)
