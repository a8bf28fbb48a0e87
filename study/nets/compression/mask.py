"""Weight pruning as a distribution over masks (paper B, section 3): each weight's probability to be kept, and a draw.

A rule that ranks weights (magnitude, taylor) has probabilities 0 and 1 alone, so that its one mask is certain.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net

Probabilities = dict[str, Tensor]  # by the names of masks.weights, of the shape of the weights, in [0, 1]


def ranked(scores: Tensor, share: float) -> Tensor:
    """1 at the max(1, round(share * d)) largest scores, 0 elsewhere; of equal ones those that come first."""
    flat = scores.flatten()
    mask = torch.zeros_like(flat)
    mask[flat.sort(descending=True, stable=True).indices[: max(1, round(share * len(flat)))]] = 1.0
    return mask.view_as(scores)


def _largest(scores: Sequence[Tensor], share: float) -> list[Tensor]:
    """`ranked` over all tensors together, but that each keeps its largest entry."""
    sizes = [S.numel() for S in scores]
    flat = torch.cat([S.detach().flatten() for S in scores])
    starts = [0, *torch.tensor(sizes).cumsum(0)[:-1].tolist()]
    firsts = [int(S.flatten().sort(descending=True, stable=True).indices[0]) for S in scores]
    flat[[at + first for at, first in zip(starts, firsts, strict=True)]] = math.inf
    mask = ranked(flat, max(share, len(sizes) / len(flat)))
    return [part.view_as(S) for part, S in zip(mask.split(sizes), scores, strict=True)]


def _by_magnitude(weights: Sequence[Tensor], share: float) -> list[Tensor]:
    return _largest([W.abs() for W in weights], share)


def _uniform(weights: Sequence[Tensor], share: float) -> list[Tensor]:
    return [torch.full_like(W, share) for W in weights]


def _smooth(weights: Sequence[Tensor], share: float) -> list[Tensor]:
    """p = 1 - exp(-a |w|) (paper B, section 3), with the one a at which the mean of all p is `share`.

    By Newton's method from below: the tangent of a concave function never passes its root. ValueError where so many
    weights are zero, which have p = 0, that no a will do.
    """
    if share == 1:
        return _uniform(weights, 1.0)
    size = torch.cat([W.detach().abs().double().flatten() for W in weights])
    if not (zeros := float((size == 0).double().mean())) < 1 - share:
        raise ValueError(f"no smooth mask keeps {share:g} of weights of which {zeros:g} are zero")
    a, step = share / float(size.mean()), math.inf
    while step > 1e-12 * a:
        gone = torch.exp(-a * size)
        step = (share - float((1 - gone).mean())) / float((size * gone).mean())
        a += step
    return [-torch.expm1(-a * W.detach().abs().double()).to(W) for W in weights]


RULES: dict[str, Callable[[Sequence[Tensor], float], list[Tensor]]] = {
    "magnitude": _by_magnitude,
    "taylor": _largest,
    "bernoulli": _uniform,
    "smooth": _smooth,
}
BUDGETS = ("layer", "global")


def probabilities(
    net: Net,
    keep: float | Sequence[float],
    kind: str,
    *,
    budget: str = "layer",
    on: str = "hidden",
    scores: Mapping[str, Tensor] | None = None,
) -> Probabilities:
    """How probably each weight is kept: their mean is `keep`, one for all tensors or one for each, in (0, 1].

    `magnitude` keeps the largest entries, `taylor` those of the largest `scores` (compression.scores), `bernoulli` each
    with the same probability, `smooth` each with 1 - exp(-a |w|). `budget` layer: every tensor keeps its share; global:
    all together do, with one threshold or one a, and every tensor its largest entry. `on`: hidden, or all, the head and
    a stem too; factors A and B are tensors of their own. Biases stay. A tensor that layers share has one mask.
    ValueError for an unknown word, a share out of range, a net that is masked already, or one that is quantized.
    """
    if net.masks or any(nets.is_quantized(m) for m in nets.weighted(net).values()):
        raise ValueError("mask the weights once, and before they are quantized")
    for word, said, known in (("kind", kind, RULES), ("budget", budget, BUDGETS)):
        if said not in known:
            raise ValueError(f"{word} must be one of {', '.join(known)}, got {said!r}")
    weights = masks.maskable(net, on)
    shares = [keep] * len(weights) if isinstance(keep, (int, float)) else list(keep)
    if len(shares) != len(weights):
        raise ValueError(f"{len(shares)} shares to keep, of {len(weights)} weight tensors: {', '.join(weights)}")
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"keep must be in (0, 1], one for all or each of {len(weights)} weight tensors, got {keep}")
    if budget == "global" and len(set(shares)) > 1:
        raise ValueError(f"a global budget is one share for all tensors, got {keep}")
    if (kind == "taylor") != (scores is not None):
        raise ValueError(f"kind taylor ranks by scores, and it alone; got kind {kind}, scores: {scores is not None}")
    given = {name: W.detach() if scores is None else scores[name] for name, W in weights.items()}
    share = dict(zip(weights, shares, strict=True))
    first: dict[int, str] = {}
    for name, W in weights.items():
        if share[name] != share[first.setdefault(id(W), name)]:
            raise ValueError(f"{first[id(W)]} and {name} are one tensor, of which one share is kept, got {keep}")
    found: Probabilities = {}
    for group in [[*first.values()]] if budget == "global" else [[name] for name in first.values()]:
        found |= zip(group, RULES[kind]([given[name] for name in group], share[group[0]]), strict=True)
    return {name: found[first[id(W)]] for name, W in weights.items()}


@torch.no_grad()
def draw(net: Net, keep: Probabilities, seed: int) -> Net:
    """A copy of `net` whose weights are masked at random, each kept with its own probability, independently, and stay
    so in later training.

    Drawn on the CPU from `seed`, so that devices agree; where every probability is 0 or 1 nothing is left to chance.
    """
    out = copy.deepcopy(net)
    weights = masks.weights(out)
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[int, Tensor] = {}  # a tensor that layers share has one mask
    for name, P in keep.items():
        at = id(weights[name])
        if at not in drawn:
            drawn[at] = (torch.rand(P.shape, generator=generator).to(P) < P).to(weights[name])
        out.masks[name] = drawn[at]
    masks.apply(out)
    return out


def mask_weights(net: Net, keep: float | Sequence[float], kind: str, seed: int) -> Net:
    """A copy of `net` whose hidden weights are masked by `kind`, each tensor to its own share: a draw of
    `probabilities`, where the rest is said."""
    return draw(net, probabilities(net, keep, kind), seed)
