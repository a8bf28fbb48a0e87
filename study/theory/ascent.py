"""Gradient ascent on an operator norm at fixed Frobenius norm (paper A, appendix B.3, Figure 9)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from study.theory.checks import checked_matrix, checked_p


def ascend(W: Tensor, p: float, steps: int, step_size: float) -> Iterator[Tensor]:
    """The (m, n) matrices of gradient ascent on ||W||_p, p in {2, inf}: W itself, then one after each of the steps.

    W <- c (W + step_size ||W||_F G / ||G||_F) with G a subgradient of the norm (the signs of the row of largest l_1
    norm; u_1 v_1^T of the largest singular value) and c such that ||W||_F stays. Where two rows or singular values tie,
    one of them is taken. The limits are a single row of equal magnitudes, ||W||_inf = sqrt(n) ||W||_F, and a matrix of
    rank one, ||W||_2 = ||W||_F. step_size > 0 without unit. ValueError for another p or a zero matrix.

    >>> W = torch.tensor([[2.0, 1.0], [2.0, 4.0]])
    >>> *_, last = ascend(W, float("inf"), 100, 0.1)  # towards one row of equal magnitudes: sqrt(2) * 5
    >>> round(float(last.abs().sum(dim=1).max()), 3), round(float(last.norm()), 3)
    (7.071, 5.0)
    """
    W = checked_matrix("W", W).clone()
    checked_p(p)
    if not step_size > 0:
        raise ValueError(f"step_size must be above 0, got {step_size!r}")
    scale = torch.linalg.norm(W)
    if float(scale) == 0:
        raise ValueError("W must not be the zero matrix")
    yield W
    for _ in range(steps):
        G = _subgradient(W, p)
        W = W + step_size * scale * G / torch.linalg.norm(G)
        W = W * (scale / torch.linalg.norm(W))
        yield W


def _subgradient(W: Tensor, p: float) -> Tensor:
    if p == 2:
        U, _, V = torch.linalg.svd(W, full_matrices=False)
        return torch.outer(U[:, 0], V[0])
    row = int(W.abs().sum(dim=1).argmax())
    G = torch.zeros_like(W)
    G[row] = W[row].sign()
    return G
