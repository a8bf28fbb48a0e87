"""Regularisers: weight matrices -> a differentiable scalar, to be multiplied by alpha."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from study.nets.sources import user_function
from study.spec.datasets import is_user_function

TOP = 0.05  # of a layer's rows: those whose spread is held down (paper A, "Compression and robustness")


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


class _RowRatio(torch.autograd.Function):
    """W -> sum_i ||w_i||_2 / ||W||_F with its gradient (w_i / ||w_i||_2 - r w_i / ||W||_F) / ||W||_F in closed form.

    r is the value; 0 at a zero row, and a layer of zeros has value and gradient 0. The division by ||W||_F comes last:
    of a tiny layer the product of two inverse norms would overflow.
    """

    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm(W, dim=1, keepdim=True)
        whole = torch.linalg.vector_norm(norms)
        inverse = torch.where(whole > 0, 1 / whole, 0.0)
        ctx.save_for_backward(W, norms, inverse)
        return norms.sum() * inverse

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        W, norms, inverse = ctx.saved_tensors
        rows = torch.where(norms > 0, 1 / norms, 0.0)
        return (W * (rows - norms.sum() * inverse * inverse)).mul_(grads[0] * inverse)


class _Absolute(torch.autograd.Function):
    """W -> sum |w| with the gradient sign(w), 0 at 0, written in place: autograd's own takes a tensor more."""

    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        ctx.save_for_backward(W)
        return torch.linalg.vector_norm(W, ord=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return ctx.saved_tensors[0].sign().mul_(grads[0])


def group_lasso(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the l_1 norm of the rows' l_2 norms, sum_l sum_i ||w^l_i||_2 (paper A, section 4)."""
    return torch.stack([_RowNorms.apply(W) for W in matrices]).sum()


def group_lasso_invariant(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the rows' l_2 norms' l_1 over l_2 norm, sum_l (sum_i ||w^l_i||_2) / ||W^l||_F.

    In 1..sqrt(m) for each layer of m rows, unmoved by a layer's scale (paper A, section 4 and footnote 3).
    """
    return torch.stack([_RowRatio.apply(W) for W in matrices]).sum()


def l1_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Sum of |w| over all entries of the tensors, which may have any shape (paper A, D.5)."""
    return torch.stack([_Absolute.apply(W) for W in tensors]).sum()


def spread_control(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the population variance of the largest l_2 norms of rows (paper A, section 4).

    Of m rows the max(2, round(.05 m)) of largest norm count, of equal ones the first; a single row has no variance.
    """
    return torch.stack([_top_norms(W).var(correction=0) for W in matrices]).sum()


def _top_norms(W: Tensor) -> Tensor:
    """The l_2 norms of the rows whose spread is held down; only these have a gradient."""
    with torch.no_grad():
        order = torch.linalg.vector_norm(W, dim=1).sort(descending=True, stable=True).indices
    return torch.linalg.vector_norm(W[order[: max(2, round(TOP * len(W)))]], dim=1)


def nuclear_norm(matrices: Iterable[Tensor]) -> Tensor:
    """Sum over layers of the singular values, sum_l ||sigma^l||_1 (paper A, section 4), of stacks of matrices too."""
    return torch.stack([torch.linalg.svdvals(W).sum() for W in matrices]).sum()


@torch.no_grad()
def polar(W: Tensor, exact: bool = True) -> Tensor:
    """The polar factor U V^T of W (..., m, n), the gradient of its nuclear norm, by the smaller Gram matrix's
    eigenvectors.

    The Gram matrix squares the condition number: in float64, and singular values below 1e-6 of the largest count as
    zero, where 0 is a subgradient too. Not `exact` stays in W's float32 at half the cost and leaves out those below
    1e-3 of the largest, which drown there.
    """
    tall = W.shape[-2] >= W.shape[-1]
    A = W if tall else W.mT
    A, least = (A.double(), 1e-6) if exact else (A, 1e-3)
    V = torch.linalg.eigh(A.mT @ A).eigenvectors
    U = A @ V
    s = torch.linalg.vector_norm(U, dim=-2, keepdim=True)
    largest = s.amax(-1, keepdim=True)
    factor = (U * torch.where(s > least * largest, 1 / s.clamp_min(torch.finfo(s.dtype).tiny), 0.0)) @ V.mT
    return (factor if tall else factor.mT).to(W.dtype)


def linearised(matrices: Iterable[Tensor], polars: Iterable[Tensor]) -> Tensor:
    """sum_l <P_l, W_l>: the nuclear norm where P_l is the polar factor of W_l, and its tangent further on."""
    return torch.stack([(P * W).sum() for W, P in zip(matrices, polars, strict=True)]).sum()


@torch.no_grad()
def shrink(W: Tensor, threshold: float) -> Tensor:
    """The proximal map of threshold * ||W||_*: every singular value less the threshold, at least 0. W (..., m, n)."""
    U, s, V = torch.linalg.svd(W, full_matrices=False)
    return (U * (s - threshold).clamp_min(0)[..., None, :]) @ V


PENALTIES: dict[str, Callable[[Iterable[Tensor]], Tensor]] = {
    "group_lasso": group_lasso,
    "group_lasso_invariant": group_lasso_invariant,
    "nuclear_norm": nuclear_norm,
}


def penalty_of(name: str) -> Callable[[Iterable[Tensor]], Tensor]:
    """The penalty of a name, or the user's own, package:function: weight matrices -> a differentiable scalar."""
    return user_function(name, "penalty") if is_user_function(name) else PENALTIES[name]
