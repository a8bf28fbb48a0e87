"""Arguments held against their valid range: the value as it is computed with, or ValueError that names it."""

import math

import torch
from torch import Tensor


def finite(v: Tensor) -> bool:
    """Whether no entry is NaN or infinite; one pass over memory unless the sum overflows."""
    return bool(torch.isfinite(v.sum())) or bool(torch.isfinite(v).all())


def checked_vector(name: str, v: Tensor) -> Tensor:
    """`v` as float64, or ValueError when it is not a finite, non-empty vector."""
    if v.ndim != 1 or v.numel() == 0:
        raise ValueError(f"{name} must be a non-empty vector, got shape {tuple(v.shape)}")
    if not finite(v):
        raise ValueError(f"{name} must be finite, got NaN or infinity among its {v.numel()} entries")
    return v.detach().to(torch.float64)


def checked_matrix(name: str, W: Tensor) -> Tensor:
    """`W` as float64, or ValueError when it is not a finite, non-empty matrix."""
    if W.ndim != 2 or W.numel() == 0:
        raise ValueError(f"{name} must be a non-empty matrix, got shape {tuple(W.shape)}")
    if not finite(W):
        raise ValueError(f"{name} must be finite, got NaN or infinity in a matrix of shape {tuple(W.shape)}")
    return W.detach().to(torch.float64)


def checked_k(name: str, k: int, low: int, high: int) -> int:
    """`k`, or ValueError naming the valid range."""
    if isinstance(k, bool) or not isinstance(k, int) or not low <= k <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {k!r}")
    return k


def checked_kernel(kernel: Tensor) -> Tensor:
    """`kernel` as float64, or ValueError when it is not a finite, non-empty (out, in, kh, kw)."""
    if kernel.ndim != 4 or kernel.numel() == 0 or not finite(kernel):
        raise ValueError(f"kernel must be finite, of shape (out, in, kh, kw), got shape {tuple(kernel.shape)}")
    return kernel.detach().to(torch.float64)


def checked_p(p: float) -> float:
    """`p`, or ValueError when it is not 2 or inf: the norms that the theorems speak of."""
    if isinstance(p, bool) or p not in (2, math.inf):
        raise ValueError(f"p must be 2 or inf, got {p!r}")
    return p
