"""One transformer block without LayerNorm and biases, the net of paper B's Lemma 1 and Theorem 1 (B, 3, 4.2, H.6)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention, unfold

HEAD = 16  # features of an attention head
PLACE = 0.02  # deviation of what is added for a place before training, as in a ViT


class AttentionBlock(nn.Module):
    """Patches -> tokens of `width` features -> x + attention, x + relu(W x) -> their mean -> logits, all without bias.

    Images (N, C, H, W) are cut into patch x patch pixels, which must divide both sides; `width` is a multiple of 16,
    the features of a head. The paper gives none of these sizes. A learned vector for each place is added to its token
    before the block, as in a ViT: without it the mean over tokens would know no places.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch, self.heads = patch, width // HEAD
        self.embed = nn.Linear(shape[0] * patch * patch, width, bias=False)
        places = (shape[1] // patch) * (shape[2] // patch)
        self.position = nn.Parameter(torch.randn(places, width) * PLACE)
        self.q, self.k, self.v, self.out, self.ffn = (nn.Linear(width, width, bias=False) for _ in range(5))
        self.head = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(unfold(x, self.patch, stride=self.patch).transpose(1, 2)) + self.position
        n, t, d = tokens.shape
        q, k, v = (f(tokens).view(n, t, self.heads, HEAD).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d)
        tokens = tokens + self.out(mixed)
        return self.head((tokens + relu(self.ffn(tokens))).mean(dim=1))


def attention_block(shape: tuple[int, int, int], classes: int, width: int, patch: int) -> tuple[nn.Module, list[str]]:
    """The net and its hidden layers: q, k, v, out, ffn. ValueError for a width or a patch that does not fit."""
    if width % HEAD:
        raise ValueError(f"width of an attention_block must be a multiple of {HEAD} (its head size), got {width}")
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(f"patch_size must divide the image's {shape[1]} x {shape[2]} pixels, got {patch}")
    return AttentionBlock(shape, classes, width, patch), ["q", "k", "v", "out", "ffn"]


def by_head(net: AttentionBlock) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The matrices of q, k and v of every head, (16, width) each."""
    q, k, v = (list(layer.weight.detach().split(HEAD)) for layer in (net.q, net.k, net.v))
    return q, k, v


def tokens_of(net: AttentionBlock, shape: torch.Size) -> int:
    """How many tokens an image of a shape (C, H, W) becomes."""
    return (shape[-2] // net.patch) * (shape[-1] // net.patch)
