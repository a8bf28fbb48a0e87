"""Compressibility of the hidden layers, their operator norms, and the bounds of paper A's Theorems 3.1, B.4 and 3.2."""

import itertools
import math

from study.nets.net import Net, chain, groups, layers, weight_matrices
from study.spec.config import Structure
from study.spec.rows import Row, row
from study.theory.bounds import LayerBounds, NetBounds, layer_bounds, net_bounds
from study.theory.operators import Convolution
from study.trial.measures.convolutions import KINDS, convolutions, matricised_rows, norm_rows
from study.trial.state import State


def structure(state: State, config: Structure) -> list[Row]:
    """Per hidden layer (or of the bare matrix), then over layers: `mean` for eps and spread, `product` for the rest.

    eps and spread of nu and sigma at k = max(1, round(share * d)), q = 1. A bound at that k would be infinite where
    fewer than k entries are non-zero; there it uses the largest k that has them all. The norms of a convolution are
    those of the map on the images that it meets (study.trial.measures.convolutions); the rest is of its kernel as a
    matrix, of a grouped one with the groups' blocks on the diagonal. One that is never called, its weight read
    elsewhere, has no norm as a map. A product bounds a whole net for a chain of dense layers alone.
    """
    matrices = {"matrix": state.matrix} if state.matrix is not None else {}
    matrices |= weight_matrices(state.net) if state.net is not None else {}
    images = convolutions(state.net, state.data.shape) if state.net is not None and state.data is not None else {}
    unmet = (
        {n for n, layer in layers(state.net).items() if isinstance(layer, KINDS)} - {*images} if state.net else set()
    )
    whole = encoder_bounds(state.net, config.share, search=True) if state.net is not None else None
    several = {name: groups(layer) for name, layer in layers(state.net).items()} if state.net is not None else {}
    found = (
        whole.layers
        if whole
        else [layer_bounds(W.detach().cpu(), config.share, several.get(name, 1)) for name, W in matrices.items()]
    )
    rows = []
    for name, layer in zip(matrices, found, strict=True):
        norms = matricised_rows(layer) if name in unmet else _norms(layer, images, name)
        rows += [r | {"layer": name} for r in _vectors(layer) + norms]
    return rows + _over_layers(rows) + (_whole(whole, list(matrices)) if whole else [])


def _norms(layer: LayerBounds, images: dict[str, Convolution], name: str) -> list[Row]:
    """The norms of a layer; a dense one beside convolutions has their rows too, so that products are of all layers."""
    if name in images:
        return norm_rows(images[name], layer)
    certified = [row("operator_norm_certified", layer.l2_norm, norm="l2"), *matricised_rows(layer)]
    return _dense(layer) + (certified if images else [])


def encoder_bounds(net: Net, share: float, search: bool = False) -> NetBounds | None:
    """The bounds of a net whose encoder is a chain of dense layers and ReLU; None for any other."""
    matrices = chain(net)
    return None if matrices is None else net_bounds([W.cpu() for W in matrices], share, search=search)


def _whole(found: NetBounds, names: list[str]) -> list[Row]:
    """Theorem 3.2 of the layers (without normalisation) and its alignment terms, per pair of layers and their mean.

    `alignment` is the certified term with its remainder, capped at 1; `alignment_greedy` the main term that a search
    finds, as paper A computes it: not certified, and of a pattern that the cap hides.
    """
    out = [
        row("lipschitz_bound", found.linf_lipschitz.value, norm="linf"),
        row("lipschitz_bound_tight", found.linf_lipschitz_tight.value, norm="linf"),
        row("lipschitz_bound", found.l2_lipschitz.value, norm="l2"),
    ]
    pairs = [f"{after}*{before}" for before, after in itertools.pairwise(names)]
    for measure, norm, terms in (
        ("alignment", "linf", found.linf_alignment),
        ("alignment", "l2", found.l2_alignment),
        ("alignment_greedy", "linf", found.linf_search),
        ("alignment_greedy", "l2", found.l2_search),
    ):
        out += [row(measure, t.value, layer=pair, norm=norm) for pair, t in zip(pairs, terms, strict=True)]
        out += [row(measure, sum(t.value for t in terms) / len(terms), layer="mean", norm=norm)] if terms else []
    return out


def _vectors(found: LayerBounds) -> list[Row]:
    return [
        row("compress_eps_nu", found.compress_eps_nu),
        row("spread_nu", found.spread_nu),
        row("compress_eps_sigma", found.compress_eps_sigma),
        row("spread_sigma", found.spread_sigma),
        row("frobenius_norm", found.frobenius_norm),
    ]


def _dense(found: LayerBounds) -> list[Row]:
    return [
        row("operator_norm", found.linf_norm, norm="linf"),
        row("operator_norm", found.l2_norm, norm="l2"),
        row("operator_norm_bound", found.linf_upper, norm="linf"),
        row("operator_norm_bound_tight", found.linf_upper_tight, norm="linf"),
        row("operator_norm_bound", found.l2_upper, norm="l2"),
        row("operator_norm_lower", found.linf_lower, norm="linf"),
        row("operator_norm_lower", found.l2_lower, norm="l2"),
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
