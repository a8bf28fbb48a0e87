"""Operator norms and the upper bounds that compressibility puts on them (paper A, Theorem 3.1).

The theorem is printed for square h x h layers; the forms here are for m x n matrices (m outputs, n inputs). The
structure parameters are the matrix's exact ones at the given k: a declared, larger eps would make the theorem false
(nu = (1, 1), k = 1, eps = .9 gives .2 < 1).
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from study.theory.checks import checked_k, checked_matrix, checked_p
from study.theory.compressibility import eps_q, row_l1, singular_values, spread
from study.theory.scaling import frobenius

ROWS_AT_ONCE = 128


def op_norm(W: Tensor, p: float) -> float:
    """Exact operator norm ||W||_p of an (m, n) matrix: largest row l_1 norm (p = inf) or singular value (p = 2).

    >>> op_norm(torch.ones(1, 4), math.inf), round(op_norm(torch.ones(1, 4), 2), 9)
    (4.0, 2.0)
    """
    return float(singular_values(W)[0] if checked_p(p) == 2 else row_l1(W).max())


def frobenius_norm(W: Tensor) -> float:
    """||W||_F of an (m, n) matrix.

    >>> frobenius_norm(torch.tensor([[0.0, 4.0], [3.0, 0.0]]))
    5.0
    """
    return frobenius(checked_matrix("W", W))


def numerical_rank(v: Tensor) -> int:
    """How many entries of a non-negative structure vector stand above float32 round-off of the largest; at least 1.

    A low-rank product stored in float32 has trailing singular values near 1e-8 of the first, not zero; without this
    cut its spread would read .99999999 where the mathematics says 1.

    >>> numerical_rank(torch.tensor([1.0, 0.5, 1e-9]))
    2
    """
    largest = float(v.max())
    return max(1, int((v > v.numel() * torch.finfo(torch.float32).eps * largest).sum()))


def _structure_factor(v: Tensor, k: int) -> float:
    beta = spread(v, k)
    return math.inf if beta >= 1.0 else (1.0 - eps_q(v, 1, k)) / (1.0 - beta) / k


def _row_squares(W: Tensor) -> Iterator[Tensor]:
    """The squared entries of W, each row over its largest, in blocks of rows that stay in a processor's cache."""
    for block in W.split(ROWS_AT_ONCE):
        peaks = block.abs().amax(dim=1, keepdim=True)
        yield (block / torch.where(peaks > 0, peaks, 1.0)).square().cpu()


def row_tails(W: Tensor, k: int) -> Tensor:
    """eps(w_i, 2, k)^2 of every row i, (m, n) -> (m,), k in 1..n. Zero rows give 0.

    >>> row_tails(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), 1).tolist()
    [0.5, 0.0]
    """
    W = checked_matrix("W", W)
    cut = W.shape[1] - checked_k("k", k, 1, W.shape[1])
    tails = []
    for squares in _row_squares(W):
        least = torch.from_numpy(np.partition(squares.numpy(), cut, axis=1))
        tails.append(least[:, :cut].sum(dim=1) / least.sum(dim=1).clamp_min(1.0))
    return torch.cat(tails)


def row_residuals(W: Tensor) -> Tensor:
    """e_r for every k_r = 1..n: the largest eps(w_i, 2, k_r) over the rows, (m, n) -> (n,). Zero rows count as 0.

    >>> row_residuals(torch.ones(2, 4)).square().round(decimals=9).tolist()  # 1 - k_r / 4
    [0.75, 0.5, 0.25, 0.0]
    """
    W = checked_matrix("W", W)
    largest = torch.zeros(W.shape[1], dtype=torch.float64)
    for squares in _row_squares(W):
        # torch.sort would order indices too, which nothing reads, at eight times the cost
        mass = torch.from_numpy(np.sort(squares.numpy(), axis=1)).cumsum(dim=1)
        torch.maximum(largest, (mass / mass[:, -1:].clamp_min(1.0)).amax(dim=0), out=largest)
    return torch.cat([largest[:-1].flip(0), largest.new_zeros(1)]).sqrt()


def inf_upper(nu: Tensor, e: Tensor, frobenius: float, k_nu: int, k_r: int | None = None, tight: bool = False) -> float:
    """Theorem 3.1a from a matrix's row norms nu (m,), row residuals e (n,) and ||W||_F; see `opnorm_inf_upper`.

    >>> inf_upper(torch.ones(4), torch.zeros(4), 2.0, 4)  # the identity of size 4: 1/4 * sqrt(4) * 2
    1.0
    """
    m, n = len(nu), len(e)
    checked_k("k_nu", k_nu, 1, m)
    counts = torch.arange(1, n + 1, dtype=torch.float64)
    if tight:
        brackets = math.sqrt(m) * ((counts * (1 - e.square())).sqrt() + (n - counts).sqrt() * e)
    else:
        brackets = (m * counts).sqrt() + math.sqrt(m * n) * e
    bracket = float(brackets.min()) if k_r is None else float(brackets[checked_k("k_r", k_r, 1, n) - 1])
    factor = _structure_factor(nu, k_nu)
    return math.inf if math.isinf(factor) else factor * bracket * frobenius


def opnorm_inf_upper(W: Tensor, k_nu: int, k_r: int | None = None, tight: bool = False) -> float:
    """Upper bound of ||W||_inf from neuron compressibility (paper A, Theorem 3.1a, Equation 4, for m x n).

    ||W||_inf <= (1 - e_nu)/(1 - b_nu) * (sqrt(m k_r) + sqrt(m n) e_r) / k_nu * ||W||_F, with e_r the largest
    row residual at k_r. `tight` replaces the bracket by sqrt(m) (sqrt(k_r (1 - e_r^2)) + sqrt(n - k_r) e_r), which
    the same hypotheses give. k_nu in 1..m, k_r in 1..n; without k_r, the one that makes the bound least.
    1/k_nu divides both terms of the bracket (erratum 23), the second term has the root of m n, not of h (erratum 2),
    and the proof's Equation 60 has h for that root too (erratum 3, a typing slip).
    Infinite when fewer than k_nu rows are non-zero. Weaker than the trivial sqrt(n) ||W||_F on some matrices.

    >>> opnorm_inf_upper(torch.eye(4), 4)  # met by the identity
    1.0
    """
    W = checked_matrix("W", W)
    return inf_upper(row_l1(W), row_residuals(W), frobenius_norm(W), k_nu, k_r, tight)


def spectral_upper(sigma: Tensor, k_sigma: int) -> float:
    """Theorem 3.1b from a matrix's singular values (r,), whose l_2 norm is ||W||_F; see `opnorm_2_upper`.

    >>> spectral_upper(torch.ones(4), 4), spectral_upper(torch.tensor([1.0, 0.0]), 2)
    (1.0, inf)
    """
    checked_k("k_sigma", k_sigma, 1, len(sigma))
    factor = _structure_factor(sigma, k_sigma)
    return math.inf if math.isinf(factor) else factor * math.sqrt(len(sigma)) * frobenius(sigma)


def opnorm_2_upper(W: Tensor, k_sigma: int) -> float:
    """Upper bound of ||W||_2 from spectral compressibility (paper A, Theorem 3.1b, Equation 5, for m x n).

    ||W||_2 <= (1 - e_sigma)/(1 - b_sigma) * sqrt(min(m, n)) / k_sigma * ||W||_F, k_sigma in 1..min(m, n).
    Infinite when the rank is below k_sigma. Weaker than the trivial ||W||_F on many matrices.

    >>> opnorm_2_upper(torch.eye(4), 4)  # met by the identity: 1 * sqrt(4) / 4 * 2
    1.0
    """
    return spectral_upper(singular_values(W), k_sigma)


def inf_lower(nu: Tensor, f: float, frobenius: float, k_nu: int) -> float:
    """Theorem B.4a from row norms nu (m,), `row_factor` f and ||W||_F; see `opnorm_inf_lower`.

    >>> inf_lower(torch.tensor([4.0]), 2.0, 2.0, 1)  # the row (1, 1, 1, 1)
    4.0
    """
    checked_k("k_nu", k_nu, 1, len(nu))
    return f * (1.0 - eps_q(nu, 1, k_nu)) / k_nu * frobenius


def row_factor(W: Tensor, k_r: int = 1, form: str = "strong") -> float:
    """f of Theorem B.4a, what the sparseness of single rows adds to its lower bound; see `opnorm_inf_lower`.

    >>> row_factor(torch.ones(1, 4))  # 1 / sqrt(1 - 3/4)
    2.0
    """
    if form not in ("paper", "strong"):
        raise ValueError(f"form must be paper or strong, got {form!r}")
    W = checked_matrix("W", W)
    e2 = row_tails(W, k_r)[(W != 0).any(dim=1).cpu()]
    if len(e2) == 0:
        return 1.0
    if form == "paper":
        return math.sqrt(k_r) / float(((k_r * (1 - e2)).sqrt() + e2.pow(0.25)).max())
    return 1.0 / math.sqrt(1.0 - float(e2.min()))


def opnorm_inf_lower(W: Tensor, k_nu: int, k_r: int = 1, form: str = "strong") -> float:
    """Lower bound of ||W||_inf from neuron compressibility (paper A, Theorem B.4a).

    ||W||_inf >= f (1 - e_nu) / k_nu * ||W||_F. `paper`: f(e) = sqrt(k_r) / (sqrt(k_r (1 - e^2)) + sqrt(e)), taken as
    the LEAST over the non-zero rows: read with the largest row residual, as in Theorem 3.1, it is false (erratum 8).
    `strong`: f = 1 / sqrt(1 - e_min^2) with the least row residual, from ||w||_2^2 <= ||w||_inf ||w||_1; simpler,
    larger and valid; best at k_r = 1. k_nu in 1..m, k_r in 1..n. The zero matrix gives 0.

    >>> opnorm_inf_lower(torch.ones(1, 4), 1)  # met by a row of equal entries: 2 * 1 / 1 * 2
    4.0
    """
    return inf_lower(row_l1(W), row_factor(W, k_r, form), frobenius_norm(W), k_nu)


def spectral_lower(sigma: Tensor, k_sigma: int) -> float:
    """Theorem B.4b from a matrix's singular values (r,); see `opnorm_2_lower`.

    >>> spectral_lower(torch.tensor([3.0, 0.0]), 1), spectral_lower(torch.ones(4), 1)  # rank one; flat
    (3.0, 0.0)
    """
    r = len(sigma)
    checked_k("k_sigma", k_sigma, 1, r)
    e = eps_q(sigma, 1, k_sigma)
    return math.sqrt(max(0.0, 1.0 - r * e * e) / k_sigma) * frobenius(sigma)


def opnorm_2_lower(W: Tensor, k_sigma: int) -> float:
    """Lower bound of ||W||_2 from spectral compressibility (paper A, Theorem B.4b, clamped; erratum 9).

    ||W||_2 >= sqrt(max(0, 1 - min(m, n) e_sigma^2) / k_sigma) * ||W||_F, k_sigma in 1..min(m, n). Vacuous (0) for
    nets that are not compressible.

    >>> round(opnorm_2_lower(torch.tensor([[0.0, 3.0], [0.0, 0.0]]), 1), 9)  # met by rank one
    3.0
    """
    return spectral_lower(singular_values(W), k_sigma)
