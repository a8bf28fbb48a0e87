"""A convolution held as a chain of smaller ones: what a Tucker, tensor-train or CP factorization of it computes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Which axes of the image (height, width) each convolution of a chain moves along, by how many there are: between two
# of 1 x 1 either one of k x k, or one of k x 1 and one of 1 x k.
MOVES = {3: ((0, 0), (1, 1), (0, 0)), 4: ((0, 0), (1, 0), (0, 1), (0, 0))}


class FactoredConv2d(nn.Module):
    """`conv`, which has one group, as convolutions one after the other, the bias behind the last: kernels F0, F1, ...

    `kernels` are three or four, (channels out, channels in of a group, height, width) each, in the order in which an
    input meets them; those with one channel in for each of several act on every channel alone. Stride, padding and
    dilation lie on the convolution that moves along their axis, a frame of pixels (padding_mode) before the first.
    """

    def __init__(self, conv: nn.Conv2d, kernels: Sequence[Tensor]) -> None:
        super().__init__()
        self.names = tuple(f"F{i}" for i in range(len(kernels)))
        self.moves = MOVES[len(kernels)]
        for name, kernel in zip(self.names, kernels, strict=True):
            setattr(self, name, nn.Parameter(kernel.to(conv.weight).contiguous()))
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone())
        self.kernel, self.groups = tuple(conv.weight.shape), 1
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.padding_mode, self.frame = conv.padding_mode, conv._reversed_padding_repeated_twice

    def kernels(self) -> list[Tensor]:
        """F0, F1, ... as they are used: rounded where they are quantized."""
        return [getattr(self, name) for name in self.names]

    def forward(self, x: Tensor) -> Tensor:
        padding: str | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros":
            x, padding = nn.functional.pad(x, self.frame, mode=self.padding_mode), (0, 0)
        for name, F, moves in zip(self.names, self.kernels(), self.moves, strict=True):
            stride, dilation = _along(moves, self.stride, 1), _along(moves, self.dilation, 1)
            pad = padding if isinstance(padding, str) else _along(moves, padding, 0)
            bias = self.bias if name == self.names[-1] else None
            x = nn.functional.conv2d(x, F, bias, stride, pad, dilation, x.shape[1] // F.shape[1])
        return x

    def product(self) -> Tensor:
        """The matrix of the convolution that this one is, (out x in*kh*kw), differentiable."""
        K, *rest = self.kernels()
        for F in rest:
            alone = F.shape[1] != K.shape[0]  # each channel by itself
            terms = torch.einsum("oab,oihw->oiahbw" if alone else "ocab,cihw->oiahbw", F[:, 0] if alone else F, K)
            K = terms.flatten(4).flatten(2, 3)
        return K.flatten(1)


def _along(moves: tuple[int, int], values: Sequence[int], still: int) -> tuple[int, ...]:
    return tuple(value if moving else still for moving, value in zip(moves, values, strict=True))
