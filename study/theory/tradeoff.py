"""The trade-off between gamma and zeta over retention probabilities: exact fronts, and the printed algorithm.

With A = prod ||W_l||_F, b_l = ||W_l||_F / ||W_l||_2, C = E||x|| prod ||W_l||_2 (paper B, section 5):
gamma(p) = A prod sqrt(p_l), zeta(p) = C sum b_l sqrt(1 - p_l), J = lam gamma + (1 - lam) zeta. J is strictly concave in
each coordinate, so a scalarised minimum lies at a vertex and linear scalarisation yields end points only; the fronts
below are exact instead.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from study.theory.checks import checked_matrix
from study.theory.scaling import product, unit


class Constants(NamedTuple):
    """A, b (one per layer) and C of paper B's Algorithm 1."""

    A: float
    b: tuple[float, ...]
    C: float


class Point(NamedTuple):
    """A point of a front: gamma, zeta and the retention probabilities that give it."""

    gamma: float
    zeta: float
    p: tuple[float, ...]


def constants(Ws: Sequence[Tensor], x_norm: float) -> Constants:
    """A, b and C of a net's weight matrices and the mean input norm E||x||.

    >>> k = constants([torch.tensor([[3.0, 0.0], [0.0, 4.0]])], 2.0)  # ||W||_F = 5, ||W||_2 = 4
    >>> round(k.A, 9), round(k.b[0], 9), round(k.C, 9)
    (5.0, 1.25, 8.0)
    """
    mats = [checked_matrix(f"Ws[{i}]", W) for i, W in enumerate(Ws)]
    units = [unit(W) for W in mats]
    fro = [float(torch.linalg.norm(W)) for W, _ in units]
    two = [float(torch.linalg.matrix_norm(W, ord=2)) for W, _ in units]
    scale = product(s for _, s in units)
    if not mats or min(two) == 0:
        raise ValueError("Ws must hold at least one matrix, none of them zero")
    b = tuple(f / t for f, t in zip(fro, two, strict=True))
    return Constants(scale * math.prod(fro), b, x_norm * math.prod(two) * scale)


def evaluate(k: Constants, p: Sequence[float]) -> Point:
    """gamma and zeta at the retention probabilities p, one in [0, 1] per layer.

    >>> k = Constants(2.0, (1.0, 3.0), 1.0)
    >>> evaluate(k, (0.25, 1.0)).gamma, evaluate(k, (1.0, 0.75)).zeta  # 2 sqrt(1/4); 3 sqrt(1/4)
    (1.0, 1.5)
    """
    if len(p) != len(k.b) or not all(0 <= q <= 1 for q in p):
        raise ValueError(f"p must hold {len(k.b)} numbers in [0, 1], got {tuple(p)!r}")
    gamma = k.A * math.prod(math.sqrt(q) for q in p)
    zeta = k.C * sum(b * math.sqrt(1 - q) for b, q in zip(k.b, p, strict=True))
    return Point(gamma, zeta, tuple(p))


def objective(k: Constants, lam: float, p: Sequence[float]) -> float:
    """J = lam gamma + (1 - lam) zeta, lam in [0, 1].

    >>> k = Constants(2.0, (1.0,), 1.0)
    >>> objective(k, 0.5, (1.0,)), objective(k, 0.5, (0.0,))
    (1.0, 0.5)
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"lam must lie in [0, 1], got {lam!r}")
    at = evaluate(k, p)
    return lam * at.gamma + (1 - lam) * at.zeta


def algorithm1_as_printed(
    k: Constants, lam: float, p0: Sequence[float], tol: float = 1e-6, most: int = 50, uniform: bool = False
) -> tuple[float, ...]:
    """Paper B's Algorithm 1, kept for replication only: it climbs to coordinate-wise MAXIMA of J (erratum 20).

    Its stationary point of a strictly concave coordinate function is the maximum; at lam = 0 it prunes everything, near
    lam = 1 it keeps everything, and for L >= 3 equal layers it never returns a p in (0, (L-2)/(L-1)). At lam = 1 its
    line 7 divides 0 by 0; the limit p_k = 1 (or 0 at gamma = 0) is taken. Use the fronts of this module instead.
    `uniform`: one p for all layers, for which the paper (section 6.5) prints no update: the same quadratic of dJ/dp =
    0, with L gamma for gamma and sum b for b_k. Of equal layers it is the same iteration.

    >>> p = algorithm1_as_printed(Constants(1.0, (1.0,), 1.0), 0.5, (0.9,))
    >>> round(p[0], 3)  # (sqrt p + sqrt(1 - p)) / 2 is LARGEST there, and least at 0 and 1
    0.5
    """
    p = list(evaluate(k, p0).p)
    J = objective(k, lam, p)
    for _ in range(most):
        gamma = evaluate(k, p).gamma
        for i, b in enumerate([sum(k.b)] * len(k.b) if uniform else k.b):
            c = 2 * (1 - lam) * k.C * b
            g = lam * gamma * (len(k.b) if uniform else 1)
            t = (-g + math.sqrt(g * g + c * c)) / c if c > 0 else (0.0 if g > 0 else 1.0)
            p[i] = min(1.0, max(0.0, 1 - t * t))
        new = objective(k, lam, p)
        if abs(new - J) / (J + 1e-12) < tol:
            break
        J = new
    return tuple(p)


def scalarised_minimum(k: Constants, lam: float) -> tuple[float, tuple[float, ...]]:
    """Exact minimum of J over [0, 1]^L and where it is: min(lam A, (1 - lam) C min b).

    Either nothing is pruned, or the one layer of least b is pruned whole (a dead net): the two end points of the front.

    >>> scalarised_minimum(Constants(2.0, (1.0, 3.0), 1.0), 0.5)  # min(0.5 * 2, 0.5 * 1 * 1)
    (0.5, (0.0, 1.0))
    """
    keep, dead = (1.0,) * len(k.b), [1.0] * len(k.b)
    dead[min(range(len(k.b)), key=lambda i: k.b[i])] = 0.0
    candidates = [(objective(k, lam, p), tuple(p)) for p in (keep, dead)]
    return min(candidates, key=lambda c: c[0])


def scalarised_floored(k: Constants, lam: float, floor: float) -> Point:
    """Exact minimum of J over [floor, 1]^L: a vertex, for J is concave in each coordinate, so that every layer is at
    the floor or whole; of m layers at the floor those of least b cost least. lam in [0, 1], floor in (0, 1).

    >>> k = Constants(1.0, (2.0, 1.0), 1.0)
    >>> [scalarised_floored(k, lam, 0.25).p for lam in (0.0, 0.7, 1.0)]  # at .7: .7 against .61 and .955
    [(1.0, 1.0), (1.0, 0.25), (0.25, 0.25)]
    """
    _check_floor(lam, floor)
    order = sorted(range(len(k.b)), key=lambda i: k.b[i])
    vertices = [[floor if i in order[:m] else 1.0 for i in range(len(k.b))] for m in range(len(k.b) + 1)]
    return evaluate(k, min(vertices, key=lambda p: objective(k, lam, p)))


def scalarised_uniform(k: Constants, lam: float, floor: float) -> Point:
    """Exact minimum of J over one p in [floor, 1] for all layers: an end, or the one local minimum between.

    J'(p) has the sign of h(p) - r, h = p^(L/2-1) sqrt(1-p), r = (1 - lam) C sum b / (lam A L); h rises up to
    (L-2)/(L-1) and falls behind it, so that its lower root is a minimum and its upper one, where Algorithm 1 ends, a
    maximum.
    lam in [0, 1], floor in (0, 1).

    >>> [scalarised_uniform(Constants(2.0, (1.0, 1.0), 1.0), lam, 0.1).p for lam in (0.0, 1.0)]
    [(1.0, 1.0), (0.1, 0.1)]
    """
    _check_floor(lam, floor)
    L = len(k.b)
    candidates = [floor, 1.0]
    if L > 2 and 0 < lam < 1:
        r = (1 - lam) * k.C * sum(k.b) / (lam * k.A * L)
        low, high = floor, max(floor, (L - 2) / (L - 1))
        for _ in range(100):
            middle = (low + high) / 2
            if middle ** (L / 2 - 1) * math.sqrt(1 - middle) < r:
                low = middle
            else:
                high = middle
        candidates.append(low)
    return evaluate(k, [min(candidates, key=lambda p: objective(k, lam, [p] * L))] * L)


def chebyshev_uniform_floored(k: Constants, lam: float, floor: float) -> Point:
    """One p in [floor, 1] for all layers of least max(lam gamma / A, (1 - lam) zeta / zeta_max), zeta_max at the floor.

    >>> k = Constants(1.0, (2.0, 1.0), 1.0)
    >>> [round(chebyshev_uniform_floored(k, lam, 0.25).p[0], 9) for lam in (0.0, 1.0)]
    [1.0, 0.25]
    """
    _check_floor(lam, floor)
    L = len(k.b)
    low, high = floor, 1.0
    for _ in range(100):
        p = (low + high) / 2
        if lam * p ** (L / 2) > (1 - lam) * math.sqrt((1 - p) / (1 - floor)):
            high = p
        else:
            low = p
    return evaluate(k, [low] * L)


def _check_floor(lam: float, floor: float) -> None:
    if not 0 <= lam <= 1 or not 0 < floor < 1:
        raise ValueError(f"lam must lie in [0, 1] and floor in (0, 1), got {lam!r} and {floor!r}")


def front_layerwise(k: Constants, gamma0: float, floor: float = 0.0) -> Point:
    """The least zeta at gamma <= gamma0 with p_l >= floor, exact for any L in O(L log L) (theory, section 3).

    With u_l = -log p_l the cost is separable, concave and increasing on a simplex, so all layers but one sit at an end:
    fill layers to the floor in order of increasing b, the last one in part. Without a floor it is the quarter ellipse
    (gamma / A)^2 + (zeta / (C min b))^2 = 1: one layer pruned. gamma0 in [A floor^(L/2), A]; ValueError below.

    >>> at = front_layerwise(Constants(1.0, (2.0, 1.0), 1.0), 0.6)  # all of it from the layer of least b
    >>> round(at.zeta, 9), at.p
    (0.8, (1.0, 0.36))
    """
    L = len(k.b)
    if not 0 <= floor < 1:
        raise ValueError(f"floor must lie in [0, 1), got {floor!r}")
    least = k.A * floor ** (L / 2)
    if not least * (1 - 1e-12) <= gamma0 <= k.A * (1 + 1e-12):
        raise ValueError(f"gamma0 must lie in [{least:g}, {k.A:g}], got {gamma0!r}")
    left = (min(gamma0, k.A) / k.A) ** 2  # what the product of p may still be
    p = [1.0] * L
    for i in sorted(range(L), key=lambda i: k.b[i]):
        p[i] = max(floor, left)
        if p[i] > floor or floor == 0:
            break
        left = left / floor
    return evaluate(k, p)


def chebyshev_floored(k: Constants, lam: float, floor: float) -> Point:
    """The point of front_layerwise(k, ., floor) of least max(lam gamma / A, (1 - lam) zeta / zeta_max), by bisection.

    zeta_max is zeta at p = floor everywhere. Along the front gamma rises and zeta falls, so that the least maximum lies
    where the two are equal, or at an end: lam = 0 prunes nothing, lam = 1 prunes every layer to the floor. lam in
    [0, 1], floor in (0, 1); depends on the layers' b alone.

    >>> k = Constants(1.0, (2.0, 1.0), 1.0)
    >>> [tuple(round(p, 9) for p in chebyshev_floored(k, lam, 0.25).p) for lam in (0.0, 1.0)]
    [(1.0, 1.0), (0.25, 0.25)]
    """
    _check_floor(lam, floor)
    most = evaluate(k, [floor] * len(k.b)).zeta
    low, high = 0.0, 1.0  # shares of the way in log gamma from the floor to A
    at = front_layerwise(k, k.A, floor)
    for _ in range(60):
        share = (low + high) / 2
        here = front_layerwise(k, k.A * floor ** (len(k.b) / 2 * (1 - share)), floor)
        if lam * here.gamma / k.A > (1 - lam) * here.zeta / most:
            high, at = share, here
        else:
            low = share
    return at


def front_uniform(k: Constants, gamma0: float) -> Point:
    """The point of one p for all layers at gamma0 in [0, A] (paper B, Lemma 2); dominated by front_layerwise.

    >>> front_uniform(Constants(1.0, (2.0, 1.0), 1.0), 0.5).p
    (0.5, 0.5)
    """
    if not 0 <= gamma0 <= k.A * (1 + 1e-12):
        raise ValueError(f"gamma0 must lie in [0, {k.A:g}], got {gamma0!r}")
    return evaluate(k, [min(1.0, (gamma0 / k.A) ** (2 / len(k.b)))] * len(k.b))


def chebyshev_layerwise(k: Constants, lam: float) -> Point:
    """The layer-wise front's point of min max(lam gamma / A, (1 - lam) zeta / (C min b)).

    p = (1-lam)^2 / (lam^2 + (1-lam)^2) on the layer of least b; lam in [0, 1] reaches every point of the front.

    >>> chebyshev_layerwise(Constants(1.0, (2.0, 1.0), 1.0), 0.5).p
    (1.0, 0.5)
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"lam must lie in [0, 1], got {lam!r}")
    p = [1.0] * len(k.b)
    p[min(range(len(k.b)), key=lambda i: k.b[i])] = (1 - lam) ** 2 / (lam**2 + (1 - lam) ** 2)
    return evaluate(k, p)


def chebyshev_uniform(k: Constants, lam: float) -> Point:
    """The uniform front's point where lam gamma / A = (1 - lam) zeta / (C sum b), by bisection; lam in [0, 1].

    >>> round(chebyshev_uniform(Constants(1.0, (1.0, 1.0), 1.0), 0.5).p[0], 6)  # p = sqrt(1 - p): the golden ratio
    0.618034
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"lam must lie in [0, 1], got {lam!r}")
    L = len(k.b)
    low, high = 0.0, 1.0
    for _ in range(200):
        p = (low + high) / 2
        if lam * p ** (L / 2) > (1 - lam) * math.sqrt(1 - p):
            high = p
        else:
            low = p
    return evaluate(k, [high] * L)
