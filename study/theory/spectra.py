"""Spectra of large matrices at the price of a symmetric eigenvalue problem.

The eigenvalues of W W^T are the squared singular values, and tridiagonalising a symmetric matrix costs about a third of
bidiagonalising W. Squaring costs precision: in float64 an eigenvalue is off by about 1e-15 sigma_1^2, a relative 1e-7
of sigma at 1e-4 sigma_1, and nothing at all is left of values below 3e-8 sigma_1. A matrix with values near there (a
low-rank product) is therefore decomposed directly.

The functions take checked float64 matrices; `study.theory.compressibility` has the checked entries.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from study.theory.scaling import unit

SMALL = 256  # up to here a direct decomposition takes milliseconds
BLOCKS = 8
RESOLVED = 1e-6  # of the largest value; a Gram matrix still tells values above it from zero


class Factors(NamedTuple):
    """The k leading singular vectors U (m, k) and Vh (k, n), and all min(m, n) singular values, descending."""

    U: Tensor
    s: Tensor
    Vh: Tensor


def lower_gram(W: Tensor) -> Tensor:
    """W W^T of an (m, n) matrix in its lower triangle, (m, m); above the diagonal blocks it stays zero.

    Symmetric solvers read one triangle, so nearly half of the product need not be formed.

    >>> lower_gram(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    m = W.shape[0]
    G = W.new_zeros(m, m)
    step = -(-m // BLOCKS)
    for start in range(0, m, step):
        stop = min(m, start + step)
        G[start:stop, :stop] = W[start:stop] @ W[:stop].T
    return G


def _roots(eigenvalues: Tensor) -> Tensor | None:
    """Singular values from ascending Gram eigenvalues, or None when the least of them is lost in round-off."""
    s = eigenvalues.flip(0).clamp_min(0).sqrt()
    return s if float(s[-1]) > RESOLVED * float(s[0]) else None


def values(W: Tensor, groups: int = 1) -> Tensor:
    """All singular values, descending: (m, n) -> (min(m, n),).

    Of `groups` blocks of rows, those of the map that has them on its diagonal, (min(m, groups n),): all of the blocks'.

    >>> values(torch.tensor([[0.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)).round(decimals=9).tolist()
    [3.0, 2.0]
    >>> values(torch.ones(4, 1, dtype=torch.float64), 4).tolist()  # the identity, not a column of norm 2
    [1.0, 1.0, 1.0, 1.0]
    """
    if groups > 1:
        return torch.cat([values(part) for part in W.chunk(groups)]).sort(descending=True).values
    W, scale = unit(W)
    wide = W if W.shape[0] <= W.shape[1] else W.T
    if wide.shape[0] > SMALL:
        s = _roots(torch.linalg.eigvalsh(lower_gram(wide), UPLO="L"))
        if s is not None:
            return s * scale
    return torch.linalg.svdvals(W) * scale


def factors(W: Tensor, k: int) -> Factors:
    """The k leading singular triples of an (m, n) matrix and its whole spectrum, k in 0..min(m, n).

    >>> W = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> U, s, Vh = factors(W, 1)
    >>> s.round(decimals=9).tolist(), ((U * s[:1]) @ Vh).round(decimals=9).tolist()
    ([3.0, 1.0], [[1.5, 1.5], [1.5, 1.5]])
    """
    if W.shape[0] > W.shape[1]:
        V, s, Uh = factors(W.T, k)
        return Factors(Uh.T, s, V.T)
    W, scale = unit(W)
    if W.shape[0] > SMALL:
        eigenvalues, vectors = torch.linalg.eigh(lower_gram(W), UPLO="L")
        roots = _roots(eigenvalues)
        if roots is not None:
            U = vectors[:, len(roots) - k :].flip(1)
            return Factors(U, roots * scale, (U / roots[:k]).T @ W)
    U, s, Vh = torch.linalg.svd(W, full_matrices=False)
    return Factors(U[:, :k], s * scale, Vh[:k])
