"""The blocks of a timm vision transformer: which there are, their matrices, and the net as far as its first block."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from study.nets import net as nets
from study.nets.net import Net
from study.theory.blocks import Block

PROJECTIONS = ("attn.qkv.q", "attn.qkv.k", "attn.qkv.v")  # of a block, as timm names what is in it
PARTS = (*PROJECTIONS, "attn.proj", "mlp.fc1", "mlp.fc2")


def names(net: Net) -> list[str]:
    """The blocks of a timm vision transformer with q, k and v apart; nothing for any other net."""
    found = [name.removesuffix(".attn.proj") for name in net.hidden if name.endswith(".attn.proj")]
    whole = {f"{name}.{part}" for name in found for part in PARTS} == set(net.hidden)
    known = all(hasattr(net.body.get_submodule(f"{name}.attn"), "attn_dim") for name in found)
    return found if whole and known else []


def matrices(net: Net, name: str) -> Block:
    """The matrices of a block: q, k and v by head."""
    block: Any = net.body.get_submodule(name)
    q, k, v, out, *ffn = (nets.matrix(net.body.get_submodule(f"{name}.{part}")).detach() for part in PARTS)
    Q, K, V = (W.chunk(block.attn.num_heads) for W in (q, k, v))
    return Block(Q, K, V, out, ffn, out.shape[0])


def norms(net: Net, name: str) -> tuple[float, float]:
    """The Lipschitz constants of a block's two layer normalisations as they are, with their eps."""
    block: Any = net.body.get_submodule(name)
    return constant(block.norm1), constant(block.norm2)


def constant(norm: nn.LayerNorm) -> float:
    """max |gain| / sqrt(eps), an upper bound of what layer normalisation stretches by, which nearly constant tokens
    come near; 1 for what is no normalisation."""
    if not isinstance(norm, nn.LayerNorm):
        return 1.0
    gain = 1.0 if norm.weight is None else float(norm.weight.detach().abs().max())
    return gain / norm.eps**0.5


def begin(net: Net, shape: tuple[int, int, int]) -> float:
    """How much a change of the normalised image of `shape` is stretched at most on its way into the tokens: three
    channels of one, enlargement, patches that do not overlap."""
    body: Any = net.body
    W = body.patch_embed.proj.weight.detach().double().flatten(1)
    scale = float(torch.linalg.matrix_norm(W, ord=2))
    if net.size and shape[0] == 1:
        scale *= 3**0.5
    for pixels in shape[1:] if net.size else ():
        each = interpolate(
            torch.eye(pixels, dtype=torch.float64)[None, :, :, None], size=(net.size, 1), mode="bilinear"
        )[0, :, :, 0]
        scale *= float(torch.linalg.matrix_norm(each, ord=2))
    return scale


def end(net: Net) -> tuple[float, float]:
    """Behind the blocks: the Lipschitz constant of the last layer normalisation, and the head's spectral norm."""
    body: Any = net.body
    last = next((m for m in (body.norm, body.fc_norm) if isinstance(m, nn.LayerNorm)), None)
    head = nets.matrix(nets.head(net)).detach().double()
    return (1.0 if last is None else constant(last)), float(torch.linalg.matrix_norm(head, ord=2))


class _First(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.body._pos_embed(self.body.patch_embed(x))
        first: Tensor = self.body.blocks[0](self.body.norm_pre(self.body.patch_drop(tokens)))
        return first.flatten(1)


def first(net: Net) -> Net:
    """The net as far as its first block, whose tokens (N, T d) it returns; its layers are the net's own."""
    out = Net(_First(net.body), net.mean.flatten().tolist(), net.std.flatten().tolist(), (), net.size)
    return out.to(net.mean.device).train(net.training)
