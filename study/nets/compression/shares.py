"""A trained net pruned to shares of itself, five ways: what a pruning curve is made of (paper A, Figures 4 and 8).

Rows are those of a layer's matrix: the units of a linear layer, the filters of a convolution; of a fused q, k, v
projection each of the three has its own. They are ranked by nu, their l_1 norms (paper A, section 3), of equal ones the
lower index first, and every matrix keeps at least one. A pruned row is zero with its bias, as torch.nn.utils.prune
zeroes filters; a BatchNorm behind it stays as it is, so that a constant, its shift, still reaches the next layer.
`remove.py` takes that away too.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from study.nets import masks
from study.nets import net as nets
from study.nets.compression.mask import ranked
from study.nets.net import LowRankConv2d, LowRankLinear, Net
from study.nets.tied import twins
from study.theory.compressibility import largest_rows, residuals, row_l1

Norms = Mapping[str, Tensor]  # nu of every hidden weight matrix, (m,) each
Pruner = Callable[[Net, float], float]  # prunes a copy in place to a share below 1, and says what it really keeps


@torch.no_grad()
def pruned(net: Net, method: str, shares: Iterable[float]) -> Iterator[tuple[Net, float]]:
    """For each share in (0, 1] a copy of `net` pruned to it, always from `net` itself, and the share really kept.

    `weights`: of each hidden weight tensor the max(1, round(share d)) entries of largest magnitude. `rows`: of each
    hidden matrix the max(1, round(share m)) rows of largest l_1 norm, one share for all. `global_rows`: the round(share
    M) of all M hidden rows whose norms are largest, one threshold for all layers, but of each its largest. `eps`: the
    fewest rows of each layer whose residual (Definition 2.1 of paper A on nu, q = 1) is at most eps, one eps for all;
    of all levels of eps the one whose global share is closest to `share`, of two equally close the one that keeps more.
    `low_rank`: of each hidden matrix the max(1, round(share r)) largest singular values, r the smaller of its sides;
    factors of a smaller inner dimension lose nothing. A grouped convolution has a matrix per group; layers of one
    weight are one matrix, and all of them lose the biases of its rows.

    The share kept is of entries, of rows, or of ranks, over all hidden layers. At share 1 the copy is `net` bit for
    bit. ValueError for an unknown method, a share out of range, a quantized net.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if any(nets.is_quantized(layer) for layer in nets.layers(net).values()):
        raise ValueError("a quantized net cannot be pruned: its weights are computed from others")
    prune = METHODS[method](net)
    for share in shares:
        if not 0 < share <= 1:
            raise ValueError(f"a share kept must lie in (0, 1], got {share}")
        out = copy.deepcopy(net)
        yield out, 1.0 if share == 1 else prune(out, share)


def _weights(net: Net) -> Pruner:
    def prune(out: Net, share: float) -> float:
        kept = total = 0
        for W in {id(W): W for W in masks.hidden_weights(out).values()}.values():
            mask = ranked(W.abs(), share)
            W.mul_(mask)
            kept, total = kept + int(mask.count_nonzero()), total + mask.numel()
        return kept / total

    return prune


def layerwise(nu: Norms, share: float) -> dict[str, int]:
    """How many rows each matrix keeps where all keep one share: max(1, round(share m))."""
    return {name: max(1, round(share * len(norms))) for name, norms in nu.items()}


def one_threshold(nu: Norms, share: float) -> dict[str, int]:
    """How many rows each matrix keeps of the round(share M) largest of all M, as many as there are matrices at least:
    each keeps its largest, and of equal norms the earlier matrix and the lower index stay."""
    rest = torch.cat([norms.sort(descending=True).values[1:] for norms in nu.values()])
    room = max(0, round(share * sum(map(len, nu.values()))) - len(nu))
    chosen = torch.zeros_like(rest, dtype=torch.long)
    chosen[largest_rows(rest, room)] = 1
    parts = chosen.split([len(norms) - 1 for norms in nu.values()])
    return {name: 1 + int(part.sum()) for name, part in zip(nu, parts, strict=True)}


def one_residual(nu: Norms, share: float) -> dict[str, int]:
    """How many rows each matrix keeps under eps-pruning (paper A, section 4): max(1, min{k : residual <= eps}).

    The counts change at the residuals of the matrices alone, so that these are all levels of eps there are to scan.
    """
    curves = {name: residuals(norms) for name, norms in nu.items()}
    levels = torch.cat(list(curves.values())).unique()  # ascending: the more is kept the earlier
    counts = {name: _fewest(curve, levels) for name, curve in curves.items()}
    wanted = share * sum(map(len, nu.values()))
    totals = torch.stack(list(counts.values())).sum(0).tolist()
    gaps = [round(abs(total - wanted), 9) for total in totals]
    best = gaps.index(min(gaps))
    return {name: int(count[best]) for name, count in counts.items()}


def _fewest(curve: Tensor, levels: Tensor) -> Tensor:
    """max(1, min{k : curve[k] <= eps}) for every eps of `levels`; the curve falls."""
    return (len(curve) - torch.searchsorted(curve.flip(0), levels, right=True)).clamp_min(1)


def _rows(count: Callable[[Norms, float], dict[str, int]]) -> Callable[[Net], Pruner]:
    """Pruning by rows, of which `count` says how many each matrix keeps."""

    def prepared(net: Net) -> Pruner:
        first = _firsts(net)
        nu = {name: row_l1(W) for name, W in nets.weight_matrices(net, {*first.values()}).items()}
        parts = {name: list(nets.weight_matrices(net, {name})) for name in first.values()}

        def prune(out: Net, share: float) -> float:
            kept = count(nu, share)
            for name, layer in nets.layers(out).items():
                rows = torch.cat([_largest(nu[part], kept[part]) for part in parts[first[name]]])
                nets.scale_rows(layer, rows)  # a second time of one weight: nothing but its own bias is left to go
            return sum(kept.values()) / sum(map(len, nu.values()))

        return prune

    return prepared


def _firsts(net: Net) -> dict[str, str]:
    """Of each hidden layer the first hidden one that has its weight."""
    same = twins(net)
    return {name: same[name] if same.get(name) in net.hidden else name for name in net.hidden}


def _largest(norms: Tensor, k: int) -> Tensor:
    """1 at the k largest entries, 0 elsewhere."""
    mask = torch.zeros(len(norms), device=norms.device)
    mask[largest_rows(norms, k)] = 1.0
    return mask


def _spectra(net: Net) -> Pruner:
    first = _firsts(net)
    layers = {name: layer for name, layer in nets.layers(net).items() if first[name] == name}
    found = {name: [_svd(W) for W in _maps(layer, name, net)] for name, layer in layers.items()}
    rank = {name: [_rank(layer, s) for _, s, _ in found[name]] for name, layer in layers.items()}

    def prune(out: Net, share: float) -> float:
        kept = 0
        for name in found:
            layer = nets.layers(out)[name]
            wanted = [max(1, round(share * len(s))) for _, s, _ in found[name]]
            ranks = [min(pair) for pair in zip(wanted, rank[name], strict=True)]
            kept += sum(ranks)
            if ranks != rank[name]:
                _truncate(layer, [(U[:, :k], s[:k], Vh[:k]) for (U, s, Vh), k in zip(found[name], ranks, strict=True)])
        return kept / sum(map(sum, rank.values()))

    return prune


Svd = tuple[Tensor, Tensor, Tensor]


def _svd(W: Tensor) -> Svd:
    U, s, Vh = torch.linalg.svd(W.double(), full_matrices=False)
    return U.float(), s.float(), Vh.float()


def _maps(layer: nn.Module, name: str, net: Net) -> list[Tensor]:
    """The matrices that a layer is made of: one, but of q, k and v each, and of a grouped convolution one per group."""
    groups = layer.groups if isinstance(layer, (nn.Conv2d, LowRankConv2d)) else 1
    factors = isinstance(layer, (LowRankLinear, LowRankConv2d))  # one pair of them even where q, k and v are fused
    matrices = [nets.matrix(layer)] if factors else nets.weight_matrices(net, {name}).values()
    return [part for W in matrices for part in W.chunk(groups)]


def _rank(layer: nn.Module, s: Tensor) -> int:
    return min(len(s), layer.A.shape[1]) if isinstance(layer, (LowRankLinear, LowRankConv2d)) else len(s)


def _truncate(layer: nn.Module, parts: list[Svd]) -> None:
    if isinstance(layer, (LowRankLinear, LowRankConv2d)):
        factors = zip(layer.A.zero_().chunk(len(parts)), layer.B.zero_().chunk(len(parts)), parts, strict=True)
        for A, B, (U, s, Vh) in factors:
            A[:, : len(s)] = U * s.sqrt()
            B[: len(s)] = s.sqrt()[:, None] * Vh
    else:
        nets.set_matrix(layer, torch.cat([(U * s) @ Vh for U, s, Vh in parts]))


METHODS: dict[str, Callable[[Net], Pruner]] = {
    "weights": _weights,
    "rows": _rows(layerwise),
    "global_rows": _rows(one_threshold),
    "eps": _rows(one_residual),
    "low_rank": _spectra,
}
