"""Norms of convolutions against the matrices that the convolutions are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d, pad

from study.theory import convolutions as conv
from study.theory.operator_norms import op_norm


def as_matrix(kernel, size, mode):
    """The convolution on size x size images as a matrix, `constant` (zero) or `circular` padding, same size out."""
    inputs, (h, w) = kernel.shape[1], kernel.shape[2:]
    basis = torch.eye(inputs * size * size, dtype=torch.float64).view(-1, inputs, size, size)
    frame = ((w - 1) // 2, w // 2, (h - 1) // 2, h // 2)
    return conv2d(pad(basis, frame, mode), kernel.double()).flatten(1).T


def test_erratum_12_the_matricised_norm_is_not_the_convolutions():
    kernel = torch.ones(1, 1, 3, 3)
    assert op_norm(kernel.flatten(1), 2) == pytest.approx(3)
    assert conv.conv_norm_2_circular(kernel, 8) == pytest.approx(9)
    assert conv.conv_norm_2_upper(kernel) == pytest.approx(9)


def test_zero_padding_may_exceed_the_circular_norm_of_the_same_size():
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 1, 1], kernel[0, 0, 1, 2] = 1.0, -1.0
    zero = op_norm(as_matrix(kernel, 3, "constant"), 2)
    assert zero == pytest.approx(2 * math.cos(math.pi / 7))  # 1.802
    assert conv.conv_norm_2_circular(kernel, 3) == pytest.approx(math.sqrt(3))
    assert zero <= conv.conv_norm_2_zero_upper(kernel, 3) <= conv.conv_norm_2_upper(kernel) + 1e-9


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), *(st.integers(1, 3) for _ in range(4)), st.integers(3, 6))
def test_the_convolution_norms_bound_a_real_convolution(seed, out, inputs, h, w, size):
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(out, inputs, h, w, generator=generator, dtype=torch.float64)
    exact, upper = conv.conv_norm_2_circular(kernel, size), conv.conv_norm_2_upper(kernel)
    zero = as_matrix(kernel, size, "constant")
    assert op_norm(as_matrix(kernel, size, "circular"), 2) == pytest.approx(exact)
    assert op_norm(zero, 2) <= conv.conv_norm_2_zero_upper(kernel, size) * (1 + 1e-9)
    assert max(exact, conv.conv_norm_2_zero_upper(kernel, size)) <= upper * (1 + 1e-9)
    assert op_norm(zero, math.inf) <= op_norm(kernel.flatten(1), math.inf) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: conv.conv_norm_2_upper(torch.ones(2, 2)), "kernel must be finite, of shape"),
        (lambda: conv.conv_norm_2_upper(torch.full((1, 1, 1, 1), math.nan)), "kernel must be finite"),
        (lambda: conv.conv_norm_2_circular(torch.ones(1, 1, 3, 3), 2), "size must be a whole number from 3"),
        (lambda: conv.conv_norm_2_zero_upper(torch.ones(1, 1, 3, 3), 0), "size must be a whole number from 1"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
