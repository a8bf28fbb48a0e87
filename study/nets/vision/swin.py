"""torchvision's Swin transformer (Liu et al. 2021) with attention whose layers are called, not read."""

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.swin_transformer import ShiftedWindowAttention

from study.nets import qkv


def swin_t(classes: int) -> tuple[nn.Module, list[str]]:
    """Swin-T for images of 224 pixels, with a new head.

    Hidden are the linear layers in its blocks: q, k, v, proj and the two of the MLP. Those that merge patches are not:
    they are strided embeddings between stages, as the patch embedding is before the first, outside every block.
    """
    body = torchvision.models.swin_t(weights=None)
    body.head = nn.Linear(body.head.in_features, classes)
    nn.init.trunc_normal_(body.head.weight, std=0.02)  # as torchvision draws it
    nn.init.zeros_(body.head.bias)
    for module in list(body.modules()):
        if isinstance(attention := getattr(module, "attn", None), ShiftedWindowAttention):
            module.attn = WindowAttention(attention)
    qkv.split(body)
    names = [name for name, m in body.named_modules() if isinstance(m, nn.Linear)]
    return body, [name for name in names if ".attn." in name or ".mlp." in name]


class WindowAttention(nn.Module):
    """torchvision's attention in shifted windows, x (N, H, W, C) -> the same shape, from one of its layers.

    That one reads the weights of its linear layers; here they are called, so that they may be anything else that maps
    the last dimension: factors, quantized ones, three in place of one. Without dropout, which Swin-T has none of.
    """

    def __init__(self, of: ShiftedWindowAttention) -> None:
        super().__init__()
        self.window, self.shift, self.heads = of.window_size[0], of.shift_size[0], of.num_heads
        self.qkv, self.proj = of.qkv, of.proj
        self.relative_position_bias_table = of.relative_position_bias_table
        self.register_buffer("relative_position_index", of.relative_position_index)

    def forward(self, x: Tensor) -> Tensor:
        n, high, wide, channels = x.shape
        w = self.window
        x = pad(x, (0, 0, 0, -wide % w, 0, -high % w))
        size = (x.shape[1], x.shape[2])
        shifts = [0 if side <= w else self.shift for side in size]  # one window needs no shift
        x = _windows(x.roll([-s for s in shifts], (1, 2)), w)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + self._bias()
        if any(shifts):
            mask = _mask(size, shifts, w, x)
            scores = (scores.unflatten(0, (n, -1)) + mask[None, :, None]).flatten(0, 1)
        x = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x.view(n, size[0] // w, size[1] // w, w, w, channels).transpose(2, 3).reshape(n, *size, channels)
        return x.roll(shifts, (1, 2))[:, :high, :wide].contiguous()

    def _bias(self) -> Tensor:
        """One number for each head and each pair of places in a window, (1, heads, places, places)."""
        places = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index]
        return bias.view(places, places, -1).permute(2, 0, 1)[None]


def _windows(x: Tensor, w: int) -> Tensor:
    """(N, H, W, C) -> (N * windows, w * w, C)."""
    return x.unflatten(2, (-1, w)).unflatten(1, (-1, w)).transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _mask(size: tuple[int, int], shifts: list[int], w: int, like: Tensor) -> Tensor:
    """-100 between places of a window that the shift has brought together from two sides, (windows, w * w, w * w)."""
    regions = like.new_zeros(1, *size, 1)
    for at, (side, shift) in enumerate(zip(size, shifts, strict=True)):
        steps = torch.arange(side, device=like.device)
        kind = (steps >= side - w).to(like) + (steps >= side - shift).to(like) if shift else torch.zeros_like(steps)
        regions = regions + kind.view(1, -1, 1, 1) * 3 if at == 0 else regions + kind.view(1, 1, -1, 1)
    parts = _windows(regions, w)[..., 0]
    return (parts[:, None] != parts[:, :, None]).to(like) * -100.0
