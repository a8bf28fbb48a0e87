"""What of a net of somebody's compression, penalties and measures leave as it is, or cannot take: found and named.

Hidden layers are Linear and Conv2d layers. Whatever else has weights stays as it is, in float32: embeddings, transposed
convolutions, recurrent layers, bare parameters.
"""

from torch import nn

from study.nets import checkpoints, hooks
from study.nets import net as nets
from study.nets.net import Net


def alone(net: Net) -> str:
    """Which parameters of two dimensions or more lie in no layer with weights (Linear, Conv2d), with their share of all
    parameters, in words; "" where there are none."""
    owned = {id(p) for layer in nets.weighted(net).values() for p in layer.parameters()}
    found: dict[str, str] = {}
    count = 0
    for name, module in net.body.named_modules():
        for part, p in module.named_parameters(recurse=False):
            if id(p) in owned or sum(size > 1 for size in p.shape) < 2:
                continue
            count += p.numel()
            owned.add(id(p))
            kind = next((k.__name__ for k in type(module).__mro__ if k.__module__.startswith("torch.nn.")), "Module")
            bare = kind == "Module"
            found[f"{name}.{part}".strip(".") if bare else name] = "Parameter" if bare else kind
    if not found:
        return ""
    share = count / sum(p.numel() for p in net.parameters())
    named = checkpoints.few([f"{name} ({kind})" for name, kind in found.items()])
    return (
        f"compression, penalties and norms leave as it is what is no Linear or Conv2d layer: {named}, "
        f"{100 * share:.3g} % of its parameters"
    )


def bent(layer: nn.Module) -> bool:
    """Whether a Linear or Conv2d layer has a forward pass of its own, which may compute with other numbers than its
    weight (weight standardisation, a cosine head)."""
    own = next((kind for kind in nets.WEIGHTED if isinstance(layer, kind)), None)
    return own is not None and type(layer).forward is not own.forward


def unlike(name: str, layer: nn.Module) -> str:
    """Why factors in the place of a Linear or Conv2d layer would be another function, in words; "" where they are its
    product: they know its weight, bias and hooks alone."""
    if bent(layer):
        return f"{name}, a layer of type {type(layer).__name__}, has a forward pass of its own, which factors lack"
    if hooks.looking(layer):
        return f"{name} has a forward hook that looks at the layer itself, which factors in its place are not"
    return ""
