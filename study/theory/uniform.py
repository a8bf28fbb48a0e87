"""One retention probability for all layers (paper B, Lemmas 2 and 3): the scalarised minimum, and the rate.

With gamma(p) = A p^(L/2) and zeta(p) = C B sqrt(1 - p), B = sum b_l. The front itself is in `study.theory.tradeoff`.
"""

import math

from study.theory.tradeoff import Constants, objective


def uniform_minimum(k: Constants, lam: float) -> tuple[float, float]:
    """The least J = lam gamma + (1 - lam) zeta over one p in [0, 1] for all layers, and that p.

    For L <= 2 J is concave, and an end point is the least. For L >= 3 it falls to the LOWER root of
    p^(L/2 - 1) sqrt(1 - p) = (1 - lam) C B / (lam A L), rises to the upper one and falls again to p = 1: the least is
    at the lower root or at 1. Algorithm 1 of paper B stops at the upper root, a local maximum (erratum 20).

    >>> uniform_minimum(Constants(2.0, (1.0, 1.0), 1.0), 0.25)  # ends only: 0.75 * 2 at p = 0, 0.25 * 2 at p = 1
    (0.5, 1.0)
    >>> value, p = uniform_minimum(Constants(1.0, (0.1,) * 4, 1.0), 0.5)  # p sqrt(1 - p) = 0.1
    >>> round(value, 4), round(p, 4)
    (0.1947, 0.1057)
    """
    L = len(k.b)
    candidates = [1.0, 0.0] if L <= 2 else [1.0, _lower_root(k, lam)]
    return min(((objective(k, lam, (p,) * L), p) for p in candidates), key=lambda found: found[0])


def _lower_root(k: Constants, lam: float) -> float:
    """The lower root, by bisection below the top at (L - 2) / (L - 1); 1 where there is none."""
    L = len(k.b)
    top = (L - 2) / (L - 1)

    def short(p: float) -> bool:
        return lam * k.A * L * p ** (L / 2 - 1) * math.sqrt(1 - p) < (1 - lam) * k.C * sum(k.b)

    if short(top):
        return 1.0
    low, high = 0.0, top
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return low


def uniform_rate(k: Constants, p: float) -> float:
    """d gamma / d zeta along the uniform front: -L p^(L/2 - 1) sqrt(1 - p) A / (C B) (paper B, Lemma 3).

    How much gamma falls where one unit of zeta is given up, at p in [0, 1]; 0 at p = 1, and minus infinity at p = 0 of
    a single layer.

    >>> uniform_rate(Constants(3.0, (1.0, 1.0), 1.0), 0.75)  # -2 * 1 * 1/2 * 3 / 2
    -1.5
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], got {p!r}")
    L = len(k.b)
    if L == 1 and p == 0:
        return -math.inf
    return -L * p ** (L / 2 - 1) * math.sqrt(1 - p) * k.A / (k.C * sum(k.b))
