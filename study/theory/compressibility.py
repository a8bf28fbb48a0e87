"""Compressibility of a vector, and the two structure vectors of a matrix that it is measured on.

Source: "On the Interaction of Compressibility and Adversarial Robustness" (paper A), Definition 2.1 and section 3.
Everything is computed in float64 whatever the input's type.
"""

import math

import torch
from torch import Tensor

from study.theory import spectra
from study.theory.checks import checked_k, checked_matrix, checked_vector


def eps_q(v: Tensor, q: float, k: int) -> float:
    """Relative residual of keeping the k largest entries, eps = ||v - v_k||_q / ||v||_q (paper A, Definition 2.1).

    v has shape (d,), q > 0 or inf, k in 0..d; the result lies in [0, 1]: 0 is fully compressible at k, near
    1 - k/d (q = 1) a flat vector. The zero vector gives 0. Raises ValueError outside these ranges.

    >>> eps_q(torch.tensor([4.0, 2.0, 2.0]), 1, 1)  # (2 + 2) / (4 + 2 + 2)
    0.5
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


def residuals(v: Tensor) -> Tensor:
    """eps_q(v, 1, k) for every k = 0, 1, ..., d at once, (d,) -> (d + 1,) (paper A, Definition 2.1).

    They never rise, from 1 to 0; the zero vector gives zeros. Rounding may differ from that of eps_q: equal ratios of
    sums that are exact are equal here.

    >>> residuals(torch.tensor([2.0, -4.0, 2.0])).tolist()
    [1.0, 0.5, 0.25, 0.0]
    """
    magnitudes = checked_vector("v", v).abs().sort().values
    if (largest := float(magnitudes[-1])) > 0:
        magnitudes = magnitudes / math.ldexp(1.0, math.frexp(largest)[1] - 1)  # by a power of two: nothing is rounded
    tails = torch.cat([torch.zeros_like(magnitudes[:1]), magnitudes.cumsum(0)]).flip(0)
    return tails / tails[0] if float(tails[0]) > 0 else tails


def spread(v: Tensor, k: int) -> float:
    """Spread of the k dominant entries, beta = 1 - |v|_(k) / |v|_(1) (paper A, section 2).

    v has shape (d,), k in 1..d; the result lies in [0, 1]. beta = 1 (fewer than k non-zero entries) makes the
    upper bounds of Theorem 3.1 infinite: choose a smaller k. The zero vector gives 0.

    >>> spread(torch.tensor([4.0, 2.0, 1.0]), 2)  # 1 - 2/4
    0.5
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

    >>> v = torch.tensor([4.0, 2.0, 2.0])  # residuals 1, 1/2, 1/4, 0 at k = 0, 1, 2, 3
    >>> k_for_eps(v, 1, 0.5), k_for_eps(v, 1, 0.3)
    (1, 2)
    """
    if not eps >= 0:
        raise ValueError(f"eps must be at least 0, got {eps!r}")
    low, high = 0, checked_vector("v", v).numel()
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if eps_q(v, q, middle) <= eps else (middle + 1, high)
    return low


def pq_index(v: Tensor, p: float, q: float) -> float:
    """PQ index, I = 1 - d^(1/q - 1/p) ||v||_p / ||v||_q (paper A, Definition B.1, after Diao et al. 2023).

    v has shape (d,) and is not zero, 0 < p < q; the result lies in [0, 1): 0 is flat, near 1 is sparse.

    >>> pq_index(torch.ones(4), 1, 2), pq_index(torch.tensor([1.0, 0.0, 0.0, 0.0]), 1, 2)  # flat; 1 - 1/sqrt(4)
    (0.0, 0.5)
    """
    v = checked_vector("v", v).abs()
    if not 0 < p < q:
        raise ValueError(f"p and q must satisfy 0 < p < q, got p={p!r}, q={q!r}")
    if float(v.max()) == 0.0:
        raise ValueError("v must not be the zero vector")
    v = v / v.max()
    top = float(v.pow(p).mean()) ** (1 / p)
    below = 1.0 if math.isinf(q) else float(v.pow(q).mean()) ** (1 / q)
    return 1.0 - top / below


def pq_lower_bound(p: float, q: float, k: int, d: int, eps: float, form: str = "general") -> float:
    """Lower bound of the PQ index of a (q, k, eps)-compressible vector of length d (paper A, Proposition B.2).

    `paper`: 1 - eps - (k/d)^phi with phi = 1/p - 1/q (Equation 67), by Minkowski's inequality: p >= 1 only (erratum 10:
    at p = .5, q = 1, k = 1, theta = (.8, .2) it claims .3 where the index is .1).
    `general`, any 0 < p < q < inf: 1 - [((k/d)^phi (1 - eps^q)^(1/q))^p + ((1 - k/d)^phi eps)^p]^(1/p).
    0 <= eps <= 1, k in 0..d. Vacuous (negative) for large eps.

    >>> pq_lower_bound(1, 2, k=1, d=4, eps=0)  # met by the vector with one entry
    0.5
    """
    checked_k("k", k, 0, d)
    if not 0 < p < q < math.inf:
        raise ValueError(f"p and q must satisfy 0 < p < q < inf, got p={p!r}, q={q!r}")
    if not 0 <= eps <= 1:
        raise ValueError(f"eps must lie in [0, 1], got {eps!r}")
    phi = 1 / p - 1 / q
    head, tail = (k / d) ** phi, (1 - k / d) ** phi * eps
    if form == "paper":
        if p < 1:
            raise ValueError(f"the paper's form needs p >= 1, got {p!r}; use form='general'")
        return 1.0 - eps - head
    if form != "general":
        raise ValueError(f"form must be paper or general, got {form!r}")
    return float(1.0 - ((head * (1 - eps**q) ** (1 / q)) ** p + tail**p) ** (1 / p))


def largest_rows(nu: Tensor, k: int) -> Tensor:
    """The places of the k largest entries of a vector, (d,) -> (k,); ties keep the lower place.

    >>> largest_rows(torch.tensor([1.0, 3.0, 3.0]), 2).tolist()
    [1, 2]
    """
    return nu.sort(descending=True, stable=True).indices[:k]


def row_compress(W: Tensor, k: int) -> Tensor:
    """W with all but its k rows of largest l_1 norm set to zero, (m, n) -> (m, n); ties keep the lower index.

    >>> row_compress(torch.tensor([[1.0, 1.0], [0.0, -3.0]]), 1).tolist()
    [[0.0, 0.0], [0.0, -3.0]]
    """
    W = checked_matrix("W", W)
    checked_k("k", k, 0, W.shape[0])
    kept = largest_rows(row_l1(W), k)
    out = torch.zeros_like(W)
    out[kept] = W[kept]
    return out


def spectral_compress(W: Tensor, k: int) -> Tensor:
    """W with all but its k largest singular values set to zero, (m, n) -> (m, n).

    >>> W = torch.tensor([[2.0, 1.0], [1.0, 2.0]])  # singular values 3 and 1, vectors (1, 1) and (1, -1) over sqrt 2
    >>> spectral_compress(W, 1).round(decimals=6).tolist()
    [[1.5, 1.5], [1.5, 1.5]]
    """
    W = checked_matrix("W", W)
    checked_k("k", k, 0, min(W.shape))
    U, s, Vh = torch.linalg.svd(W, full_matrices=False)
    return (U[:, :k] * s[:k]) @ Vh[:k]


def row_l1(W: Tensor) -> Tensor:
    """nu: the l_1 norm of each row, (m, n) -> (m,) (paper A, section 3). Its maximum is the l_inf operator norm.

    >>> row_l1(torch.tensor([[1.0, -2.0], [3.0, 1.0]])).tolist()
    [3.0, 4.0]
    """
    return torch.linalg.vector_norm(checked_matrix("W", W), ord=1, dim=1)


def singular_values(W: Tensor) -> Tensor:
    """sigma: the singular values in descending order, (m, n) -> (min(m, n),); large matrices by their Gram matrix.

    Relative error below 1e-6 for every value above 1e-4 of the largest (`study.theory.spectra` says why).

    >>> singular_values(torch.tensor([[0.0, 2.0], [-3.0, 0.0]])).round(decimals=9).tolist()
    [3.0, 2.0]
    """
    return spectra.values(checked_matrix("W", W))


def dominant_k(d: int, share: float = 0.1) -> int:
    """k = max(1, round(share * d)), the size at which compressibility is reported; d >= 1, share in (0, 1].

    >>> dominant_k(200), dominant_k(4)
    (20, 1)
    """
    return max(1, round(share * d))
