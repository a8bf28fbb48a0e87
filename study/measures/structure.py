"""Compressibility of the hidden layers, their operator norms and the bounds of paper A's Theorem 3.1."""

import math

from torch import Tensor

from study.config import Structure
from study.models.net import weight_matrices
from study.rows import Row, row
from study.state import State
from study.theory.bounds import layer_bounds


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
    found = layer_bounds(W, share)
    return [
        row("compress_eps_nu", found.compress_eps_nu),
        row("spread_nu", found.spread_nu),
        row("compress_eps_sigma", found.compress_eps_sigma),
        row("spread_sigma", found.spread_sigma),
        row("frobenius_norm", found.frobenius_norm),
        row("operator_norm", found.linf_norm, norm="linf"),
        row("operator_norm", found.l2_norm, norm="l2"),
        row("operator_norm_bound", found.linf_upper, norm="linf"),
        row("operator_norm_bound_tight", found.linf_upper_tight, norm="linf"),
        row("operator_norm_bound", found.l2_upper, norm="l2"),
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
