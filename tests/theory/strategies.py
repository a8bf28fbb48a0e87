"""Random matrices and nets of every kind that the bounds must survive, for hypothesis."""

import itertools

import torch
from hypothesis import strategies as st

KINDS = ("gaussian", "sparse", "heavy", "low_rank", "signs", "flat", "zero_rows")


def matrix(kind, m, n, generator):
    """An (m, n) matrix of a kind, float64."""
    W = torch.randn(m, n, generator=generator, dtype=torch.float64)
    if kind == "sparse":
        return W * (torch.rand(m, n, generator=generator) < 0.3)
    if kind == "heavy":
        return W.sign() * W.abs() ** 5
    if kind == "low_rank":
        return W[:, :1] @ W[:1, :] + 1e-3 * W
    if kind == "signs":
        return W.sign()
    if kind == "flat":
        return torch.ones(m, n, dtype=torch.float64)
    if kind == "zero_rows":
        W[::2] = 0
    return W


@st.composite
def matrices(draw, most=24):
    """One rectangular matrix of any kind."""
    m, n = draw(st.integers(1, most)), draw(st.integers(1, most))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return matrix(draw(st.sampled_from(KINDS)), m, n, generator)


@st.composite
def nets(draw, least=2, deepest=2, most=6, hidden=20):
    """`least` to `deepest` matrices that chain, of one kind; the hidden widths add up to `hidden` at most."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    depth = draw(st.integers(least, deepest))
    widths = [draw(st.integers(1, most))]
    for left in range(depth - 2, -1, -1):
        room = hidden - sum(widths[1:]) - left
        widths.append(draw(st.integers(1, min(most, room))))
    widths.append(draw(st.integers(1, most)))
    kind = draw(st.sampled_from(KINDS))
    return [matrix(kind, m, n, generator) for n, m in itertools.pairwise(widths)]


def sylvester(n):
    """The n x n Hadamard matrix of Sylvester, n a power of two."""
    H = torch.ones(1, 1, dtype=torch.float64)
    while len(H) < n:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)], 0)
    return H
