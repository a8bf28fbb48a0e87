"""Operator norms of plain stride-1 kernels; the matricised kernel's own is not one of them in l_2 (erratum 12).

`study.theory.operators` has any layer's convolution, on images of the size that it meets.
"""

import math

import torch
from torch import Tensor

from study.theory.checks import checked_k, checked_kernel
from study.theory.operator_norms import op_norm


def conv_norm_2_upper(kernel: Tensor) -> float:
    """Upper bound of the l_2 operator norm of a stride-1 convolution: sqrt(kh kw) times its matricised sigma_1.

    kernel (out, in, kh, kw); any image size, circular or zero padding. The matricised sigma_1 itself is NOT an upper
    bound (erratum 12: the 3 x 3 kernel of ones has sigma_1 = 3 and operator norm 9). For l_inf the matricised norm is
    exact, its largest row l_1 norm, where some output sees the whole kernel.

    >>> conv_norm_2_upper(torch.ones(1, 1, 3, 3))  # sqrt(9) * 3
    9.0
    """
    kernel = checked_kernel(kernel)
    return math.sqrt(kernel.shape[2] * kernel.shape[3]) * op_norm(kernel.flatten(1), 2)


def conv_norm_2_circular(kernel: Tensor, size: int) -> float:
    """Exact l_2 operator norm of a stride-1 convolution on size x size images with circular padding, by FFT.

    kernel (out, in, kh, kw), size >= kh, kw. Zero padding is NOT bounded by this at the same size: the kernel (1, -1)
    in the middle of a 3 x 3 frame has circular norm sqrt(3) on 3 x 3 images and 1.802 with zero padding. It is a
    bound for zero padding at the larger size that `conv_norm_2_zero_upper` takes. Source: Sedghi, Gupta and Long 2019.

    >>> conv_norm_2_circular(torch.ones(1, 1, 3, 3), 5)  # a constant image is multiplied by 9
    9.0
    """
    kernel = checked_kernel(kernel)
    checked_k("size", size, max(kernel.shape[2:]), 2**16)
    transfer = torch.fft.fft2(kernel, s=(size, size)).permute(2, 3, 0, 1)
    return float(torch.linalg.matrix_norm(transfer, ord=2).max())


def conv_norm_2_zero_upper(kernel: Tensor, size: int) -> float:
    """Upper bound of the l_2 operator norm with zero padding: the circular norm at size + max(kh, kw) - 1.

    kernel (out, in, kh, kw), size >= 1. An image inside a frame of k - 1 zeros meets no wrapped pixel, so convolving
    it circularly on the larger torus and cropping is the zero-padded map; neither embedding nor cropping adds norm.

    >>> conv_norm_2_zero_upper(torch.ones(1, 1, 3, 3), 5)
    9.0
    """
    kernel = checked_kernel(kernel)
    checked_k("size", size, 1, 2**16)
    return conv_norm_2_circular(kernel, size + max(kernel.shape[2:]) - 1)
