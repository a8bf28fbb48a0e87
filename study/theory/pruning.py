"""Bounds of probabilistic pruning (paper B): risk gamma, fidelity zeta; of transformer blocks in theory.blocks.

p is a RETENTION probability everywhere: an entry is kept with probability p_ij, independently across layers (the paper
also calls it the pruning probability: erratum 22; one mask shared by the layers breaks the bound: erratum 14). The nets
are bias-free with a 1-Lipschitz activation that maps 0 to 0. Ps holds one number or one (m, n) tensor per layer.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from study.theory.checks import checked_matrix
from study.theory.scaling import norm_2, product, unit

Probability = float | Tensor


def _pairs(Ws: Sequence[Tensor], Ps: Sequence[Probability]) -> list[tuple[Tensor, Tensor]]:
    if len(Ws) == 0 or len(Ws) != len(Ps):
        raise ValueError(f"Ps must have one entry per layer, got {len(Ps)} for {len(Ws)} layers")
    out = []
    for i, (W, P) in enumerate(zip(Ws, Ps, strict=True)):
        W = checked_matrix(f"Ws[{i}]", W)
        P = torch.as_tensor(P, dtype=torch.float64).expand_as(W) if not isinstance(P, Tensor) else P.to(torch.float64)
        if P.shape != W.shape:
            raise ValueError(f"Ps[{i}] must be a number or of shape {tuple(W.shape)}, got {tuple(P.shape)}")
        if not bool(((P >= 0) & (P <= 1)).all()):
            raise ValueError(f"Ps[{i}] must lie in [0, 1]")
        out.append((W, P))
    return out


def gamma_bound(Ws: Sequence[Tensor], Ps: Sequence[Probability], eps: float = 1.0, tight: bool = False) -> float:
    """Bound of the expected adversarial risk of a pruned net (paper B, Theorem 2, with the budget that it leaves out).

    gamma = eps * prod_l sqrt(max p^l) ||W_l||_F; `tight`: eps * prod_l sqrt(sum_ij p_ij W_ij^2), which uses only the
    marginals inside a layer and gains from magnitude pruning too. Bounds E sup ||g(x') - g(x)||_2 over the l_2 ball of
    radius eps. Without eps it is false for eps > 1 (erratum 14). eps >= 0.

    >>> gamma_bound([torch.tensor([[3.0, 4.0]])], [0.25], eps=2.0)  # 2 * sqrt(1/4) * 5
    5.0
    """
    if not eps >= 0:
        raise ValueError(f"eps must be at least 0, got {eps!r}")
    factors = [float(eps)]
    for W, P in _pairs(Ws, Ps):
        W, scale = unit(W)
        factors.append(scale * math.sqrt(float((P * W.square()).sum() if tight else P.max() * W.square().sum())))
    return product(factors)


def zeta_bound(Ws: Sequence[Tensor], Ps: Sequence[Probability], x_norm: float, form: str = "sharp") -> float:
    """Bound of the expected distance between pruned and full net at an input of norm x_norm (paper B, Proposition 1).

    `paper`: ||x|| sum_l sqrt(sum (1 - p_ij) W_ij^2) prod_{i != l} ||W_i||_2. True for one p per layer only: for general
    p_ij it fails (erratum 15: half-kept Sylvester matrices of size 32 give 283.5 > 256).
    `sharp`, for all p_ij: ||x|| sum_l (prod_{i>l} ||W_i||_2) t_l prod_{j<l} s_j with s^2 = ||P*W||_2^2 + v,
    t^2 = ||(1-P)*W||_2^2 + v, v = max over columns of sum_i p (1 - p) W^2. x_norm >= 0.

    >>> W = torch.tensor([[3.0, 4.0]])
    >>> zeta_bound([W], [1.0], 2.0), round(zeta_bound([W], [0.0], 2.0), 9)  # everything kept; nothing kept: 2 * 5
    (0.0, 10.0)
    >>> zeta_bound([W], [0.75], 2.0, "paper")  # 2 * sqrt(1/4) * 5
    5.0
    """
    if not x_norm >= 0:
        raise ValueError(f"x_norm must be at least 0, got {x_norm!r}")
    if form not in ("paper", "sharp"):
        raise ValueError(f"form must be paper or sharp, got {form!r}")
    scaled = [(*unit(W), P) for W, P in _pairs(Ws, Ps)]
    pairs, scale = [(W, P) for W, _, P in scaled], product(s for _, s, _ in scaled)
    norms = [norm_2(W) for W, _ in pairs]
    total = 0.0
    before = 1.0
    for at, (W, P) in enumerate(pairs):
        after = math.prod(norms[at + 1 :])
        if form == "paper":
            total += after * math.sqrt(float(((1 - P) * W.square()).sum())) * math.prod(norms[:at])
            continue
        v = float((P * (1 - P) * W.square()).sum(dim=0).max())
        total += after * math.sqrt(norm_2((1 - P) * W) ** 2 + v) * before
        before *= math.sqrt(norm_2(P * W) ** 2 + v)
    return x_norm * total * scale
