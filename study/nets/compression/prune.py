"""Row (filter) pruning by zeroing, and the planted effects that the positive controls use."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from study.nets import net as nets
from study.nets.net import LowRankLinear, Net

TOLERANCE = 1e-3  # of the largest logit: rounding stays far below, a wrong coupling far above


def largest_rows(W: Tensor, kept: float) -> Tensor:
    """Indices of the max(1, round(kept * m)) rows of W (m, n) with the largest l_1 norm, largest first; ties: the
    lower index first."""
    norms = W.abs().sum(dim=1)
    return norms.sort(descending=True, stable=True).indices[: max(1, round(kept * len(norms)))]


@torch.no_grad()
def keep_rows(net: Net, kept: float) -> Net:
    """A copy of `net` in which each hidden layer keeps its max(1, round(kept * m)) rows of largest l_1 norm.

    The other rows, and their biases, are zero. kept in (0, 1]; ValueError outside.
    """
    if not 0 < kept <= 1:
        raise ValueError(f"kept must lie in (0, 1], got {kept}")
    out = copy.deepcopy(net)
    for layer in nets.layers(out).values():
        W = nets.matrix(layer)
        mask = torch.zeros_like(W[:, 0])
        mask[largest_rows(W, kept)] = 1.0
        nets.scale_rows(layer, mask)
    return out


@torch.no_grad()
def silenced(net: Net, gone: Mapping[str, Sequence[int]]) -> Net:
    """A copy of `net` with rows of layers, their biases, and channels of norms at zero: what removal takes away.

    `gone` has their places by the layer's or norm's name.
    """
    out = copy.deepcopy(net)
    for name, places in gone.items():
        module = out.body.get_submodule(name)
        for W in (module.A if isinstance(module, LowRankLinear) else module.weight, getattr(module, "bias", None)):
            if isinstance(W, Tensor):
                W[places] = 0.0
    return out


@torch.no_grad()
def equal_outputs(one: Net, other: Net, shape: tuple[int, int, int]) -> bool:
    """Whether two nets in eval mode have the same logits, but for rounding, on two images of noise (C, H, W)."""
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(one.mean.device)
    found, wanted = one(x), other(x)
    return bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


@torch.no_grad()
def plant(net: Net, structure: str, strength: float) -> Net:
    """A copy of `net` made more compressible by hand at the same Frobenius norm of each hidden layer.

    `rows`: the row of i-th largest l_1 norm is multiplied by i^-strength; `spectrum`: singular value sigma_i by
    (sigma_i / sigma_1)^strength. strength >= 0; 0 changes nothing, large values leave one row, or rank one.
    """
    if strength < 0:
        raise ValueError(f"strength must be at least 0, got {strength}")
    out = copy.deepcopy(net)
    for layer in nets.layers(out).values():
        W = nets.matrix(layer).double()
        if structure == "rows":
            order = W.abs().sum(dim=1).sort(descending=True, stable=True).indices
            factors = torch.empty_like(W[:, 0])
            factors[order] = torch.arange(1, len(W) + 1, dtype=W.dtype, device=W.device) ** -strength
            moved = W * factors[:, None]
        elif structure == "spectrum":
            U, s, Vh = torch.linalg.svd(nets.unstacked(W, nets.groups(layer)), full_matrices=False)
            moved = U @ torch.diag_embed(s * (s / s.max()) ** strength) @ Vh
        else:
            raise ValueError(f"structure must be rows or spectrum, got {structure!r}")
        nets.set_matrix(layer, (moved * (W.norm() / moved.norm())).float())
    return out
