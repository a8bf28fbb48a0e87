"""Compressibility of the hidden layers, their operator norms and the bounds of paper A's Theorem 3.1."""

import math

from torch import Tensor

from study.config import Structure
from study.models.net import weight_matrices
from study.rows import Row, row
from study.state import State
from study.theory import compressibility as comp
from study.theory import operator_norms as norms


def structure(state: State, config: Structure) -> list[Row]:
    """Per hidden layer (or of the bare matrix), then over layers: `mean` for eps and spread, `product` for the rest.

    eps and spread of nu and sigma at k = max(1, round(share * d)), q = 1. A bound at that k would be infinite where
    fewer than k entries are non-zero; there it uses the largest k that has them all.
    """
    matrices = {"matrix": state.matrix} if state.matrix is not None else {}
    matrices |= weight_matrices(state.net) if state.net is not None else {}
    rows: list[Row] = []
    for name, W in matrices.items():
        rows += [r | {"layer": name} for r in _layer(W.detach().cpu(), config.share)]
    return rows + _over_layers(rows)


def _layer(W: Tensor, share: float) -> list[Row]:
    W = W.double()
    nu, sigma = comp.row_l1(W), comp.singular_values(W)
    k_nu, k_sigma = comp.dominant_k(len(nu), share), comp.dominant_k(len(sigma), share)
    return [
        row("compress_eps_nu", comp.eps_q(nu, 1, k_nu)),
        row("spread_nu", comp.spread(nu, k_nu)),
        row("compress_eps_sigma", comp.eps_q(sigma, 1, k_sigma)),
        row("spread_sigma", comp.spread(sigma, k_sigma)),
        row("frobenius_norm", norms.frobenius_norm(W)),
        row("operator_norm", float(nu.max()), norm="linf"),
        row("operator_norm", float(sigma[0]), norm="l2"),
        *_bounds(W, min(k_nu, norms.numerical_rank(nu)), min(k_sigma, norms.numerical_rank(sigma))),
    ]


def _bounds(W: Tensor, k_nu: int, k_sigma: int) -> list[Row]:
    return [
        row("operator_norm_bound", norms.opnorm_inf_upper(W, k_nu), norm="linf"),
        row("operator_norm_bound_tight", norms.opnorm_inf_upper(W, k_nu, tight=True), norm="linf"),
        row("operator_norm_bound", norms.opnorm_2_upper(W, k_sigma), norm="l2"),
    ]


MEANS = ("compress_eps_nu", "spread_nu", "compress_eps_sigma", "spread_sigma")


def _over_layers(rows: list[Row]) -> list[Row]:
    groups: dict[tuple[str, str | None], list[float]] = {}
    for r in rows:
        groups.setdefault((r["measure"], r.get("norm")), []).append(r["value"])
    out = []
    for (measure, norm), values in groups.items():
        if measure in MEANS:
            out.append(row(measure, sum(values) / len(values), layer="mean"))
        else:
            out.append(row(measure, math.prod(values), layer="product", **({"norm": norm} if norm else {})))
    return out
