"""Bounds of the risk of transformer blocks under masks (paper B, Theorem 1): one block alone, the blocks of a ViT."""

import torch

from study.nets import blocks, masks
from study.nets.attention import AttentionBlock, by_head, tokens_of
from study.nets.net import Net
from study.theory.blocks import GELU, Block, layer_norm, thm1_gamma
from study.theory.scaling import product
from study.trial.state import State

Bounds = dict[tuple[str, str | None], float]  # by measure and layer


def bounds(state: State, net: Net, shape: torch.Size) -> Bounds:
    """Theorem 1's bounds per unit of a normalised input's norm, for images of a shape (C, H, W); nothing for nets that
    it is not of, and where the masks are not random with one probability for all layers of all blocks.

    Of one block without layer normalisation (nets.attention) risk_block_bound, corrected (errata 16, 17), and as
    printed, times the norms of what lies before and behind the block. Of a timm ViT risk_blocks_bound of its first
    block (layer blocks.0: how far that block's tokens move) and of all (layer product: the logits): the product over
    the blocks, which paper B says the bound of several is (section 4.2), times what lies before and behind them. As
    printed layer normalisation over d features is taken to stretch by d / (d - 1), twice a block and once behind them;
    in the corrected form by max |gain| / sqrt(eps), which it does at most, and the activation by GELU's 1.13. All are
    HEURISTIC: erratum 19.
    """
    whole = state.teacher or net
    one = isinstance(whole.body, AttentionBlock) and isinstance(net.body, AttentionBlock)
    names = blocks.names(whole)
    if not (one or names) or (p := _probability(state, net)) is None:
        return {}
    return _alone(whole.body, p, shape) if isinstance(whole.body, AttentionBlock) else _stacked(whole, names, p, shape)


def _probability(state: State, net: Net) -> float | None:
    """The one probability of every weight of the blocks to be kept, those around them whole; None for other masks, and
    for weights that are not those before the masks."""
    whole = state.teacher or net
    keep = state.keep if state.teacher is not None else {}
    shares = {float(P.min()) for P in keep.values()} | {float(P.max()) for P in keep.values()} or {1.0}
    outside = not keep.keys() <= masks.hidden_weights(whole).keys()
    return None if len(shares) > 1 or outside or not masks.are_all(whole, net) else shares.pop()


def _alone(body: AttentionBlock, p: float, shape: torch.Size) -> Bounds:
    """An image's patches do not overlap, so that the tokens' matrix moves by at most ||embed||_2 times the image; the
    mean of T tokens moves by at most 1 / sqrt(T) of the matrix."""
    outer = [float(torch.linalg.matrix_norm(layer.weight.detach(), ord=2)) for layer in (body.embed, body.head)]
    scale = outer[0] * outer[1] / tokens_of(body, shape) ** 0.5
    block = Block(*by_head(body), body.out.weight.detach(), [body.ffn.weight.detach()], body.q.in_features)
    return {
        ("risk_block_bound", None): scale * thm1_gamma(block, p),
        ("risk_block_bound_printed", None): scale * thm1_gamma(block, p, corrected=False),
    }


def _stacked(whole: Net, names: list[str], p: float, shape: torch.Size) -> Bounds:
    """The head is given the token of the class, which moves by at most what all tokens do."""
    channels, height, width = shape
    scale, (last, head) = blocks.begin(whole, (channels, height, width)), blocks.end(whole)
    found: Bounds = {}
    for form, corrected in (("", True), ("_printed", False)):
        each = []
        for name in names:
            block = blocks.matrices(whole, name)
            attention, feed = blocks.norms(whole, name)
            taken = (attention, feed * GELU) if corrected else (layer_norm(block.d),) * 2
            each.append(thm1_gamma(block, p, corrected, taken))
        behind = last if corrected or last == 1 else layer_norm(block.d)
        found[f"risk_blocks_bound{form}", names[0]] = scale * each[0]
        found[f"risk_blocks_bound{form}", "product"] = product([scale, *each, behind, head])
    return found


def first_block(net: Net) -> tuple[str, Net] | None:
    """The name of a ViT's first block, and the net as far as that; None for any other net."""
    names = blocks.names(net)
    return (names[0], blocks.first(net)) if names else None
