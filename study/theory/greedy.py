"""A search for the activation pattern between two layers that lets most through (paper A, Appendix B.5).

The paper takes the greedy search by gradient ascent of Scaman and Virmaux (SeqLip, 2018). f(d) = ||B diag(d) A||_p is
convex in d, so that stepping to the 0/1 pattern that its linear part at d favours never lowers it, and ends after a few
steps: no flip's gain to first order is left. The starts are the full pattern and those that favour one pair of leading
directions (of a row and a unit in l_inf). The value is one pattern's: at the maximum or below it, never a certificate.
"""

import math

import torch
from torch import Tensor

from study.theory.checks import checked_p
from study.theory.scaling import unit

LEADING = 1  # directions of each layer (l_inf: units of a row) that give starts; 2 gain at most a fiftieth at width 300
MOST_STEPS = 100


def search(B: Tensor, A: Tensor, p: float) -> float:
    """A lower value of max_d ||B diag(d) A||_p over d in {0, 1}^h, B (c, h), A (h, a), p in {2, inf}.

    >>> B, A = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0], [-1.0]])
    >>> search(B.double(), A.double(), 2)  # all of it cancels, one unit does not
    1.0
    """
    (B, b), (A, a) = unit(B), unit(A)
    return a * b * (_two(B, A) if checked_p(p) == 2 else _inf(B, A))


def _two(B: Tensor, A: Tensor) -> float:
    starts = [torch.ones(B.shape[1], dtype=B.dtype, device=B.device)]
    for row in B[:LEADING]:
        for column in A.T[:LEADING]:
            starts += [(row * column > 0).to(B.dtype), (row * column < 0).to(B.dtype)]
    best = 0.0
    for d in starts:
        here = 0.0
        for _ in range(MOST_STEPS):
            M = (B * d) @ A
            squares, U = torch.linalg.eigh(M @ M.T)  # a third of a decomposition of M
            if float(squares[-1]) <= here * (1 + 1e-12):
                break
            here = float(squares[-1])
            d = ((U[:, -1] @ B) * (A @ (U[:, -1] @ M)) > 0).to(B.dtype)
        best = max(best, here)
    return math.sqrt(best)


def _inf(B: Tensor, A: Tensor) -> float:
    """Every row of B climbs on its own: the norm is the largest row's."""
    starts = [torch.ones_like(B)]
    reach = B.abs() * A.abs().sum(dim=1)
    for one in reach.topk(min(LEADING, B.shape[1])).indices.T:  # (c,): a unit for each row
        gain = B * (A[one].sign() @ A.T)
        starts += [(gain > 0).to(B.dtype), (gain < 0).to(B.dtype)]
    best = 0.0
    for d in starts:
        here = -1.0
        for _ in range(MOST_STEPS):
            product = (B * d) @ A
            sums = product.abs().sum(dim=1)
            if float(sums.sum()) <= here * (1 + 1e-12):
                break
            here = float(sums.sum())
            best = max(best, float(sums.max()))
            d = (B * (product.sign() @ A.T) > 0).to(B.dtype)
    return best
