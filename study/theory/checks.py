"""Arguments held against their valid range: the value as it is computed with, or ValueError that names it."""

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
