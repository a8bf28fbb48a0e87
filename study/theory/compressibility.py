"""Compressibility of a vector, and the two structure vectors of a matrix that it is measured on.

Source: "On the Interaction of Compressibility and Adversarial Robustness" (paper A), Definition 2.1 and section 3.
Everything is computed in float64 whatever the input's type.
"""

import math

import torch
from torch import Tensor


def checked_vector(name: str, v: Tensor) -> Tensor:
    """`v` as float64, or ValueError when it is not a finite, non-empty vector."""
    if v.ndim != 1 or v.numel() == 0:
        raise ValueError(f"{name} must be a non-empty vector, got shape {tuple(v.shape)}")
    if not bool(torch.isfinite(v).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity among its {v.numel()} entries")
    return v.detach().to(torch.float64)


def checked_matrix(name: str, W: Tensor) -> Tensor:
    """`W` as float64, or ValueError when it is not a finite, non-empty matrix."""
    if W.ndim != 2 or W.numel() == 0:
        raise ValueError(f"{name} must be a non-empty matrix, got shape {tuple(W.shape)}")
    if not bool(torch.isfinite(W).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity in a matrix of shape {tuple(W.shape)}")
    return W.detach().to(torch.float64)


def checked_k(name: str, k: int, low: int, high: int) -> int:
    """`k`, or ValueError naming the valid range."""
    if isinstance(k, bool) or not isinstance(k, int) or not low <= k <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {k!r}")
    return k


def eps_q(v: Tensor, q: float, k: int) -> float:
    """Relative residual of keeping the k largest entries, eps = ||v - v_k||_q / ||v||_q (paper A, Definition 2.1).

    v has shape (d,), q > 0 or inf, k in 0..d; the result lies in [0, 1]: 0 is fully compressible at k, near
    1 - k/d (q = 1) a flat vector. The zero vector gives 0. Raises ValueError outside these ranges.
    """
    v = checked_vector("v", v)
    checked_k("k", k, 0, v.numel())
    if not (q > 0):
        raise ValueError(f"q must be positive or inf, got {q!r}")
    magnitudes = v.abs().sort(descending=True).values
    largest = float(magnitudes[0])
    if largest == 0.0 or k == v.numel():
        return 0.0
    tail = magnitudes[k:] / largest
    if math.isinf(q):
        return float(tail[0])
    whole = (magnitudes / largest).pow(q).sum()
    return float((tail.pow(q).sum() / whole).pow(1.0 / q))


def spread(v: Tensor, k: int) -> float:
    """Spread of the k dominant entries, beta = 1 - |v|_(k) / |v|_(1) (paper A, section 2).

    v has shape (d,), k in 1..d; the result lies in [0, 1]. beta = 1 (fewer than k non-zero entries) makes the
    upper bounds of Theorem 3.1 infinite: choose a smaller k. The zero vector gives 0.
    """
    v = checked_vector("v", v)
    checked_k("k", k, 1, v.numel())
    magnitudes = v.abs().sort(descending=True).values
    if float(magnitudes[0]) == 0.0:
        return 0.0
    return float(1.0 - magnitudes[k - 1] / magnitudes[0])


def k_for_eps(v: Tensor, q: float, eps: float) -> int:
    """Smallest k whose residual is at most eps: min{k : eps_q(v, q, k) <= eps} (paper A, section 4, eps-pruning).

    v has shape (d,), eps >= 0. Raises ValueError for a negative or NaN eps.
    """
    if not eps >= 0:
        raise ValueError(f"eps must be at least 0, got {eps!r}")
    low, high = 0, checked_vector("v", v).numel()
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if eps_q(v, q, middle) <= eps else (middle + 1, high)
    return low


def row_l1(W: Tensor) -> Tensor:
    """nu: the l_1 norm of each row, (m, n) -> (m,) (paper A, section 3). Its maximum is the l_inf operator norm."""
    return checked_matrix("W", W).abs().sum(dim=1)


def singular_values(W: Tensor) -> Tensor:
    """sigma: the singular values in descending order, (m, n) -> (min(m, n),)."""
    return torch.linalg.svdvals(checked_matrix("W", W))


def dominant_k(d: int, share: float = 0.1) -> int:
    """k = max(1, round(share * d)), the size at which compressibility is reported; d >= 1, share in (0, 1]."""
    return max(1, round(share * d))
