"""Regularisers: weight matrices -> a differentiable scalar, to be multiplied by alpha."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def group_lasso(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the l_1 norm of the rows' l_2 norms, sum_l sum_i ||w^l_i||_2 (paper A, section 4)."""
    return torch.stack([torch.linalg.vector_norm(W, dim=1).sum() for W in matrices]).sum()


def nuclear_norm(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the singular values, sum_l ||sigma^l||_1 (paper A, section 4)."""
    return torch.stack([torch.linalg.svdvals(W).sum() for W in matrices]).sum()


PENALTIES: dict[str, Callable[[Iterable[Tensor]], Tensor]] = {
    "group_lasso": group_lasso,
    "nuclear_norm": nuclear_norm,
}
