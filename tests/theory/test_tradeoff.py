"""Paper B's trade-off: exact fronts against search, and the printed algorithm against its naive twin."""

import itertools
import math

import pytest
import torch

from study.theory import tradeoff

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


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_no_search_beats_the_floored_chebyshev_point(lam):
    floor = 0.1
    most = tradeoff.evaluate(K, (floor,) * 3).zeta

    def worse(at):
        return max(lam * at.gamma / K.A, (1 - lam) * at.zeta / most)

    best = worse(tradeoff.chebyshev_floored(K, lam, floor))
    draws = floor + (1 - floor) * torch.rand(4000, 3, generator=torch.Generator().manual_seed(2)).pow(4)
    corners = itertools.product((floor, 0.3, 0.6, 0.9, 1.0), repeat=3)
    assert best <= min(worse(tradeoff.evaluate(K, p)) for p in [*draws.double().tolist(), *corners]) + 1e-9
    if lam in (0, 1):
        assert tradeoff.chebyshev_floored(K, lam, floor).p == pytest.approx(((1.0, floor)[int(lam)],) * 3)


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


def algorithm_1(k, lam, p, rounds):
    """The algorithm line by line, for 0 < lam < 1 or any lam where its line 7 is defined."""
    for _ in range(rounds):
        gamma = k.A
        for q in p:
            gamma *= math.sqrt(q)
        new = []
        for b in k.b:
            root = math.sqrt((lam * gamma) ** 2 + 4 * (1 - lam) ** 2 * k.C**2 * b**2)
            t = (-lam * gamma + root) / (2 * (1 - lam) * k.C * b)
            new.append(min(1.0, max(0.0, 1 - t**2)))
        p = new
    return p


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.7])
def test_the_printed_algorithm_agrees_with_its_naive_twin(lam):
    found = tradeoff.algorithm1_as_printed(K, lam, (0.4, 0.6, 0.9), tol=0.0, most=15)
    assert found == pytest.approx(algorithm_1(K, lam, [0.4, 0.6, 0.9], 15))


def test_erratum_20_line_7_has_no_value_at_lambda_one():
    with pytest.raises(ZeroDivisionError):
        algorithm_1(K, 1.0, [0.5] * 3, 1)
    assert tradeoff.algorithm1_as_printed(K, 1.0, (0.5,) * 3) == (1.0, 1.0, 1.0)


def test_erratum_20_four_equal_layers_are_never_pruned_to_a_middle_rate():
    k = tradeoff.Constants(A=1.0, b=(1.0,) * 4, C=0.058)
    low, high = (tradeoff.algorithm1_as_printed(k, 0.2, (p0,) * 4, tol=1e-13, most=5000)[0] for p0 in (0.1, 0.5))
    assert low == 0, "the start decides"
    assert high == pytest.approx(0.939, abs=1e-3)
    for lam in (0.05, 0.1, 0.15, 0.2, 0.3, 0.6):
        for p0 in (0.1, 0.5, 0.9):
            p = tradeoff.algorithm1_as_printed(k, lam, (p0,) * 4, tol=1e-13, most=5000)[0]
            assert not 1e-3 < p < 2 / 3


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
        (lambda: tradeoff.front_layerwise(K, 0.1 * K.A, 0.9), "gamma0 must lie in"),
        (lambda: tradeoff.objective(K, 2.0, (1, 1, 1)), "lam must lie in"),
        (lambda: tradeoff.evaluate(K, (1, 1)), "p must hold 3 numbers"),
        (lambda: tradeoff.constants([torch.zeros(2, 2)], 1.0), "none of them zero"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
