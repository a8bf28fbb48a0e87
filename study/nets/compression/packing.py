"""Numbers of a few bits in bytes, and masks as bitmaps: what docs/compression.md counts, really laid out.

The first number fills the lowest bits of the first byte; 16 bits are two bytes, the lower one first.
"""

import math

import torch
from torch import Tensor

BITS = (1, 2, 4, 8, 16)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Whole numbers (n,) in [0, 2^bits) as uint8 (ceil(n bits / 8),), the last byte filled up with zeros.

    bits in {1, 2, 4, 8, 16}; ValueError for others, and for numbers out of range.
    """
    _known(bits)
    codes = codes.to(torch.int32)
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < 2**bits:
        raise ValueError(f"numbers of {bits} bits lie in [0, {2**bits}), got {int(codes.min())} to {int(codes.max())}")
    if bits >= 8:
        return torch.stack([codes >> 8 * i & 255 for i in range(bits // 8)], dim=1).to(torch.uint8).flatten()
    per = 8 // bits
    filled = torch.nn.functional.pad(codes, (0, -len(codes) % per)).view(-(-len(codes) // per), per)
    return sum(filled[:, i] << bits * i for i in range(per)).to(torch.uint8)  # type: ignore[union-attr]


def unpack(packed: Tensor, bits: int, n: int) -> Tensor:
    """The n numbers, int32 (n,), that `pack` has laid out; ValueError where the bytes are not as many as n take."""
    _known(bits)
    if packed.dtype != torch.uint8 or packed.shape != (math.ceil(n * bits / 8),):
        raise ValueError(f"{n} numbers of {bits} bits take {math.ceil(n * bits / 8)} bytes, got {packed.numel()}")
    wide = packed.to(torch.int32)
    if bits >= 8:
        return sum(part << 8 * i for i, part in enumerate(wide.view(n, bits // 8).unbind(1)))  # type: ignore[return-value]
    return torch.stack([wide >> bits * i & 2**bits - 1 for i in range(8 // bits)], dim=1).flatten()[:n]


def _known(bits: int) -> None:
    if bits not in BITS:
        raise ValueError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")


def scales(V: Tensor, W: Tensor, bits: int) -> Tensor:
    """The scale of a quantized tensor V, () or one for each of its rows (rows,), such that V = scale q exactly with
    whole q in [-2^(bits-1), 2^(bits-1)), or q in {-1, 1} (0 where V is 0) of one bit.

    W are the weights behind it: the scale is max|W| / ((2^bits - 1) / 2), of one bit the one magnitude of V. ValueError
    where V lies on no such levels.
    """
    for by_row in (False, True):
        of = V if bits == 1 else W
        largest = of.detach().abs().flatten(1).amax(1) if by_row else of.detach().abs().max()
        s = largest.float() if bits == 1 else largest.float() / (2 ** (bits - 1) - 0.5)
        s = s.clamp_min(torch.finfo(torch.float32).tiny)
        q = quotients(V, s)
        low, high = (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if bool((q * spread(s, V) == V).all()) and low <= q.min() and q.max() <= high:
            return s
    raise ValueError(f"the weights do not lie on {2**bits} levels of one scale, nor of one for each row")


def quotients(V: Tensor, s: Tensor) -> Tensor:
    """V in units of its scale: whole numbers, in float32 of V's shape."""
    return (V / spread(s, V)).round()


def spread(s: Tensor, V: Tensor) -> Tensor:
    """A scale, () or (rows,), in a shape that multiplies V (rows, ...)."""
    return s.view(-1, *[1] * (V.ndim - 1)) if s.ndim else s
