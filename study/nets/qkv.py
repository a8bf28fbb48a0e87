"""Queries, keys and values of attention as three layers: each is penalised, factorized and measured by itself."""

import torch
from torch import Tensor, nn


class Split(nn.Module):
    """A fused projection x (..., in) -> (..., 3 d) as three linear layers q, k, v, whose outputs are put side by side.

    `fused` is the layer that it stands in for; its weights are carried over, so that the outputs are the same.
    """

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        weights, bias = fused.weight.detach().chunk(3), fused.bias
        biases = (None, None, None) if bias is None else bias.detach().chunk(3)
        self.q, self.k, self.v = (_linear(W, b) for W, b in zip(weights, biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.q(x), self.k(x), self.v(x)), dim=-1)


def _linear(W: Tensor, bias: Tensor | None) -> nn.Linear:
    out = nn.Linear(W.shape[1], W.shape[0], bias=bias is not None, device="meta").to_empty(device=W.device)
    out.weight = nn.Parameter(W.clone())
    if bias is not None:
        out.bias = nn.Parameter(bias.clone())
    return out


def split(body: nn.Module) -> None:
    """Every fused linear layer of `body` that is called qkv becomes three, in place."""
    for module in list(body.modules()):
        if isinstance(fused := getattr(module, "qkv", None), nn.Linear):
            module.qkv = Split(fused)


def cut(found: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict whose fused projections are cut into q, k, v wherever `own` has them so."""
    out = dict(found)
    for name in own:
        base, _, part = name.rpartition(".qkv.")
        letter, _, kind = part.partition(".")
        fused = f"{base}.qkv.{kind}"
        if base and letter in ("q", "k", "v") and fused in found:
            out[name] = found[fused].chunk(3)["qkv".index(letter)]
            out.pop(fused, None)
    return out
