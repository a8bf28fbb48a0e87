"""Gradient ascent on operator norms: what stays, what grows, where it ends."""

import itertools
import math

import pytest
import torch

from study.theory.ascent import ascend
from study.theory.operator_norms import op_norm


def gaussian(m=12, n=9, seed=0):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("p", [2, math.inf])
def test_the_frobenius_norm_stays_and_the_norm_never_falls(p):
    path = list(ascend(gaussian(), p, 80, 0.02))
    assert len(path) == 81
    assert torch.equal(path[0], gaussian())
    norms = [op_norm(W, p) for W in path]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(norms))
    assert [float(torch.linalg.norm(W)) for W in path] == pytest.approx([float(torch.linalg.norm(path[0]))] * 81)


def test_it_ends_in_one_row_of_equal_magnitudes_or_at_rank_one():
    W = gaussian()
    scale = float(torch.linalg.norm(W))
    *_, row = ascend(W, math.inf, 600, 0.05)
    assert op_norm(row, math.inf) == pytest.approx(math.sqrt(9) * scale, rel=1e-3)
    assert float(row.square().sum(dim=1).max()) == pytest.approx(scale**2, rel=1e-3)
    *_, one = ascend(W, 2, 600, 0.05)
    assert op_norm(one, 2) == pytest.approx(scale, rel=1e-3)
    assert float(torch.linalg.svdvals(one)[1]) < 1e-3 * scale


@pytest.mark.parametrize("p", [2, math.inf])
def test_a_step_is_autograds(p):
    W = gaussian(seed=3).requires_grad_(True)
    torch.linalg.matrix_norm(W, ord=p).backward()
    W0, G = W.detach(), W.grad
    twin = W0 + 0.1 * torch.linalg.norm(W0) * G / torch.linalg.norm(G)
    twin = twin * torch.linalg.norm(W0) / torch.linalg.norm(twin)
    *_, ours = ascend(W0, p, 1, 0.1)
    assert torch.allclose(ours, twin, atol=1e-10)


@pytest.mark.parametrize(("W", "p", "size", "words"), [
    (torch.zeros(2, 2), 2, 0.1, "W must not be the zero matrix"), (torch.eye(2), 1, 0.1, "p must be 2 or inf, got 1"),
    (torch.eye(2), 2, 0.0, "step_size must be above 0"), (torch.ones(2), 2, 0.1, "W must"),
])  # fmt: skip
def test_bad_input_is_named(W, p, size, words):
    with pytest.raises(ValueError, match=words):
        next(ascend(W, p, 1, size))
