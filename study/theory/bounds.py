"""Everything that is reported of a net's weights, with each layer's spectrum and row norms computed once."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from study.theory import alignment, operator_norms, spectra
from study.theory.alignment import Bound, Side
from study.theory.checks import checked_matrix
from study.theory.compressibility import dominant_k, eps_q, row_l1, spread
from study.theory.lipschitz import compose
from study.theory.scaling import product


class LayerBounds(NamedTuple):
    """One (m, n) layer: compressibility at the dominant k, exact norms, and Theorems 3.1 and B.4 of paper A.

    eps and spread are taken at k = max(1, round(share d)). A bound at that k would be infinite where fewer than k
    entries stand above round-off; the bounds use k_nu and k_sigma, the largest k up to it that has them all.
    `linf_upper` is Theorem 3.1a as printed for m x n at the best k_r, `linf_upper_tight` its tight bracket,
    `linf_lower` the stronger form of B.4a, `l2_lower` B.4b.
    """

    compress_eps_nu: float
    spread_nu: float
    compress_eps_sigma: float
    spread_sigma: float
    frobenius_norm: float
    linf_norm: float
    l2_norm: float
    k_nu: int
    k_sigma: int
    linf_upper: float
    linf_upper_tight: float
    l2_upper: float
    linf_lower: float
    l2_lower: float


class NetBounds(NamedTuple):
    """A net's layers; the products of their norms; a capped alignment term per pair of layers; Theorem 3.2's bounds.

    `linf_search` and `l2_search` are main terms as paper A computes them, found by a search and not certified; empty
    where none was asked for.
    """

    layers: tuple[LayerBounds, ...]
    linf_product: float
    l2_product: float
    linf_alignment: tuple[Bound, ...]
    l2_alignment: tuple[Bound, ...]
    linf_lipschitz: Bound
    linf_lipschitz_tight: Bound
    l2_lipschitz: Bound
    linf_search: tuple[Bound, ...] = ()
    l2_search: tuple[Bound, ...] = ()


def layer_bounds(W: Tensor, share: float = 0.1, groups: int = 1) -> LayerBounds:
    """The statistics of one layer, (m, n), at k = max(1, round(share d)), share in (0, 1].

    `groups` blocks of rows, one below the other, are a map that has them on its diagonal: its singular values are those
    of all blocks, its norm in l_2 the largest block's. In l_inf it is that of the rows as they stand.

    >>> import torch
    >>> found = layer_bounds(torch.eye(4))  # k = 1
    >>> found.compress_eps_sigma, found.l2_norm, found.l2_upper  # 3/4; 1; (1 - 3/4) * sqrt(4) * 2
    (0.75, 1.0, 1.0)
    """
    W = checked_matrix("W", W)
    return _layer(W, row_l1(W), spectra.values(W, groups), share)


def _layer(W: Tensor, nu: Tensor, sigma: Tensor, share: float) -> LayerBounds:
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share!r}")
    at_nu, at_sigma = dominant_k(len(nu), share), dominant_k(len(sigma), share)
    k_nu = min(at_nu, operator_norms.numerical_rank(nu))
    k_sigma = min(at_sigma, operator_norms.numerical_rank(sigma))
    e, frobenius = operator_norms.row_residuals(W), operator_norms.frobenius_norm(W)
    return LayerBounds(
        compress_eps_nu=eps_q(nu, 1, at_nu),
        spread_nu=spread(nu, at_nu),
        compress_eps_sigma=eps_q(sigma, 1, at_sigma),
        spread_sigma=spread(sigma, at_sigma),
        frobenius_norm=frobenius,
        linf_norm=float(nu.max()),
        l2_norm=float(sigma[0]),
        k_nu=k_nu,
        k_sigma=k_sigma,
        linf_upper=operator_norms.inf_upper(nu, e, frobenius, k_nu),
        linf_upper_tight=operator_norms.inf_upper(nu, e, frobenius, k_nu, tight=True),
        l2_upper=operator_norms.spectral_upper(sigma, k_sigma),
        linf_lower=operator_norms.inf_lower(nu, operator_norms.row_factor(W), frobenius, k_nu),
        l2_lower=operator_norms.spectral_lower(sigma, k_sigma),
    )


def _layer_and_sides(W: Tensor, share: float) -> tuple[LayerBounds, Side, Side]:
    nu, f = row_l1(W), spectra.factors(W, dominant_k(min(W.shape), share))
    layer = _layer(W, nu, f.s, share)
    k = layer.k_sigma
    kept = spectra.Factors(f.U[:, :k], f.s, f.Vh[:k])
    return layer, alignment.row_side(W, nu, layer.k_nu), alignment.spectral_side(kept)


def net_bounds(Ws: Sequence[Tensor], share: float = 0.1, method: str = "upper", *, search: bool = False) -> NetBounds:
    """Statistics of every layer of a net and the bounds of its l_inf and l_2 Lipschitz constants (paper A, Thm 3.2).

    Ws holds matrices (n_l, n_{l-1}), first layer first, ReLU between them; every layer at its own k_nu and k_sigma.
    `method` is the alignment terms' (`exact` refuses wide layers, `greedy` is not certified); `search` asks for the
    greedy main terms beside them. A conv net's flattened kernels do not chain and are no operators either: use
    `layer_bounds` and `study.theory.operators` for them.
    Raises ValueError for no layers, shapes that do not chain, a share outside (0, 1] or a matrix that is not finite.

    >>> import torch
    >>> found = net_bounds([torch.eye(4), 2 * torch.eye(4)])
    >>> found.l2_product, found.l2_lipschitz.value, found.l2_lipschitz.certified
    (2.0, 2.0, True)
    """
    if len(Ws) == 0:
        raise ValueError("Ws must hold at least one matrix, got none")
    mats = [checked_matrix(f"Ws[{i}]", W) for i, W in enumerate(Ws)]
    for i, (W1, W2) in enumerate(itertools.pairwise(mats)):
        if W2.shape[1] != W1.shape[0]:
            raise ValueError(
                f"Ws[{i + 1}] must take what Ws[{i}] gives: shape {tuple(W2.shape)} after {tuple(W1.shape)}"
            )
    layers, inf_sides, two_sides = zip(*(_layer_and_sides(W, share) for W in mats), strict=True)
    inf = tuple(alignment.aligned_sides(b, a, math.inf, method) for a, b in itertools.pairwise(inf_sides))
    two = tuple(alignment.aligned_sides(b, a, 2, method) for a, b in itertools.pairwise(two_sides))
    return NetBounds(
        layers=layers,
        linf_product=product(v.linf_norm for v in layers),
        l2_product=product(v.l2_norm for v in layers),
        linf_alignment=inf,
        l2_alignment=two,
        linf_lipschitz=compose([v.linf_upper for v in layers], inf, math.inf, method),
        linf_lipschitz_tight=compose([v.linf_upper_tight for v in layers], inf, math.inf, method),
        l2_lipschitz=compose([v.l2_upper for v in layers], two, 2, method),
        linf_search=_searched(inf_sides, math.inf) if search else (),
        l2_search=_searched(two_sides, 2) if search else (),
    )


def _searched(sides: Sequence[Side], p: float) -> tuple[Bound, ...]:
    return tuple(alignment.main_term(b, a, p, "greedy") for a, b in itertools.pairwise(sides))
