"""The main term of A_2 at the pattern D = I (paper A, Equation 7), and its gradient in closed form, for a penalty.

For layers W1, W2 with truncated singular values S and vectors U, V, M = S2^{1/2} V2^T U1 S1^{1/2} gives the value
||M||_2 / sqrt(sigma_1(W2) sigma_1(W1)). ||M||_2^2 is the largest eigenvalue of P2 P1 with P1 = U1 S1 U1^T, a spectral
function of W1 W1^T, and P2 = V2 S2 V2^T, one of W2^T W2. So equal singular values on one side of the cut need not be
told apart: the derivative of a spectral function (Daleckii and Krein 1965) has 1 / (s_i + s_j) there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FLOOR = 1e-6  # of the largest singular value: below it none is told from zero, from a Gram matrix in float64
TIE = 1e-4  # of the larger square: two singular values nearer than this on either side of the cut turn nothing


class _Factors(NamedTuple):
    """The singular triples of a matrix (m, n) above the floor, largest first, and how many of them are kept."""

    U: Tensor
    s: Tensor
    V: Tensor
    k: int


def _factors(W: Tensor, share: float) -> _Factors:
    """By the smaller Gram matrix in float64; k = max(1, round(share min(m, n))), less where the rank is."""
    W = W.double()
    tall = W.shape[0] >= W.shape[1]
    A = W if tall else W.T
    V = torch.linalg.eigh(A.T @ A).eigenvectors.flip(1)
    U = A @ V
    s = torch.linalg.vector_norm(U, dim=0)
    clear = s > FLOOR * s.max()
    U, s, V = U[:, clear] / s[clear], s[clear], V[:, clear]
    order = s.argsort(descending=True)
    U, s, V = U[:, order], s[order], V[:, order]
    k = min(max(1, round(share * min(W.shape))), len(s))
    return _Factors(U, s, V, k) if tall else _Factors(V, s, U, k)


def _flipped(f: _Factors) -> _Factors:
    return _Factors(f.V, f.s, f.U, f.k)


def _slope(f: _Factors, w: Tensor) -> Tensor:
    """The gradient of w^T P w by W for P = U_k S_k U_k^T: 2 U (F * a a^T) S V^T with a = U^T w, whole spectrum.

    F_ij is 1 / (s_i + s_j) where both are kept, s_i / (s_i^2 - s_j^2) where i alone is, 0 where none is; s_j = 0 for
    what w has outside of U.
    """
    k, s = f.k, f.s
    a = f.U.T @ w
    gaps = s[:k, None].square() - s[None, k:].square()
    across = torch.where(gaps > TIE * s[:k, None].square(), s[:k, None] / gaps, 0.0)
    F = torch.cat([1 / (s[:k, None] + s[None, :k]), across], dim=1)
    T = F * a[:k, None] * a[None, :]
    kept = f.U[:, :k] @ ((T * s) @ f.V.T)
    outside = w - f.U @ a
    others = (f.U[:, k:] @ T[:, k:].T) * s[:k] + outside[:, None] * a[:k]
    return 2 * (kept + others @ f.V[:, :k].T)


def _pair(later: _Factors, earlier: _Factors) -> tuple[Tensor, Tensor, Tensor]:
    """Value and gradients by the later and by the earlier layer, both not zero."""
    B = later.s[: later.k].sqrt()[:, None] * later.V[:, : later.k].T
    A = earlier.U[:, : earlier.k] * earlier.s[: earlier.k].sqrt()
    u, sigma, vh = torch.linalg.svd(B @ A, full_matrices=False)
    full = (later.s[0] * earlier.s[0]).sqrt()
    value = sigma[0] / full
    weight = torch.where(sigma[0] > 0, 1 / (2 * sigma[0] * full), 0.0)

    def whole(f: _Factors, w: Tensor) -> Tensor:
        return weight * _slope(f, w) - value / (2 * f.s[0]) * torch.outer(f.U[:, 0], f.V[:, 0])

    return value, whole(_flipped(later), A @ vh[0]).T, whole(earlier, B.T @ u[:, 0])


@torch.no_grad()
def alignment_slope(
    matrices: Sequence[Tensor], pairs: Sequence[tuple[int, int]], share: float
) -> tuple[Tensor, list[Tensor]]:
    """The sum over pairs (earlier, later) of ||M||_2 / sqrt(sigma_1 sigma_1) in 0..1, and its gradient by each matrix.

    `matrices` (m_l, n_l) of any floating type, whose gradients are of the same; each layer keeps its
    max(1, round(share min(m, n))) leading singular values. Unmoved by the scale of a layer, so that the gradient is
    orthogonal to it. A zero layer gives 0 and no gradient. ValueError for a pair whose shapes do not chain.

    >>> value, slopes = alignment_slope([torch.diag(torch.tensor([4.0, 1.0])), torch.eye(2)[:1]], [(0, 1)], 0.5)
    >>> float(value)  # the later layer reads what the earlier one stretches most
    1.0
    """
    factors = {i: _factors(matrices[i], share) for i in {i for pair in pairs for i in pair}}
    slopes = [torch.zeros_like(W, dtype=torch.float64) for W in matrices]
    total = torch.zeros((), dtype=torch.float64, device=matrices[0].device if matrices else None)
    for before, after in pairs:
        if matrices[after].shape[1] != matrices[before].shape[0]:
            raise ValueError(
                f"a pair must chain: shapes {tuple(matrices[after].shape)} after {tuple(matrices[before].shape)}"
            )
        if factors[before].k and factors[after].k:
            value, later, earlier = _pair(factors[after], factors[before])
            total = total + value
            slopes[after] += later
            slopes[before] += earlier
    return total, [slope.to(W.dtype) for slope, W in zip(slopes, matrices, strict=True)]
