"""A layer's convolution against the matrix that it is: every stride, frame, dilation, group and padding mode."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from study.theory import operators
from study.theory.lanczos import norm_2_below
from tests.theory.strategies import KINDS, matrix


def as_matrix(layer, size):
    """The convolution of torch.nn.Conv2d on images of one size, written out column by column."""
    inputs = layer.in_channels * size[0] * size[1]
    basis = torch.eye(inputs, dtype=torch.float64).view(inputs, layer.in_channels, *size)
    with torch.no_grad():
        return layer(basis).flatten(1).T


def of(layer, size):
    """What this room makes of a torch.nn.Conv2d."""
    return operators.convolution(
        layer.weight, size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode
    )


@st.composite
def layers(draw):
    """A small convolution of any kind, and an image size that it takes."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = (groups * draw(st.integers(1, 2)) for _ in range(2))
    kernel, dilation = ((draw(st.integers(1, 3)), draw(st.integers(1, 3))) for _ in range(2))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    mode = draw(st.sampled_from(["zeros", "zeros", "circular", "reflect", "replicate"]))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    same = stride == (1, 1) and draw(st.booleans())
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    frame = [-(-s // 2) for s in spans] if same else padding
    least = [max(1, s + 1 - 2 * p) if mode == "zeros" else max(1, s + 1 - 2 * p, p + 1)
             for s, p in zip(spans, frame, strict=True)]  # fmt: skip
    size = tuple(draw(st.integers(n, n + 3)) for n in least)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, "same" if same else padding, dilation, groups, False, mode)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    W = matrix(draw(st.sampled_from(KINDS)), outputs, layer.weight[0].numel(), generator)
    layer.double().weight.data = W.view_as(layer.weight)
    return layer, size


@settings(deadline=None, max_examples=150)
@given(layers())
def test_norms_lie_on_their_side_of_the_unrolled_matrix(case):
    layer, size = case
    c, T = of(layer, size), as_matrix(layer, size)
    assert operators.norm_inf(c) == pytest.approx(float(T.abs().sum(1).max()), rel=1e-12, abs=1e-12)
    true = float(torch.linalg.matrix_norm(T, ord=2))
    assert norm_2_below(c) <= true * (1 + 1e-9)
    assert norm_2_below(c) == pytest.approx(true, rel=1e-2, abs=1e-12)
    assert operators.norm_2_upper(c) >= true * (1 - 1e-9)
    assert operators.norm_2_upper(c) <= math.sqrt(operators.copies(c)) * operators.matricised_2(c) * (1 + 1e-9)
    if operators.sees_whole(c):
        assert true >= operators.matricised_2(c) * (1 - 1e-9)
        assert operators.norm_inf(c) == pytest.approx(float(layer.weight.detach().abs().flatten(1).sum(1).max()))
    divides = all(out * s == n for out, s, n in zip(c.outputs, c.stride, size, strict=True))
    if layer.padding_mode == "circular" and divides:
        assert operators.norm_2_upper(c) == pytest.approx(true, rel=1e-9, abs=1e-12)


def test_erratum_12_ones_on_an_image_of_eight():
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    layer.weight.data.fill_(1.0)
    c = of(layer, (8, 8))
    assert norm_2_below(c) == pytest.approx((1 + 2 * math.cos(math.pi / 9)) ** 2)
    assert operators.norm_2_upper(c) == pytest.approx(9)
    assert operators.matricised_2(c) == pytest.approx(3)
    assert operators.norm_inf(c) == 9


def test_a_depthwise_convolution_is_that_of_its_worst_channel():
    layer = nn.Conv2d(5, 5, 3, padding=1, groups=5, bias=False).double()
    c = of(layer, (6, 6))
    alone = [operators.convolution(layer.weight[i : i + 1], (6, 6), padding=(1, 1)) for i in range(5)]
    for norm in (operators.norm_2_upper, operators.norm_inf, operators.matricised_2):
        assert norm(c) == pytest.approx(max(map(norm, alone)))
    assert norm_2_below(c) == pytest.approx(max(map(norm_2_below, alone)), rel=1e-3)


@pytest.mark.parametrize("exponent", [-100, -30, 30, 100])
def test_norms_scale_with_the_kernel(exponent):
    kernel = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = (operators.convolution(k, (5, 4), (2, 1), (1, 1)) for k in (kernel, kernel * 10.0**exponent))
    for norm in (operators.norm_2_upper, operators.norm_inf, operators.matricised_2, norm_2_below):
        assert norm(other) / 10.0**exponent == pytest.approx(norm(one))


def test_a_torus_is_a_pixel_larger_than_the_image():
    kernel = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    c = operators.convolution(kernel, (40, 28), padding=(1, 1))
    full = torch.fft.fft2(kernel.double(), s=(41, 29)).permute(2, 3, 0, 1)
    assert operators.norm_2_upper(c) == pytest.approx(float(torch.linalg.matrix_norm(full, ord=2).max()))
    assert 0.98 * operators.norm_2_upper(c) < norm_2_below(c) <= operators.norm_2_upper(c)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: operators.convolution(torch.ones(2, 2), (3, 3)), "kernel must be finite, of shape"),
        (lambda: operators.convolution(torch.full((1, 1, 1, 1), math.nan), (3, 3)), "kernel must be finite"),
        (lambda: operators.convolution(torch.ones(1, 1, 3, 3), (2, 2)), "too small for a kernel"),
        (lambda: operators.convolution(torch.ones(3, 1, 3, 3), (4, 4), groups=2), "groups must divide the 3 outputs"),
        (lambda: operators.convolution(torch.ones(1, 1, 1, 1), (4, 4), mode="mirror"), "mode must be one of zeros"),
        (lambda: operators.convolution(torch.ones(1, 1, 1, 1), (4, 4), padding="full"), "padding must be same, valid"),
    ],
)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
