"""Forward hooks that a net's owner has hung on its modules: they are part of what the net computes."""

import copy
import dis
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Where hooks come from that are no owner's: this project's (they round inputs, or look on in a pass), torch's that
# compute a weight, which are folded.
OURS = ("study.", "torch.nn.utils.")
KEPT = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
        "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")  # fmt: skip


def theirs(module: nn.Module) -> list[Callable[..., Any]]:
    """The owner's hooks before and after a module's forward pass."""
    found = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return [hook for hook in found if not str(getattr(hook, "__module__", "")).startswith(OURS)]


def carry(old: nn.Module, new: nn.Module) -> None:
    """Hang the hooks of a module, in their order, on the one that takes its place."""
    for name in KEPT:
        setattr(new, name, copy.copy(getattr(old, name)))


def looking(layer: nn.Module) -> bool:
    """Whether a hook of the owner's looks at the layer that it is called with, or cannot be known not to: with another
    module in its place it may give other numbers. One that uses its inputs and outputs alone does not."""
    return any(_looks(hook) for hook in theirs(layer))


def _looks(hook: Callable[..., Any]) -> bool:
    code = getattr(getattr(hook, "__func__", hook), "__code__", None)
    place = int(inspect.ismethod(hook))
    if code is None or code.co_argcount <= place:
        return True
    first = code.co_varnames[place]
    return any(
        first == step.argval or (isinstance(step.argval, tuple) and first in step.argval)
        for step in dis.get_instructions(code)
    )


@torch.no_grad()
def stray(net: nn.Module, x: Tensor) -> bool:
    """Whether a copy of a net in eval mode does not compute by itself: its logits on the second half of images
    x (N, C, H, W) are others once the net itself has lost its weights, or it cannot be copied. What a hook holds of
    its net is copied by no copy. The net is left as it was found."""
    before, after = x.chunk(2)
    _run(net, before)  # what is kept of a pass is of these
    try:
        twin = copy.deepcopy(net)
    except RuntimeError:  # tensors with a graph, kept of earlier passes
        return True
    wanted = _run(net, after)
    found = {p: p.clone() for p in (*net.parameters(), *net.buffers()) if p.is_floating_point()}
    try:
        for p in found:
            p.fill_(torch.nan)
        return not torch.allclose(_run(twin, after), wanted, rtol=1e-4, atol=1e-6, equal_nan=True)
    finally:
        for p, values in found.items():
            p.copy_(values)


def _run(net: nn.Module, x: Tensor) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return net(x)
