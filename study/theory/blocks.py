"""Transformer blocks under probabilistic pruning (paper B, Lemma 1 and Theorem 1). HEURISTIC: erratum 19.

p is the RETENTION probability, one for all matrices of a block. The proofs bound neither the Jacobian nor layer
normalisation, and ask tokens of norm 1 at most: nothing here is a certificate.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from study.theory.scaling import norm_2, product

GELU = 0.5 * (1 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi)  # its Lipschitz constant, the slope at sqrt(2)


class Block(NamedTuple):
    """The matrices of a block of width d: Q, K and V one per head, `out` behind the heads, `ffn` one behind the other.

    The paper takes the FFN as one matrix W_FFN; of several the product of their norms stands for its norm.
    """

    Q: Sequence[Tensor]
    K: Sequence[Tensor]
    V: Sequence[Tensor]
    out: Tensor
    ffn: Sequence[Tensor]
    d: int


def _fro(W: Tensor) -> float:
    return float(torch.linalg.norm(W.to(torch.float64)))


def _checked(block: Block) -> int:
    """How many heads there are."""
    H = len(block.Q)
    if not H == len(block.K) == len(block.V) > 0:
        raise ValueError(f"Q, K and V must hold one matrix per head, got {H}, {len(block.K)} and {len(block.V)}")
    if block.d < 2:
        raise ValueError(f"d must be at least 2, got {block.d!r}")
    return H


def layer_norm(d: int) -> float:
    """d / (d - 1), which paper B takes for the Lipschitz constant of layer normalisation over d >= 2 features. It is
    none (erratum 19): without its eps layer normalisation has no constant at all, near constant tokens it stretches
    without limit; with eps the constant is max |gain| / sqrt(eps).

    >>> layer_norm(5)
    1.25
    """
    return d / (d - 1)


def lemma1_gamma(block: Block, eps: float) -> float:
    """HEURISTIC (erratum 19): paper B's Lemma 1 for one attention block, gamma = (d / (d-1))^2 C_1 C_2 eps.

    C_1 = 1 + ||out|| sqrt(H) max_h ||V_h|| (4 / sqrt(d/H) ||Q_h|| ||K_h|| + 1), C_2 = 1 + ||ffn||, spectral norms; d is
    the model's width, d >= 2. The printed proof bounds neither the Jacobian nor layer normalisation: no certificate.

    >>> one = torch.ones(1, 1)
    >>> round(lemma1_gamma(Block([one], [one], [one], one, [one], 4), 9.0), 9)  # (4/3)^2 * (1 + 4/2 + 1) * 2 * 9
    128.0
    """
    H, d = _checked(block), block.d
    heads = zip(block.Q, block.K, block.V, strict=True)
    a = max(norm_2(v) * (4 / math.sqrt(d / H) * norm_2(q) * norm_2(k) + 1) for q, k, v in heads)
    feed = product(norm_2(W) for W in block.ffn)
    return layer_norm(d) ** 2 * (1 + norm_2(block.out) * math.sqrt(H) * a) * (1 + feed) * eps


def thm1_constant(block: Block, p: float, corrected: bool = True) -> float:
    """The factor C <= 1 of paper B's Theorem 1: the pruned block's Frobenius-form risk over the full block's.

    printed: [1 + p^2 sqrt(H) ||out||_F a(1)] [1 + p ||ffn||_F] over the same at p = 1; corrected (errata 16, 17):
    [1 + p sqrt(H) ||out||_F a(p)] [1 + sqrt(p) ||ffn||_F] over the same,
    with a(t) = max_h ||V_h||_F (4 t / sqrt(d/H) ||Q_h||_F ||K_h||_F + 1).
    p in [0, 1]. It multiplies the FROBENIUS version of gamma, not Lemma 1's spectral one (erratum 18).

    >>> one = torch.ones(1, 1)
    >>> block = Block([one], [one], [one], one, [one], 4)
    >>> [thm1_constant(block, p) for p in (0.0, 0.25, 1.0)]  # 1.375 * 1.5 / 8 between
    [0.125, 0.2578125, 1.0]
    """
    return thm1_gamma(block, p, corrected) / thm1_gamma(block, 1.0, corrected)


def thm1_gamma(block: Block, p: float, corrected: bool = True, norms: tuple[float, float] = (1.0, 1.0)) -> float:
    """HEURISTIC (erratum 19): the numerator of thm1_constant, the pruned block's expected Lipschitz factor in its
    Frobenius form; p in [0, 1].

    `norms` are what layer normalisation before attention and before the FFN is taken to stretch by, 1 where there is
    none. As printed (Lemma 1) they stand in front of the product. Corrected they are within their branch, round which
    the residual path goes, as blocks are built that normalise first; and each of several matrices of the FFN is masked
    by itself, so that it has sqrt(p) each.

    >>> one = torch.ones(1, 1)
    >>> block = Block([one], [one], [one], one, [one], 4)
    >>> [thm1_gamma(block, p) for p in (0.0, 1.0)]  # 1 * 1; (1 + 4/2 + 1) * 2
    [1.0, 8.0]
    >>> [thm1_gamma(block, 1.0, corrected, (2.0, 3.0)) for corrected in (False, True)]  # 6 * 8; (1 + 2 * 3) * (1 + 3)
    [48.0, 28.0]
    """
    H = _checked(block)
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], got {p!r}")

    def a(t: float) -> float:
        heads = zip(block.Q, block.K, block.V, strict=True)
        return max(_fro(v) * (4 * t / math.sqrt(block.d / H) * _fro(q) * _fro(k) + 1) for q, k, v in heads)

    feed = product(_fro(W) for W in block.ffn)
    if not corrected:
        return norms[0] * norms[1] * (1 + p * p * a(1) * math.sqrt(H) * _fro(block.out)) * (1 + p * feed)
    attention = p * a(p) * math.sqrt(H) * _fro(block.out)
    return (1 + norms[0] * attention) * (1 + norms[1] * math.sqrt(p) ** len(block.ffn) * feed)
