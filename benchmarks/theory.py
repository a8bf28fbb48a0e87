"""What the theory's statistics cost against the plain decompositions of the same matrices.

    python -m benchmarks.theory            # 3072-2000-2000-2000-2000, five interleaved pairs, about five minutes
    python -m benchmarks.theory --quick    # one pair, about a minute

Ratios of processor seconds on one thread in float64, on the hidden matrices of a fully connected net as initialised.
Without alignment (spectra, eps, spread, norms, Theorems 3.1 and B.4 of every layer) against `svdvals`; with alignment
and Theorem 3.2 in both norms against the full SVD. Accuracy is looked at on the same matrices, on one whose singular
values fall evenly from 1 to 1e-5, and on a product of rank 50.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any

import cyclopts
import torch
from cyclopts import Parameter
from torch import Tensor

from benchmarks.common import figure, show
from study.theory import spectra
from study.theory.bounds import layer_bounds, net_bounds

SIZES = (3072, 2000, 2000, 2000, 2000)


def matrices(sizes: tuple[int, ...]) -> list[Tensor]:
    """Weights of a linear layer's default initialisation, uniform in +- 1/sqrt(n)."""
    random = torch.Generator().manual_seed(0)
    pairs = zip(sizes[1:], sizes[:-1], strict=True)
    return [(2 * torch.rand(m, n, generator=random, dtype=torch.float64) - 1) / n**0.5 for m, n in pairs]


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def ratios(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> tuple[list[float], list[float]]:
    """Ours over theirs in interleaved pairs, the order turned from pair to pair; and theirs in seconds."""
    out, reference = [], []
    for i in range(pairs):
        if i % 2:
            b = seconds(theirs)
            a = seconds(ours)
        else:
            a = seconds(ours)
            b = seconds(theirs)
        out.append(a / b)
        reference.append(b)
    return out, reference


def worst_error(W: Tensor) -> float:
    """Largest relative error of the singular values above 1e-4 of the largest."""
    exact = torch.linalg.svdvals(W)
    large = exact > 1e-4 * exact[0]
    return float(((spectra.values(W) - exact).abs() / exact)[large].max())


def hard_matrices(size: int) -> list[Tensor]:
    """Singular values falling evenly from 1 to 1e-5, and a product of rank 50."""
    random = torch.Generator().manual_seed(1)
    U, V = (torch.linalg.qr(torch.randn(size, size, generator=random, dtype=torch.float64)).Q for _ in range(2))
    falling = torch.logspace(0, -5, size, dtype=torch.float64)
    left, right = (torch.randn(size, 50, generator=random, dtype=torch.float64) for _ in range(2))
    return [(U * falling) @ V, left @ right.T]


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="One pair instead of five.")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> None:
    """Measure the cost and the accuracy of the theory's statistics on a 4 x 2000 net."""
    torch.set_num_threads(1)
    Ws, pairs = matrices(SIZES), 1 if quick else 5
    layer_bounds(Ws[1][:300]), torch.linalg.svd(Ws[1][:300], full_matrices=False)
    plain, values = ratios(
        lambda: [layer_bounds(W) for W in Ws], lambda: [torch.linalg.svdvals(W) for W in Ws], pairs
    )  # fmt: skip
    whole, full = ratios(
        lambda: net_bounds(Ws), lambda: [torch.linalg.svd(W, full_matrices=False) for W in Ws], pairs
    )  # fmt: skip
    errors = [worst_error(W) for W in (Ws[:2] if quick else [*Ws, *hard_matrices(SIZES[1])])]
    figures = [
        figure("layer statistics over svdvals", plain, "ratio", 0.45),
        figure("all with alignment over full SVD", whole, "ratio", 0.6),
        figure("svdvals of the net", values, "CPU s"),
        figure("full SVD of the net", full, "CPU s"),
        figure("relative error of singular values", [1e9 * e for e in errors], "1e-9", 1000.0),
    ]
    show(figures, json_)


if __name__ == "__main__":
    cyclopts.run(main)
