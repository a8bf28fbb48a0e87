"""Interlayer alignment (paper A, Equations 6 and 7): how much of two layers' norms a pattern between them lets through.

Layers are matrices W_l (n_l x n_{l-1}) with ReLU between them; a pattern D is a 0/1 diagonal. The maximum over D is
NP-hard in general (with W1 = [C; -C] and W2 = 1^T it is an inf-to-1 norm), so `upper` bounds it from above instead.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from study.theory import greedy, spectra
from study.theory.checks import checked_k, checked_matrix, checked_p
from study.theory.compressibility import largest_rows, row_l1
from study.theory.scaling import unit

MOST_PATTERNS = 2**20
CHUNK_ENTRIES = 2**21
METHODS = ("exact", "upper", "greedy")


class Bound(NamedTuple):
    """A number, whether it is certified to be an upper bound of what it names, and how it was found."""

    value: float
    certified: bool
    method: str


class Side(NamedTuple):
    """One layer as the alignment terms meet it, computed once and used in both pairs that it belongs to.

    `after` (k, n) is the compressed layer as the later of a pair; `before` (h', n) as the earlier, where it keeps the
    hidden `units` (h',). `scale` is ||W||_inf or sqrt ||W||_2; `rest` what was cut: nu_{k+1}/nu_1 or its root in sigma.
    """

    after: Tensor
    before: Tensor
    units: Tensor
    scale: float
    rest: float


def _rest(v: Tensor, k: int) -> float:
    """v_{k+1} / v_1 of a descending vector, 0 where nothing was cut."""
    return float(v[k] / v[0]) if k < len(v) and float(v[0]) > 0 else 0.0


def row_side(W: Tensor, nu: Tensor, k: int) -> Side:
    """The side of a layer for p = inf, from its row norms nu: its k rows of largest l_1 norm, k in 1..m.

    >>> W = torch.tensor([[1.0, -1.0], [3.0, 1.0]])
    >>> found = row_side(W, row_l1(W), 1)
    >>> found.units.tolist(), found.scale, found.rest  # the second row, nu_1 and nu_2 / nu_1
    ([1], 4.0, 0.5)
    """
    top = largest_rows(nu, k)
    W, power = unit(W)  # only ratios are taken of what a side holds
    ordered = nu.sort(descending=True).values / power
    return Side(W[top], W[top], top, float(ordered[0]), _rest(ordered, k))


def spectral_side(f: spectra.Factors) -> Side:
    """The side of a layer for p = 2, from its k leading singular triples: S^{1/2} V^T after, U S^{1/2} before.

    >>> found = spectral_side(spectra.factors(torch.tensor([[9.0, 0.0], [0.0, 1.0]]), 1))
    >>> round(found.scale, 6), round(found.rest, 6)  # sqrt 9 and sqrt(1/9)
    (3.0, 0.333333)
    """
    k = f.U.shape[1]
    root = f.s[:k].sqrt()
    units = torch.arange(len(f.U), device=f.U.device)
    return Side(root[:, None] * f.Vh, f.U * root, units, math.sqrt(float(f.s[0])), math.sqrt(_rest(f.s, k)))


def side(W: Tensor, k: int, p: float) -> Side:
    """The side of a checked float64 layer at k for p = 2 or inf.

    >>> side(torch.tensor([[9.0, 0.0], [0.0, 1.0]]), 1, math.inf).scale
    9.0
    """
    return row_side(W, row_l1(W), k) if checked_p(p) == math.inf else spectral_side(spectra.factors(W, k))


def checked_pair(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float) -> tuple[Tensor, Tensor]:
    """The two layers as float64, or ValueError when shapes, p or a k do not fit."""
    W2, W1 = checked_matrix("W2", W2), checked_matrix("W1", W1)
    if W2.shape[1] != W1.shape[0]:
        raise ValueError(f"W2 must take what W1 gives: shapes {tuple(W2.shape)} after {tuple(W1.shape)}")
    checked_p(p)
    for name, k, W in (("k2", k2, W2), ("k1", k1, W1)):
        checked_k(name, k, 1, W.shape[0] if p == math.inf else min(W.shape))
    return W2, W1


def patterns(h: int, entries: int) -> Iterator[Tensor]:
    """All 2^h patterns in chunks (N, h), N entries numbers each fitting in memory; ValueError beyond 2^20 patterns.

    >>> next(patterns(2, 1)).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    if 2**h > MOST_PATTERNS:
        raise ValueError(f"exact needs 2^{h} patterns, more than 2^20; use method='upper'")
    bits = torch.arange(h)
    chunk = max(1, CHUNK_ENTRIES // max(1, entries))
    for start in range(0, 2**h, chunk):
        yield ((torch.arange(start, min(start + chunk, 2**h))[:, None] >> bits) & 1).to(torch.float64)


def norms(M: Tensor, p: float) -> Tensor:
    """Operator norms of the last two dimensions, (..., m, n) -> (...).

    >>> norms(torch.tensor([[[1.0, -2.0]], [[0.0, 4.0]]]), math.inf).tolist()
    [3.0, 4.0]
    """
    return M.abs().sum(-1).amax(-1) if checked_p(p) == math.inf else torch.linalg.matrix_norm(M, ord=2)


def main_term(later: Side, earlier: Side, p: float, method: str = "upper") -> Bound:
    """`alignment` of two layers given as sides.

    >>> W1, W2 = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])
    >>> main_term(side(W2, 1, math.inf), side(W1, 2, math.inf), math.inf)
    Bound(value=0.5, certified=True, method='upper')
    """
    checked_p(p)
    if method not in METHODS:
        raise ValueError(f"method must be exact, upper or greedy, got {method!r}")
    certified = method != "greedy"
    full = later.scale * earlier.scale
    if full == 0:
        return Bound(0.0, certified, method)
    B, A = later.after[:, earlier.units], earlier.before
    if method == "upper":
        value = _upper(B, A, p, full)
    elif method == "exact":
        chunks = patterns(B.shape[1], B.numel() + len(B) * A.shape[1])
        value = max(float(norms((D.to(B.device)[:, None, :] * B) @ A, p).max()) for D in chunks)
    else:
        value = greedy.search(B, A, p)
    return Bound(min(1.0, value / full), certified, method)


def _upper(B: Tensor, A: Tensor, p: float, full: float) -> float:
    """Certified: the norm of the entrywise maximum of |B D A|; for p = 2 also halfway from ||B A|| to the cap."""
    product = B @ A
    envelope = (B.abs() @ A.abs() + product.abs()) / 2  # the larger of the positive and the negative part's sum
    if p == math.inf:
        return float(norms(envelope, p))
    return min((full + float(norms(product, p))) / 2, float(norms(envelope, p)))


def alignment(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float, method: str = "upper") -> Bound:
    """Main alignment term of two consecutive layers, in [0, 1] (paper A, Equations 6 and 7, without the remainder).

    p = inf: max_D ||W2_k D W1_k||_inf / (||W2||_inf ||W1||_inf), rows compressed to k2 and k1;
    p = 2: max_D ||S^{1/2}_k V_k^T D U_k S^{1/2}_k||_2 / sqrt(s_1 s_1). W2 (c, h) follows W1 (h, a).
    `exact` tries all patterns and refuses beyond 2^20 of them (only the kept rows of W1 matter for p = inf); `upper` is
    a certified polynomial upper bound; `greedy` is a search for the maximum as in the paper (Appendix B.5), NOT
    certified: what it finds lies at the maximum or below (`study.theory.greedy`). A zero layer gives 0.

    >>> W1, W2 = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])
    >>> alignment(W2, W1, 1, 2, math.inf, "exact").value  # the net is |x|: norms 2 and 1, every pattern gives at most 1
    0.5
    """
    W2, W1 = checked_pair(W2, W1, k2, k1, p)
    return main_term(side(W2, k2, p), side(W1, k1, p), p, method)


def remainder(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float) -> float:
    """Remainder alignment term (paper A, below Equation 7), 0 when nothing was cut.

    p = inf: (1 + x)(1 + y) - 1 with x = nu_{k+1} / nu_1 of W1, y of W2; p = 2: (1 + sqrt x)(1 + sqrt y) - 1 with
    singular values. Equation 7 prints sigma_k for sigma_{k+1}, with which Lemma A.5 is false (erratum 4).

    >>> W1, W2 = torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0, 1.0]])
    >>> remainder(W2, W1, 1, 1, math.inf)  # (1 + 1/2)(1 + 0) - 1
    0.5
    """
    W2, W1 = checked_pair(W2, W1, k2, k1, p)
    return _remainder(side(W2, k2, p), side(W1, k1, p))


def _remainder(later: Side, earlier: Side) -> float:
    return (1 + earlier.rest) * (1 + later.rest) - 1


def aligned_sides(later: Side, earlier: Side, p: float, method: str = "upper", cap: bool = True) -> Bound:
    """`aligned` of two layers given as sides.

    >>> W1, W2 = torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0, 1.0]])
    >>> aligned_sides(side(W2, 1, math.inf), side(W1, 1, math.inf), math.inf).value  # 2 / (2 * 2) + 1/2
    1.0
    """
    main = main_term(later, earlier, p, method)
    value = main.value + _remainder(later, earlier)
    return main._replace(value=min(1.0, value) if cap else value)


def aligned(W2: Tensor, W1: Tensor, k2: int, k1: int, p: float, method: str = "upper", cap: bool = True) -> Bound:
    """The whole alignment term A_p: main term plus remainder, capped at 1 unless told otherwise.

    Lemma A.6's A <= 1 holds for the main term alone (erratum 5: W = I_4, k = 2 gives 4 with the remainder); the cap is
    valid because the full pair never exceeds the product of norms. Equation 42 adds the remainder twice (erratum 7).

    >>> aligned(torch.eye(4), torch.eye(4), 2, 2, math.inf, cap=False).value
    4.0
    >>> aligned(torch.eye(4), torch.eye(4), 2, 2, math.inf).value
    1.0
    """
    W2, W1 = checked_pair(W2, W1, k2, k1, p)
    return aligned_sides(side(W2, k2, p), side(W1, k1, p), p, method, cap)
