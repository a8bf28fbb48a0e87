"""Interlayer alignment, and the bounds of paper A's Theorem 3.2 and Corollary 3.3 that it makes.

Layers are matrices W_l (n_l x n_{l-1}), first layer first, with ReLU between them. Patterns D are 0/1 diagonals.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from study.theory.compressibility import (
    checked_k,
    checked_matrix,
    checked_vector,
    row_compress,
    row_l1,
    singular_values,
)
from study.theory.operator_norms import op_norm, opnorm_2_upper, opnorm_inf_upper

MOST_PATTERNS = 2**20
CHUNK = 2**12


class Bound(NamedTuple):
    """A number, whether it is certified to be an upper bound of what it names, and how it was found."""

    value: float
    certified: bool
    method: str


def _pair(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float) -> tuple[Tensor, Tensor]:
    W2, W1 = checked_matrix("W2", W2), checked_matrix("W1", W1)
    if W2.shape[1] != W1.shape[0]:
        raise ValueError(f"W2 must take what W1 gives: shapes {tuple(W2.shape)} after {tuple(W1.shape)}")
    if p not in (2, math.inf):
        raise ValueError(f"p must be 2 or inf, got {p!r}")
    for name, k, W in (("k2", k2, W2), ("k1", k1, W1)):
        checked_k(name, k, 1, W.shape[0] if p == math.inf else min(W.shape))
    return W2, W1


def _factors(W2: Tensor, W1: Tensor, k2: int, k1: int) -> tuple[Tensor, Tensor, float]:
    """B = S_k^{1/2} V_k^T of W2 (k2 x h), A = U_k S_k^{1/2} of W1 (h x k1), and sqrt(s_1 s_1)."""
    _, s2, V2 = torch.linalg.svd(W2, full_matrices=False)
    U1, s1, _ = torch.linalg.svd(W1, full_matrices=False)
    return s2[:k2, None].sqrt() * V2[:k2], U1[:, :k1] * s1[:k1].sqrt(), math.sqrt(float(s2[0] * s1[0]))


def _patterns(h: int) -> Iterator[Tensor]:
    """All 2^h patterns, in chunks of shape (at most CHUNK, h)."""
    bits = torch.arange(h)
    for start in range(0, 2**h, CHUNK):
        yield ((torch.arange(start, min(start + CHUNK, 2**h))[:, None] >> bits) & 1).to(torch.float64)


def alignment(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float, method: str = "upper") -> Bound:
    """Main alignment term of two consecutive layers, in [0, 1] (paper A, Equations 6 and 7, without the remainder).

    p = inf: max_D ||W2_k D W1_k||_inf / (||W2||_inf ||W1||_inf), rows compressed to k2 and k1;
    p = 2: max_D ||S^{1/2}_k V_k^T D U_k S^{1/2}_k||_2 / sqrt(s_1 s_1). W2 (c, h) follows W1 (h, a).
    `exact` tries all patterns and refuses beyond 2^20 of them (only the kept rows of W1 matter for p = inf); `upper` is
    a certified polynomial upper bound; `greedy` flips one neuron at a time and is NOT certified (erratum: it missed the
    maximum in 40 of 400 cases). A zero layer gives 0.
    """
    W2, W1 = _pair(W2, W1, k2, k1, p)
    if method not in ("exact", "upper", "greedy"):
        raise ValueError(f"method must be exact, upper or greedy, got {method!r}")
    certified = method != "greedy"
    if float(W2.abs().max()) == 0 or float(W1.abs().max()) == 0:
        return Bound(0.0, certified, method)
    if p == math.inf:
        value = _alignment_inf(row_compress(W2, k2), row_compress(W1, k1), method) / (
            op_norm(W2, math.inf) * op_norm(W1, math.inf)
        )
    else:
        B, A, den = _factors(W2, W1, k2, k1)
        value = _alignment_2(B, A, den, method) / den
    return Bound(min(1.0, value), certified, method)


def _refuse(bits: int, what: str) -> None:
    if 2**bits > MOST_PATTERNS:
        raise ValueError(f"exact needs 2^{bits} {what}, more than 2^20; use method='upper'")


def _alignment_inf(W2: Tensor, W1: Tensor, method: str) -> float:
    kept = (W1.abs().sum(dim=1) > 0).nonzero()[:, 0]
    W2, W1 = W2[:, kept], W1[kept]
    if method == "upper":
        return float(_envelope(W2, W1).sum(1).max())
    if method == "exact":
        _refuse(len(kept), "patterns of the kept rows")
        best = 0.0
        for D in _patterns(len(kept)):
            best = max(best, float(((D[:, None, :] * W2) @ W1).abs().sum(2).max()))
        return best
    return _greedy(lambda d: float(((W2 * d) @ W1).abs().sum(1).max()), len(kept))


def _envelope(B: Tensor, A: Tensor) -> Tensor:
    """Entrywise maximum of |B D A| over all patterns D: the larger of the positive and the negative part's sum."""
    return (B.abs() @ A.abs() + (B @ A).abs()) / 2


def _alignment_2(B: Tensor, A: Tensor, den: float, method: str) -> float:
    if method == "upper":
        half = (den + float(torch.linalg.matrix_norm(B @ A, ord=2))) / 2
        return min(den, half, float(torch.linalg.matrix_norm(_envelope(B, A), ord=2)))
    if method == "exact":
        _refuse(B.shape[1], "patterns")
        return max(float(torch.linalg.matrix_norm((D[:, None, :] * B) @ A, ord=2).max()) for D in _patterns(B.shape[1]))
    return _greedy(lambda d: float(torch.linalg.matrix_norm((B * d) @ A, ord=2)), B.shape[1])


def _greedy(value: Callable[[Tensor], float], h: int) -> float:
    """One-flip ascent from the full pattern; a lower value of the maximum."""
    pattern = torch.ones(h, dtype=torch.float64)
    best = value(pattern)
    improved = True
    while improved:
        improved = False
        for j in range(h):
            pattern[j] = 1 - pattern[j]
            here = value(pattern)
            if here > best * (1 + 1e-12):
                best, improved = here, True
            else:
                pattern[j] = 1 - pattern[j]
    return best


def remainder(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float) -> float:
    """Remainder alignment term (paper A, below Equation 7), 0 when nothing was cut.

    p = inf: (1 + x)(1 + y) - 1 with x = nu_{k+1} / nu_1 of W1, y of W2; p = 2: (1 + sqrt x)(1 + sqrt y) - 1 with
    singular values. Equation 7 prints sigma_k for sigma_{k+1}, with which Lemma A.5 is false (erratum 4).
    """
    W2, W1 = _pair(W2, W1, k2, k1, p)
    parts = []
    for W, k in ((W1, k1), (W2, k2)):
        v = (row_l1(W) if p == math.inf else singular_values(W)).sort(descending=True).values
        ratio = float(v[k] / v[0]) if k < len(v) and float(v[0]) > 0 else 0.0
        parts.append(ratio if p == math.inf else math.sqrt(ratio))
    return (1 + parts[0]) * (1 + parts[1]) - 1


def aligned(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float, method: str = "upper", cap: bool = True) -> Bound:
    """The whole alignment term A_p: main term plus remainder, capped at 1 unless told otherwise.

    Lemma A.6's A <= 1 holds for the main term alone (erratum 5: W = I_4, k = 2 gives 4 with the remainder); the cap is
    valid because the full pair never exceeds the product of norms.
    """
    main = alignment(W2, W1, k2, k1, p, method)
    value = main.value + remainder(W2, W1, k2, k1, p)
    return Bound(min(1.0, value) if cap else value, main.certified, method)


def sopt(a: Sequence[float]) -> tuple[float, tuple[int, ...]]:
    """Least product over sets of pairs no two of which overlap (paper A, Definition A.4), and the 1-based set.

    a (lambda - 1,) are the alignment terms; f_i = min(f_{i-1}, f_{i-2} a_i) in O(lambda). No factor above 1 is taken.
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
    """
    if len(Ws) == 0 or len(ks) != len(Ws) or (krs is not None and len(krs) != len(Ws)):
        raise ValueError(f"ks and krs must have one entry per layer, got {len(ks)} for {len(Ws)} layers")
    rows = krs or [None] * len(Ws)
    if p == math.inf:
        layers = [opnorm_inf_upper(W, k, r, tight) for W, k, r in zip(Ws, ks, rows, strict=True)]
    else:
        layers = [opnorm_2_upper(W, k) for W, k in zip(Ws, ks, strict=True)]
    terms = [
        aligned(W2, W1, k2, k1, p, method, cap) for W2, W1, k2, k1 in zip(Ws[1:], Ws[:-1], ks[1:], ks[:-1], strict=True)
    ]
    if any(math.isinf(v) for v in layers):
        return Bound(math.inf, True, method)
    factor = sopt([t.value for t in terms])[0] if p == math.inf else math.prod(t.value for t in terms)
    return Bound(math.prod(layers) * factor, all(t.certified for t in terms), method)


def product_of_norms(Ws: Sequence[Tensor], p: float) -> float:
    """The bound that ignores alignment and compressibility: prod_l ||W_l||_p."""
    return math.prod(op_norm(W, p) for W in Ws)


def pattern_max(Ws: Sequence[Tensor], p: float) -> float:
    """Exact maximum over all activation patterns, max_D ||W_L D ... D W_1||_p; exponential, for small nets.

    It bounds the encoder's true Lipschitz constant from above and is itself below every certified bound.
    """
    mats = [checked_matrix(f"Ws[{i}]", W) for i, W in enumerate(Ws)]
    hidden = [W.shape[0] for W in mats[:-1]]
    _refuse(sum(hidden), "patterns")
    best = 0.0
    for bits in itertools.product((0.0, 1.0), repeat=sum(hidden)):
        D = torch.tensor(bits, dtype=torch.float64)
        product, at = mats[0], 0
        for W, h in zip(mats[1:], hidden, strict=True):
            product, at = W @ (D[at : at + h, None] * product), at + h
        best = max(best, op_norm(product, p))
    return best


def lipschitz_lower(Ws: Sequence[Tensor], X: Tensor, p: float, how: str = "jacobian") -> float:
    """Empirical lower bound of the l_p Lipschitz constant of x -> relu(W_L relu(... W_1 x)) on inputs X (N, n_0).

    `jacobian`: largest operator norm of the Jacobian at a point of X; `secant`: largest ratio over pairs of points.
    """
    X = checked_matrix("X", X)
    mats = [checked_matrix(f"Ws[{i}]", W) for i, W in enumerate(Ws)]
    if how not in ("jacobian", "secant"):
        raise ValueError(f"how must be jacobian or secant, got {how!r}")
    Z, patterns = X, []
    for W in mats:
        Z = Z @ W.T
        patterns.append((Z > 0).to(torch.float64))
        Z = Z.clamp_min(0)
    if how == "secant":
        far = torch.cdist(X, X, p=p)
        ratios = torch.where(far > 0, torch.cdist(Z, Z, p=p) / far.clamp_min(1e-300), 0.0)
        return float(ratios.max())
    best = 0.0
    for i in range(len(X)):
        J = torch.eye(X.shape[1], dtype=torch.float64)
        for W, D in zip(mats, patterns, strict=True):
            J = D[i, :, None] * (W @ J)
        best = max(best, op_norm(J, p))
    return best


def adv_risk_bound(clean: float, delta: float, lipschitz: float, head: Tensor, p: float) -> float:
    """Corollary 3.3 of paper A: adversarial logistic risk <= clean + delta * L * ||c||, c the scalar head's vector.

    The head's norm is dual: l_1 under l_inf attacks, l_2 under l_2 attacks. head (h,); for two logits c = c_1 - c_0;
    labels in {-1, +1}. delta >= 0 in the inputs' units, lipschitz >= 0.
    """
    c = checked_vector("head", head)
    if p not in (2, math.inf):
        raise ValueError(f"p must be 2 or inf, got {p!r}")
    if not (delta >= 0 and lipschitz >= 0):
        raise ValueError(f"delta and lipschitz must be at least 0, got {delta!r} and {lipschitz!r}")
    norm = float(torch.linalg.vector_norm(c, ord=1 if p == math.inf else 2))
    return clean + (delta * lipschitz * norm if delta > 0 and norm > 0 else 0.0)
