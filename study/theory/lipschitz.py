"""Lipschitz bounds of a whole net: paper A's Theorem 3.2 and Corollary 3.3, the product of norms, and lower bounds.

Layers are matrices W_l (n_l x n_{l-1}), first layer first, with ReLU between them. Patterns D are 0/1 diagonals.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from study.theory.alignment import Bound, aligned_sides, checked_pair, norms, patterns, side
from study.theory.checks import checked_matrix, checked_p, checked_vector
from study.theory.operator_norms import op_norm, opnorm_2_upper, opnorm_inf_upper
from study.theory.scaling import product, unit

SLACK = 4 * torch.finfo(torch.float64).eps  # of a norm, per entry: differences, squares, sum, root


def sopt(a: Sequence[float]) -> tuple[float, tuple[int, ...]]:
    """Least product over sets of pairs no two of which overlap (paper A, Definition A.4), and the 1-based set.

    a (lambda - 1,) are the alignment terms; f_i = min(f_{i-1}, f_{i-2} a_i) in O(lambda). No factor above 1 is taken.

    >>> sopt([0.5, 0.125, 0.5])  # the middle pair alone beats the outer two: 0.125 < 0.25
    (0.125, (2,))
    """
    best: list[tuple[float, tuple[int, ...]]] = [(1.0, ()), (1.0, ())]
    for i, value in enumerate(a, start=1):
        if not value >= 0:
            raise ValueError(f"a must hold numbers of at least 0, got {value!r} at place {i}")
        take = (best[-2][0] * value, (*best[-2][1], i))
        best.append(take if take[0] < best[-1][0] else best[-1])
    return best[-1]


def lipschitz_upper(
    Ws: Sequence[Tensor],
    p: float,
    ks: Sequence[int],
    krs: Sequence[int | None] | None = None,
    *,
    method: str = "upper",
    cap: bool = True,
    tight: bool = False,
) -> Bound:
    """Upper bound of the encoder's l_p Lipschitz constant (paper A, Theorem 3.2, Equations 8 and 9).

    Product of Theorem 3.1's bounds with the alignment terms: over the best set of disjoint pairs for p = inf (over all
    pairs it is false, erratum 6), over every pair for p = 2. ks holds one k per layer, krs one k_r (p = inf; None: the
    best). Infinite where a spread is 1. Often looser than the product of norms (erratum 11): report both.

    >>> lipschitz_upper([torch.eye(4), torch.eye(4)], 2, [4, 4]).value
    1.0
    """
    if len(Ws) == 0 or len(ks) != len(Ws) or (krs is not None and len(krs) != len(Ws)):
        raise ValueError(f"ks and krs must have one entry per layer, got {len(ks)} for {len(Ws)} layers")
    checked_p(p)
    rows = krs or [None] * len(Ws)
    if p == math.inf:
        layers = [opnorm_inf_upper(W, k, r, tight) for W, k, r in zip(Ws, ks, rows, strict=True)]
    else:
        layers = [opnorm_2_upper(W, k) for W, k in zip(Ws, ks, strict=True)]
    for W2, W1, k2, k1 in zip(Ws[1:], Ws[:-1], ks[1:], ks[:-1], strict=True):
        checked_pair(W2, W1, k2, k1, p)
    sides = [side(checked_matrix("W", W), k, p) for W, k in zip(Ws, ks, strict=True)]
    terms = [aligned_sides(b, a, p, method, cap) for a, b in itertools.pairwise(sides)]
    return compose(layers, terms, p, method)


def compose(layers: Sequence[float], terms: Sequence[Bound], p: float, method: str) -> Bound:
    """Theorem 3.2 from each layer's norm bound (lambda,) and each pair's alignment term (lambda - 1,).

    The layers outside the chosen set are {l : l not in S, l - 1 not in S}, and S is a part of {1..lambda - 1}
    (printed l + 1 and L - 1, erratum 7). An infinite layer gives inf, also where an alignment term is 0.

    >>> compose([2.0, 3.0], [Bound(0.5, True, "upper")], math.inf, "upper").value
    3.0
    """
    certified = all(t.certified for t in terms)
    if any(math.isinf(v) for v in layers):
        return Bound(math.inf, True, method)
    values = [t.value for t in terms]
    factor = sopt(values)[0] if checked_p(p) == math.inf else math.prod(values)
    return Bound(product([*layers, factor]), certified, method)


def product_of_norms(Ws: Sequence[Tensor], p: float) -> float:
    """The bound that ignores alignment and compressibility: prod_l ||W_l||_p.

    >>> product_of_norms([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])], math.inf)
    2.0
    """
    checked_p(p)
    return product(op_norm(W, p) for W in Ws)


def pattern_max(Ws: Sequence[Tensor], p: float) -> float:
    """Exact maximum over all activation patterns, max_D ||W_L D ... D W_1||_p; exponential, for small nets.

    It bounds the encoder's true Lipschitz constant from above and is itself below every certified bound. ValueError
    when the hidden widths (all but the last layer's) add up to more than 20.

    >>> pattern_max([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])], math.inf)  # the net is |x|
    1.0
    """
    checked_p(p)
    units = [unit(checked_matrix(f"Ws[{i}]", W)) for i, W in enumerate(Ws)]
    mats, scale = [W for W, _ in units], product(s for _, s in units)
    hidden = [W.shape[0] for W in mats[:-1]]
    best = 0.0
    for D in patterns(sum(hidden), mats[0].shape[1] * max(W.shape[0] for W in mats)):
        through = mats[0].T.expand(len(D), -1, -1)  # transposed, so that a layer is one matrix product for all patterns
        for W, d in zip(mats[1:], D.split(hidden, dim=1), strict=True):
            through = (through * d[:, None, :]) @ W.T
        best = max(best, _largest_norm(through.mT, p, best))
    return best * scale


def _largest_norm(M: Tensor, p: float, floor: float) -> float:
    """Largest norm in a batch (N, m, n), or 0 where none can exceed `floor`, which spares most decompositions."""
    if p == math.inf:
        return float(norms(M, p).max())
    hopeful = M[torch.linalg.matrix_norm(M) > floor]
    return float(norms(hopeful, p).max()) if len(hopeful) else 0.0


def lipschitz_lower(Ws: Sequence[Tensor], X: Tensor, p: float, how: str = "jacobian") -> float:
    """Empirical lower bound of the l_p Lipschitz constant of x -> relu(W_L relu(... W_1 x)) on inputs X (N, n_0).

    `jacobian`: largest operator norm of the Jacobian at a point of X; `secant`: largest ratio over pairs of points,
    from exact differences and less what float64 may have added to them, so that it is never above the constant.

    >>> absolute = [torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])]
    >>> lipschitz_lower(absolute, torch.tensor([[1.0], [3.0]]), math.inf)
    1.0
    >>> round(lipschitz_lower(absolute, torch.tensor([[1.0], [-3.0]]), math.inf, "secant"), 12)  # (3 - 1) / (1 + 3)
    0.5
    """
    checked_p(p)
    X, _ = unit(checked_matrix("X", X))
    units = [unit(checked_matrix(f"Ws[{i}]", W)) for i, W in enumerate(Ws)]
    mats, scale = [W for W, _ in units], product(s for _, s in units)
    if how not in ("jacobian", "secant"):
        raise ValueError(f"how must be jacobian or secant, got {how!r}")
    if how == "secant":
        return scale * _largest_secant(mats, X, p)
    Z, patterns = X, []
    for W in mats:
        Z = Z @ W.T
        patterns.append((Z > 0).to(torch.float64))
        Z = Z.clamp_min(0)
    best = 0.0
    for i in range(len(X)):
        J = torch.eye(X.shape[1], dtype=torch.float64)
        for W, D in zip(mats, patterns, strict=True):
            J = D[i, :, None] * (W @ J)
        best = max(best, op_norm(J, p))
    return scale * best


def _largest_secant(mats: Sequence[Tensor], X: Tensor, p: float) -> float:
    """Largest ||z - z'|| / ||x - x'|| over pairs of rows of X, each output less its bound of round-off.

    An inner product of n terms errs by at most (n + 1) u sum |w||z|, and what a layer is given errs already.
    """
    Z, error = X, torch.zeros_like(X)
    for W in mats:
        u = (W.shape[1] + 2) * torch.finfo(torch.float64).eps
        error = error @ W.abs().T * (1 + u) + u * (Z.abs() @ W.abs().T)
        Z = (Z @ W.T).clamp_min(0)
    order = 2 if p == 2 else math.inf
    loss = torch.linalg.vector_norm(error, ord=order, dim=1)
    best = 0.0
    for i in range(len(X) - 1):
        moved = torch.linalg.vector_norm(Z[i + 1 :] - Z[i], ord=order, dim=1)
        far = torch.linalg.vector_norm(X[i + 1 :] - X[i], ord=order, dim=1)
        sure = moved * (1 - SLACK * Z.shape[1]) - loss[i] - loss[i + 1 :]
        ratios = (sure / far / (1 + SLACK * X.shape[1]))[far > 0]
        best = max(best, float(ratios.max())) if len(ratios) else best
    return best


def adv_risk_bound(clean: float, delta: float, lipschitz: float, head: Tensor, p: float) -> float:
    """Corollary 3.3 of paper A: adversarial logistic risk <= clean + delta * L * ||c||, c the scalar head's vector.

    The head's norm is dual: l_1 under l_inf attacks, l_2 under l_2 attacks, of the vector c: the induced norm of a
    1 x h matrix is max |c_j| and too small (erratum 24). What the paper calls theta there is c, not all parameters
    (erratum 13). head (h,); for two logits c = c_1 - c_0; labels in {-1, +1}. delta >= 0 in the inputs' units,
    lipschitz >= 0.

    >>> adv_risk_bound(0.25, 0.5, 2.0, torch.tensor([1.0, -1.0]), math.inf)  # 0.25 + 0.5 * 2 * (1 + 1)
    2.25
    """
    c = checked_vector("head", head)
    checked_p(p)
    if not (delta >= 0 and lipschitz >= 0):
        raise ValueError(f"delta and lipschitz must be at least 0, got {delta!r} and {lipschitz!r}")
    norm = float(torch.linalg.vector_norm(c, ord=1 if p == math.inf else 2))
    return clean + (delta * lipschitz * norm if delta > 0 and norm > 0 else 0.0)
