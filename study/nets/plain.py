"""Nets of somebody's with plain float32 weights: what computes weights from others is folded in, precisions are cast.

Penalties, compression and measures act on the weights that a layer has. A reparametrization would compute them anew
after each change.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from study.nets import checkpoints
from study.nets.net import Net

# The same functions with plain weights: training may go on with these.
FREE = ("weight_norm",)
OLD = {WeightNorm: "weight_norm", SpectralNorm: "spectral_norm", prune.BasePruningMethod: "torch.nn.utils.prune"}
NEW = {parametrizations._WeightNorm: "weight_norm", parametrizations._SpectralNorm: "spectral_norm"}


def cast(body: nn.Module) -> str:
    """Make all floating parameters and buffers float32, in place; what is said of it, "" where they were."""
    tensors = [*body.parameters(), *body.buffers()]
    others = sorted({str(t.dtype) for t in tensors if t.is_floating_point() and t.dtype != torch.float32})
    if not others:
        return ""
    body.float()
    return f"it has weights or statistics of {' and '.join(others)}; all are cast to float32"


@torch.no_grad()
def fold(net: Net) -> tuple[list[str], str]:
    """Put the weights that are computed from others in eval mode (weight_norm, spectral_norm, other parametrizations,
    torch's own pruning) in the place of these, in place; what is said of it, and why the net cannot be trained as its
    owner meant ("" where it can).

    The outputs in eval mode stay, but for rounding. Tensors computed from the same ones stay one.
    """
    modes = {module: module.training for module in net.modules()}
    net.eval()
    found: dict[str, list[str]] = {}
    made: dict[tuple[Any, ...], nn.Parameter] = {}
    for name, module in list(net.body.named_modules()):
        for kind in [*_old(module), *_new(module, made)]:
            found.setdefault(kind, []).append(name or "the net itself")
    for module, mode in modes.items():
        module.training = mode
    notes = [f"{kind} of {checkpoints.few(names)} is folded into plain weights" for kind, names in found.items()]
    kind = next((kind for kind in found if kind not in FREE), "")
    bound = f"{found[kind][0]} has {kind}, which plain weights would lose in training" if kind else ""
    return notes, f"{bound}; train it without, or audit it as it is" if bound else ""


def _old(module: nn.Module) -> Iterator[str]:
    """Fold what computes a weight in a hook before each pass; its kind."""
    hooks: list[Any] = list(module._forward_pre_hooks.values())
    for hook in hooks:
        for kind, word in OLD.items():
            if not isinstance(hook, kind):
                continue
            of: Any = hook
            name = of._tensor_name if isinstance(hook, prune.BasePruningMethod) else of.name
            flag = any(p.requires_grad for n, p in module.named_parameters(recurse=False) if n.startswith(f"{name}_"))
            remove: Any = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}.get(kind, prune.remove)
            remove(module, name)
            module.get_parameter(name).requires_grad_(flag)
            yield word


def _new(module: nn.Module, made: dict[tuple[Any, ...], nn.Parameter]) -> Iterator[str]:
    """Fold the parametrizations of a module; their kinds."""
    if not parametrize.is_parametrized(module):
        return
    lists: Any = module.parametrizations
    values = {}
    for name, chain in lists.items():
        originals = tuple(id(p) for n, p in chain.named_parameters() if n.startswith("original"))
        flag = any(p.requires_grad for p in chain.parameters())
        kinds = tuple(type(part) for part in chain)
        value = made.setdefault((originals, kinds), nn.Parameter(getattr(module, name).clone(), requires_grad=flag))
        values[name] = value
        yield " and ".join(NEW.get(kind, f"the parametrization {kind.__name__}") for kind in kinds)
    # By hand: torch's own removal edits the class, which copies of a layer share.
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, value)
