"""Kernels of convolutions as tensor factorizations: the room of tensorly, which computes them.

Each function takes a kernel (out, in, kh, kw), float64 on the CPU, and gives the kernels of study.nets.factored, first
one first. tensorly's NumPy does the work whatever the net's device is: devices agree.
"""

import warnings
from collections.abc import Sequence

import tensorly
import torch
from tensorly.cp_tensor import cp_normalize
from tensorly.decomposition import parafac, partial_tucker, tensor_train
from torch import Tensor

SWEEPS = 50  # of alternating least squares, where it is not said
RIDGE = 1e-9  # of a kernel of norm one: keeps components of CP from growing against each other without bound


def tucker(kernel: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    """Tucker-2 on the channels, by higher order orthogonal iteration: 1 x 1 to ranks[1] channels, kh x kw to ranks[0],
    1 x 1 (Kim et al. 2016, arXiv:1511.06530)."""
    with tensorly.backend_context("numpy", local_threadsafe=True):
        (core, (outer, inner)), _ = partial_tucker(kernel.numpy(), rank=list(ranks), modes=[0, 1])
    core, outer, inner = map(torch.from_numpy, (core.copy(), outer.copy(), inner.copy()))
    return [inner.T[:, :, None, None], core, outer[:, :, None, None]]


def tt(kernel: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    """Tensor train of the axes in, height, width, out, by successive singular value decompositions (Oseledets 2011):
    1 x 1 to ranks[0] channels, kh x 1 to ranks[1], 1 x kw to ranks[2], 1 x 1."""
    with tensorly.backend_context("numpy", local_threadsafe=True):
        train = tensor_train(kernel.permute(1, 2, 3, 0).contiguous().numpy(), rank=[1, *ranks, 1])
    first, high, wide, last = (torch.from_numpy(G.copy()) for G in train.factors)
    high, wide = high.permute(2, 0, 1), wide.permute(2, 0, 1)
    return [first[0].T[:, :, None, None], high[:, :, :, None], wide[:, :, None, :], last[:, :, 0].T[:, :, None, None]]


def cp(kernel: Tensor, rank: int, seed: int, sweeps: int = SWEEPS) -> list[Tensor]:
    """CP by alternating least squares: 1 x 1 to `rank` channels, kh x 1 and 1 x kw on each channel alone, 1 x 1
    (Lebedev et al. 2015, arXiv:1412.6553).

    It starts at the singular vectors of the kernel along each axis, where these are fewer than `rank` with columns
    drawn from `seed`, and takes so many `sweeps`; the four parts of a component have one norm. The start decides what
    it ends at.
    """
    with tensorly.backend_context("numpy", local_threadsafe=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to compute SVD", UserWarning)  # fewer singular vectors than `rank`
        start = parafac(kernel.numpy(), rank, n_iter_max=0, random_state=seed % 2**32).factors
        found = als(kernel, [torch.from_numpy(f.copy()) for f in start], sweeps)
        sizes, factors = cp_normalize((None, [f.numpy() for f in found]))
    outer, inner, high, wide = (torch.from_numpy(f * sizes**0.25) for f in factors)
    return [
        inner.T[:, :, None, None],
        high.T[:, None, :, None],
        wide.T[:, None, None, :],
        outer[:, :, None, None],
    ]


def als(kernel: Tensor, start: Sequence[Tensor], sweeps: int) -> tuple[Tensor, ...]:
    """Sweeps of alternating least squares from factors (out, r), (in, r), (kh, r), (kw, r), in this order.

    As tensorly's parafac with l2_reg=RIDGE, which at 512 channels would hold a matrix of 7 GB for each short axis.
    """
    O, I, H, V = start  # noqa: E741 - the axes of the kernel
    ridge = RIDGE * torch.eye(O.shape[1], dtype=kernel.dtype)

    def solved(right: Tensor, *others: Tensor) -> Tensor:
        gram = torch.stack([F.T @ F for F in others]).prod(0) + ridge
        return torch.linalg.solve(gram, right.T).T

    for _ in range(sweeps):
        seen = torch.einsum("oihw,ir->ohwr", kernel, I)
        O = solved(torch.einsum("ohwr,hr,wr->or", seen, H, V), I, H, V)  # noqa: E741
        seen = torch.einsum("oihw,or->ihwr", kernel, O)
        I = solved(torch.einsum("ihwr,hr,wr->ir", seen, H, V), O, H, V)  # noqa: E741
        short = torch.einsum("ihwr,ir->hwr", seen, I)
        H = solved(torch.einsum("hwr,wr->hr", short, V), O, I, V)
        V = solved(torch.einsum("hwr,hr->wr", short, H), O, I, H)
    return O, I, H, V
