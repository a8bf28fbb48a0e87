"""Bounds of probabilistic pruning (paper B): risk gamma, fidelity zeta, the transformer block.

p is a RETENTION probability everywhere: an entry is kept with probability p_ij, independently across layers (the paper
also calls it the pruning probability: erratum 22; one mask shared by the layers breaks the bound: erratum 14). The nets
are bias-free with a 1-Lipschitz activation that maps 0 to 0. Ps holds one number or one (m, n) tensor per layer.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from study.theory.checks import checked_matrix
from study.theory.scaling import product, unit

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


def _norm_2(W: Tensor) -> float:
    return float(torch.linalg.matrix_norm(W, ord=2))


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
    norms = [_norm_2(W) for W, _ in pairs]
    total = 0.0
    before = 1.0
    for at, (W, P) in enumerate(pairs):
        after = math.prod(norms[at + 1 :])
        if form == "paper":
            total += after * math.sqrt(float(((1 - P) * W.square()).sum())) * math.prod(norms[:at])
            continue
        v = float((P * (1 - P) * W.square()).sum(dim=0).max())
        total += after * math.sqrt(_norm_2((1 - P) * W) ** 2 + v) * before
        before *= math.sqrt(_norm_2(P * W) ** 2 + v)
    return x_norm * total * scale


def _heads(Q: Sequence[Tensor], K: Sequence[Tensor], V: Sequence[Tensor]) -> int:
    if not len(Q) == len(K) == len(V) > 0:
        raise ValueError(f"Q, K and V must hold one matrix per head, got {len(Q)}, {len(K)} and {len(V)}")
    return len(Q)


def lemma1_gamma(
    Q: Sequence[Tensor], K: Sequence[Tensor], V: Sequence[Tensor], out: Tensor, ffn: Tensor, d: int, eps: float
) -> float:
    """HEURISTIC (erratum 19): paper B's Lemma 1 for one attention block, gamma = (d / (d-1))^2 C_1 C_2 eps.

    C_1 = 1 + ||out|| sqrt(H) max_h ||V_h|| (4 / sqrt(d/H) ||Q_h|| ||K_h|| + 1), C_2 = 1 + ||ffn||, spectral norms; d is
    the model's width, d >= 2. The printed proof bounds neither the Jacobian nor layer normalisation: no certificate.

    >>> one = torch.ones(1, 1)
    >>> round(lemma1_gamma([one], [one], [one], one, one, d=4, eps=9.0), 9)  # (4/3)^2 * (1 + 4/2 + 1) * 2 * 9
    128.0
    """
    H = _heads(Q, K, V)
    if d < 2:
        raise ValueError(f"d must be at least 2, got {d!r}")
    a = max(_norm_2(v) * (4 / math.sqrt(d / H) * _norm_2(q) * _norm_2(k) + 1) for q, k, v in zip(Q, K, V, strict=True))
    return (d / (d - 1)) ** 2 * (1 + _norm_2(out) * math.sqrt(H) * a) * (1 + _norm_2(ffn)) * eps


def thm1_constant(
    Q: Sequence[Tensor],
    K: Sequence[Tensor],
    V: Sequence[Tensor],
    out: Tensor,
    ffn: Tensor,
    d: int,
    p: float,
    corrected: bool = True,
) -> float:
    """The factor C <= 1 of paper B's Theorem 1: the pruned block's Frobenius-form risk over the full block's.

    printed: [1 + p^2 sqrt(H) ||out||_F a(1)] [1 + p ||ffn||_F] over the same at p = 1; corrected (errata 16, 17):
    [1 + p sqrt(H) ||out||_F a(p)] [1 + sqrt(p) ||ffn||_F] over the same,
    with a(t) = max_h ||V_h||_F (4 t / sqrt(d/H) ||Q_h||_F ||K_h||_F + 1).
    p in [0, 1]. It multiplies the FROBENIUS version of gamma, not Lemma 1's spectral one (erratum 18).

    >>> one = torch.ones(1, 1)
    >>> [thm1_constant([one], [one], [one], one, one, d=4, p=p) for p in (0.0, 0.25, 1.0)]  # 1.375 * 1.5 / 8 between
    [0.125, 0.2578125, 1.0]
    """
    top = thm1_gamma(Q, K, V, out, ffn, d, p, corrected)
    return top / thm1_gamma(Q, K, V, out, ffn, d, 1.0, corrected)


def thm1_gamma(
    Q: Sequence[Tensor],
    K: Sequence[Tensor],
    V: Sequence[Tensor],
    out: Tensor,
    ffn: Tensor,
    d: int,
    p: float,
    corrected: bool = True,
) -> float:
    """HEURISTIC (erratum 19): the numerator of thm1_constant, the pruned block's expected Lipschitz factor in its
    Frobenius form, of a block without layer normalisation; p in [0, 1].

    >>> one = torch.ones(1, 1)
    >>> [thm1_gamma([one], [one], [one], one, one, d=4, p=p) for p in (0.0, 1.0)]  # 1 * 1; (1 + 4/2 + 1) * 2
    [1.0, 8.0]
    """
    H = _heads(Q, K, V)
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], got {p!r}")

    def fro(W: Tensor) -> float:
        return float(torch.linalg.norm(W.to(torch.float64)))

    def a(t: float) -> float:
        heads = zip(Q, K, V, strict=True)
        return max(fro(v) * (4 * t / math.sqrt(d / H) * fro(q) * fro(k) + 1) for q, k, v in heads)

    attention = (p * a(p)) if corrected else (p * p * a(1))
    feed = math.sqrt(p) if corrected else p
    return (1 + attention * math.sqrt(H) * fro(out)) * (1 + feed * fro(ffn))
