"""Matrices, norms and products of norms at any scale that float64 holds: powers of two first, which round nothing."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

SAFE = 2.0**200  # squares, their sums and products of a few still lie within float64's range


def unit(W: Tensor, safe: float = SAFE) -> tuple[Tensor, float]:
    """W over a power of two that brings its largest entry to [1, 2), and that power; as it is where it need not be.

    A largest entry from 1/safe to safe is left alone, so that the usual numbers do not move by a bit.

    >>> W, scale = unit(torch.tensor([[0.0, 2.0**600]], dtype=torch.float64))
    >>> W.tolist(), scale == 2.0**600
    ([[0.0, 1.0]], True)
    """
    largest = float(W.abs().max())
    if largest == 0 or 1 / safe <= largest <= safe:
        return W, 1.0
    exponent = math.frexp(largest)[1] - 1
    half = exponent // 2  # in two steps: 2^-exponent itself may be out of range
    return W * 2.0**-half * 2.0 ** (half - exponent), 2.0**exponent


def frobenius(W: Tensor) -> float:
    """||W||_F, or the l_2 norm of a vector, without overflow or underflow of the squares.

    >>> frobenius(torch.tensor([[3.0, 4.0]], dtype=torch.float64) * 2.0**600) / 2.0**600
    5.0
    """
    W, scale = unit(W)
    return scale * float(torch.linalg.norm(W))


def product(values: Iterable[float]) -> float:
    """The product of numbers of at least 0, however large or small on the way: inf or 0 only where it is that itself.

    A product of positive numbers below float64's least is that least, 5e-324, so that an upper bound stays one; with an
    infinite factor it is infinite, also beside a 0.

    >>> product([1e200, 1e200, 1e-200, 1e-200]), product([1e-300, 1e-300]), product([])
    (1.0, 5e-324, 1.0)
    """
    values = list(values)
    if 0 in values or not all(map(math.isfinite, values)):
        return math.inf if math.inf in values else math.prod(values)
    mantissa, exponent = 1.0, 0
    for value in values:
        part, shift = math.frexp(value)
        mantissa, carry = math.frexp(mantissa * part)
        exponent += shift + carry
    try:
        return max(math.ldexp(mantissa, exponent), 5e-324)
    except OverflowError:
        return math.inf


def norm_2(W: Tensor) -> float:
    """The largest singular value of a matrix, taken as it is: for entries whose squares float64 holds.

    >>> norm_2(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    2.0
    """
    return float(torch.linalg.matrix_norm(W, ord=2))
