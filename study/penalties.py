"""Regularisers: weight matrices -> a differentiable scalar, to be multiplied by alpha."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class _RowNorms(torch.autograd.Function):
    """W -> sum_i ||w_i||_2 with the gradient w_i / ||w_i||_2 in closed form, 0 at a zero row.

    Twice as fast as autograd's chain of small kernels, which cost as much as the net's own forward pass.
    """

    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm(W, dim=1, keepdim=True)
        ctx.save_for_backward(W, norms)
        return norms.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        W, norms = ctx.saved_tensors
        return W * (grads[0] / norms.clamp_min(torch.finfo(W.dtype).tiny))


def group_lasso(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the l_1 norm of the rows' l_2 norms, sum_l sum_i ||w^l_i||_2 (paper A, section 4)."""
    return torch.stack([_RowNorms.apply(W) for W in matrices]).sum()


def nuclear_norm(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the singular values, sum_l ||sigma^l||_1 (paper A, section 4)."""
    return torch.stack([torch.linalg.svdvals(W).sum() for W in matrices]).sum()


PENALTIES: dict[str, Callable[[Iterable[Tensor]], Tensor]] = {
    "group_lasso": group_lasso,
    "nuclear_norm": nuclear_norm,
}
