"""Weight pruning: masks on the hidden weights, by magnitude or at random, and how much each layer keeps."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net
from study.theory import tradeoff


def _magnitude(W: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """The max(1, round(keep * d)) entries of largest magnitude; of equal ones those that come first."""
    flat = W.abs().flatten()
    mask = torch.zeros_like(flat)
    mask[flat.sort(descending=True, stable=True).indices[: max(1, round(keep * len(flat)))]] = 1.0
    return mask.view_as(W)


def _bernoulli(W: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """Every entry with probability `keep`, independently; drawn on the CPU, so that devices agree."""
    return (torch.rand(W.shape, generator=generator) < keep).to(W)


KINDS = {"magnitude": _magnitude, "bernoulli": _bernoulli}


@torch.no_grad()
def mask_weights(net: Net, keep: float | Sequence[float], kind: str, seed: int) -> Net:
    """A copy of `net` whose hidden weights are masked, and stay so in later training.

    `keep` is the share of each weight tensor (masks.hidden_weights) that is kept, one for all or one for each, in
    (0, 1]. magnitude keeps exactly that share of each tensor; bernoulli draws each entry from `seed`, so that the share
    holds on average (paper B's model: independent entries). Factors A and B are masked each. The head and biases stay.
    ValueError for an unknown kind, a share out of range, a net that is masked already, or one that is quantized.
    """
    out = copy.deepcopy(net)
    if net.masks or any(nets.is_quantized(m) for m in nets.layers(net).values()):
        raise ValueError("mask the weights once, and before they are quantized")
    weights = masks.hidden_weights(out)
    shares = [keep] * len(weights) if isinstance(keep, (int, float)) else list(keep)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if len(shares) != len(weights) or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"keep must be in (0, 1], one for all or each of {len(weights)} weight tensors, got {keep}")
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[int, Tensor] = {}  # a tensor that layers share has one mask
    for (name, W), share in zip(weights.items(), shares, strict=True):
        out.masks[name] = drawn[id(W)] = drawn[id(W)] if id(W) in drawn else KINDS[kind](W, share, generator)
    masks.apply(out)
    return out


def front_shares(net: Net, lam: float, floor: float) -> tuple[float, ...]:
    """What each hidden weight tensor keeps at the trade-off lam: p of tradeoff.chebyshev_floored, in (0, 1].

    The front needs a bias-free chain with ReLU (paper B, section 3), where factors A B count as two layers with the
    identity between them; the head is not pruned: its norms only scale gamma and zeta, and drop out. Bernoulli masks
    have the front's gamma and zeta. For magnitude masks p is the share of weights, which hold more than that share of
    ||W||_F^2: they cost less zeta and gain less gamma than the front says. ValueError for any other net.
    """
    if nets.chain(net) is None:
        raise ValueError("lam needs a chain of linear layers without bias, with ReLU between them")
    matrices = [W.detach().flatten(1).cpu() for W in masks.hidden_weights(net).values()]
    return tradeoff.chebyshev_floored(tradeoff.constants(matrices, 1.0), lam, floor).p
