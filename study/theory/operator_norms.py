"""Operator norms and the upper bounds that compressibility puts on them (paper A, Theorem 3.1).

The theorem is printed for square h x h layers; the forms here are for m x n matrices (m outputs, n inputs). The
structure parameters are the matrix's exact ones at the given k: a declared, larger eps would make the theorem false
(nu = (1, 1), k = 1, eps = .9 gives .2 < 1).
"""

import math

import torch
from torch import Tensor

from study.theory.compressibility import checked_k, checked_matrix, eps_q, row_l1, singular_values, spread


def op_norm(W: Tensor, p: float) -> float:
    """Exact operator norm ||W||_p of an (m, n) matrix: largest row l_1 norm (p = inf) or singular value (p = 2)."""
    if p == 2:
        return float(singular_values(W)[0])
    if p == math.inf:
        return float(row_l1(W).max())
    raise ValueError(f"p must be 2 or inf, got {p!r}")


def frobenius_norm(W: Tensor) -> float:
    """||W||_F of an (m, n) matrix."""
    return float(torch.linalg.norm(checked_matrix("W", W)))


def numerical_rank(v: Tensor) -> int:
    """How many entries of a non-negative structure vector stand above float32 round-off of the largest; at least 1.

    A low-rank product stored in float32 has trailing singular values near 1e-8 of the first, not zero; without this
    cut its spread would read .99999999 where the mathematics says 1.
    """
    largest = float(v.max())
    return max(1, int((v > v.numel() * torch.finfo(torch.float32).eps * largest).sum()))


def _structure_factor(v: Tensor, k: int) -> float:
    beta = spread(v, k)
    return math.inf if beta >= 1.0 else (1.0 - eps_q(v, 1, k)) / (1.0 - beta) / k


def row_residuals(W: Tensor) -> Tensor:
    """e_r for every k_r = 1..n: the largest eps(w_i, 2, k_r) over the rows, (m, n) -> (n,). Zero rows count as 0."""
    squares = checked_matrix("W", W).square().sort(dim=1, descending=True).values
    totals = squares.sum(dim=1, keepdim=True)
    tails = (totals - squares.cumsum(dim=1)).clamp_min(0.0)
    tails[:, -1] = 0.0
    ratios = torch.where(totals > 0, tails / totals.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return ratios.sqrt().max(dim=0).values


def opnorm_inf_upper(W: Tensor, k_nu: int, k_r: int | None = None, tight: bool = False) -> float:
    """Upper bound of ||W||_inf from neuron compressibility (paper A, Theorem 3.1a, Equation 4, for m x n).

    ||W||_inf <= (1 - e_nu)/(1 - b_nu) * (sqrt(m k_r) + sqrt(m n) e_r) / k_nu * ||W||_F, with e_r the largest
    row residual at k_r. `tight` replaces the bracket by sqrt(m) (sqrt(k_r (1 - e_r^2)) + sqrt(n - k_r) e_r), which
    the same hypotheses give. k_nu in 1..m, k_r in 1..n; without k_r, the one that makes the bound least.
    Infinite when fewer than k_nu rows are non-zero. Weaker than the trivial sqrt(n) ||W||_F on some matrices.
    """
    W = checked_matrix("W", W)
    m, n = W.shape
    checked_k("k_nu", k_nu, 1, m)
    counts = torch.arange(1, n + 1, dtype=torch.float64)
    e = row_residuals(W)
    if tight:
        brackets = math.sqrt(m) * ((counts * (1 - e.square())).sqrt() + (n - counts).sqrt() * e)
    else:
        brackets = (m * counts).sqrt() + math.sqrt(m * n) * e
    bracket = float(brackets.min()) if k_r is None else float(brackets[checked_k("k_r", k_r, 1, n) - 1])
    factor = _structure_factor(row_l1(W), k_nu)
    return math.inf if math.isinf(factor) else factor * bracket * frobenius_norm(W)


def opnorm_2_upper(W: Tensor, k_sigma: int) -> float:
    """Upper bound of ||W||_2 from spectral compressibility (paper A, Theorem 3.1b, Equation 5, for m x n).

    ||W||_2 <= (1 - e_sigma)/(1 - b_sigma) * sqrt(min(m, n)) / k_sigma * ||W||_F, k_sigma in 1..min(m, n).
    Infinite when the rank is below k_sigma. Weaker than the trivial ||W||_F on many matrices.
    """
    W = checked_matrix("W", W)
    r = min(W.shape)
    checked_k("k_sigma", k_sigma, 1, r)
    factor = _structure_factor(singular_values(W), k_sigma)
    return math.inf if math.isinf(factor) else factor * math.sqrt(r) * frobenius_norm(W)


def opnorm_inf_lower(W: Tensor, k_nu: int, k_r: int, form: str = "strong") -> float:
    """Lower bound of ||W||_inf from neuron compressibility (paper A, Theorem B.4a).

    ||W||_inf >= f (1 - e_nu) / k_nu * ||W||_F. `paper`: f(e) = sqrt(k_r) / (sqrt(k_r (1 - e^2)) + sqrt(e)), taken as
    the LEAST over the non-zero rows: read with the largest row residual, as in Theorem 3.1, it is false (erratum 8).
    `strong`: f = 1 / sqrt(1 - e_min^2) with the least row residual, from ||w||_2^2 <= ||w||_inf ||w||_1; simpler,
    larger and valid. k_nu in 1..m, k_r in 1..n. The zero matrix gives 0.
    """
    W = checked_matrix("W", W)
    checked_k("k_nu", k_nu, 1, W.shape[0])
    checked_k("k_r", k_r, 1, W.shape[1])
    if form not in ("paper", "strong"):
        raise ValueError(f"form must be paper or strong, got {form!r}")
    rows = [eps_q(w, 2, k_r) for w in W if float(w.abs().max()) > 0]
    if not rows:
        return 0.0
    if form == "paper":
        f = min(math.sqrt(k_r) / (math.sqrt(k_r * (1 - e * e)) + math.sqrt(e)) for e in rows)
    else:
        f = 1.0 / math.sqrt(1.0 - min(rows) ** 2)
    return f * (1.0 - eps_q(row_l1(W), 1, k_nu)) / k_nu * frobenius_norm(W)


def opnorm_2_lower(W: Tensor, k_sigma: int) -> float:
    """Lower bound of ||W||_2 from spectral compressibility (paper A, Theorem B.4b, clamped; erratum 9).

    ||W||_2 >= sqrt(max(0, 1 - min(m, n) e_sigma^2) / k_sigma) * ||W||_F, k_sigma in 1..min(m, n). Vacuous (0) for
    nets that are not compressible.
    """
    W = checked_matrix("W", W)
    r = min(W.shape)
    checked_k("k_sigma", k_sigma, 1, r)
    e = eps_q(singular_values(W), 1, k_sigma)
    return math.sqrt(max(0.0, 1.0 - r * e * e) / k_sigma) * frobenius_norm(W)


def conv_norm_2_upper(kernel: Tensor) -> float:
    """Upper bound of the l_2 operator norm of a stride-1 convolution: sqrt(kh kw) times its matricised sigma_1.

    kernel (out, in, kh, kw). The matricised sigma_1 itself is NOT an upper bound (erratum 12: the 3 x 3 kernel of ones
    has sigma_1 = 3 and operator norm 9).
    """
    if kernel.ndim != 4:
        raise ValueError(f"kernel must have shape (out, in, kh, kw), got {tuple(kernel.shape)}")
    return math.sqrt(kernel.shape[2] * kernel.shape[3]) * op_norm(kernel.flatten(1), 2)


def conv_norm_2_circular(kernel: Tensor, size: int) -> float:
    """Exact l_2 operator norm of a stride-1 convolution on size x size images with circular padding, by FFT.

    kernel (out, in, kh, kw), size >= kh, kw. Zero padding gives at most this (a compression of the same map).
    Source: Sedghi, Gupta and Long 2019.
    """
    if kernel.ndim != 4:
        raise ValueError(f"kernel must have shape (out, in, kh, kw), got {tuple(kernel.shape)}")
    checked_k("size", size, max(kernel.shape[2:]), 2**16)
    transfer = torch.fft.fft2(kernel.detach().double(), s=(size, size)).permute(2, 3, 0, 1)
    return float(torch.linalg.matrix_norm(transfer, ord=2).max())
