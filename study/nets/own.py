"""What a net of somebody's is, found when it is built: head and hidden layers, what is made plain, and what is said."""

import torch
from torch import nn

from study.nets import checkpoints, hooks, left, plain, tracing
from study.nets import net as nets
from study.nets.net import Net
from study.spec.errors import UsageError

# Modules that only call another one, and where they hold it; torch.compile's is slow to import.
WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def known(net: Net, shape: tuple[int, int, int], model: str) -> None:
    """Set a net's hidden layers, order, resting modules and notes, in place, and cast its weights to float32.

    Hidden are the layers with weights (Linear, Conv2d) that the logits depend on, less the head, what gives logits
    beside it or has its weight, and a convolution that is called first. `shape` (C, H, W) is an image's, `model` the
    net's name. UsageError where there is no head, or no layer before it.
    """
    body, net.channels_last = net.body, False
    if body.training:
        net.resting = tuple(name for name, m in body.named_modules() if not m.training)
    said = [cast] if (cast := plain.cast(body)) else []
    try:
        found = tracing.trace(net, shape)
    except UsageError as error:
        raise UsageError(f"--model {model} cannot be used: {error}") from None
    except RuntimeError as error:
        if not cast:
            raise
        raise UsageError(f"--model {model} cannot be used: {cast}, and then RuntimeError: {error}") from None
    _check_hooks(net, shape, model)
    layers = nets.weighted(net)
    ends = (*found.logits, found.head)
    tied = {id(p) for name in ends for n, p in layers[name].named_parameters(recurse=False) if n != "bias"}
    hidden = [n for n in found.used if n not in ends and not any(id(p) in tied for p in layers[n].parameters(False))]
    if found.first in hidden and isinstance(layers[found.first], nn.Conv2d):
        hidden.remove(found.first)
    if not hidden:
        raise UsageError(f"--model {model} must have a Linear or Conv2d layer before its head, found none")
    net.hidden = tuple(hidden)
    names = list(layers)
    if (names[0], names[-1]) != (found.first, found.head):
        between = [name for name in names if name not in (found.first, found.head)]
        net.order = (found.first, *between, found.head)
        said.append(f"its head is {found.head} and the first layer {found.first}, by what its logits depend on")
    if shared := [n for n in found.used if n not in ends and n not in hidden and n != found.first]:
        said.append(f"{', '.join(shared)} has the weight of the head {found.head} and is no hidden layer either")
    if found.logits:
        said.append(
            f"{', '.join(found.logits)} gives logits beside the head {found.head} and is no hidden layer either"
        )
    if unused := [name for name in names if name not in found.used]:
        count = sum(p.numel() for n in unused for p in layers[n].parameters())
        share = 100 * count / sum(p.numel() for p in net.parameters())
        said.append(
            f"{checkpoints.few(unused)} is not reached by gradients of the {found.images} images tried (noise, greys, "
            f"squares): no hidden layer, {share:.3g} % of its parameters"
        )
    if rest := left.alone(net):
        said.append(rest)
    if bent := [f"{n} ({type(layers[n]).__name__})" for n in found.used if left.bent(layers[n])]:
        said.append(
            f"{checkpoints.few(bent)} has a forward pass of its own: masks, bits, penalties and norms are of the "
            "weight that it holds"
        )
    if hooked := [n for n in found.used if hooks.theirs(layers[n])]:
        said.append(
            f"{checkpoints.few(hooked)} has a forward hook, which stays: masks, factors, bits, penalties and norms are "
            "of the weight that it holds"
        )
    net.read = tuple(n for n in found.used if n not in found.called)
    net.notes = tuple(said)


def unwrapped(body: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The net inside torch.compile's and the parallel modules, which computes the same, and what is said of it."""
    said: tuple[str, ...] = ()
    while inner := WRAPPERS.get(type(body).__name__):
        said = (*said, f"the net inside its {type(body).__name__} is taken")
        body = body.get_submodule(inner)
    return body, said


def folded(net: Net) -> None:
    """Make weights that are computed from others plain ones, in place, once the net has those that it begins with."""
    said, net.bound = plain.fold(net)
    net.notes += tuple(said)


def _check_hooks(net: Net, shape: tuple[int, int, int], model: str) -> None:
    """UsageError for a net whose hooks hold parts of it, which copies of it would then compute with."""
    hooked = [name or "the net itself" for name, m in net.body.named_modules() if hooks.theirs(m)]
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    if not hooked:
        return
    with tracing.followed(net):
        stray = hooks.stray(net, x)
    if stray:
        raise UsageError(
            f"--model {model} cannot be used: a forward hook on {checkpoints.few(hooked)} holds a part of the net, and "
            "a copy of the net would compute with that of the first; do in `forward` what the hook does"
        )
