"""Which layers a net's logits depend on, and which of them last: read off the graph of gradients of a pass.

The order in which layers are declared says neither: a head may come first, an auxiliary head last. Where a pass leaves
layers out, others are made: which are called may depend on the image (experts), and on weights that come later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from study.nets import net as nets
from study.nets.net import Net
from study.spec.errors import UsageError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Traced:
    """Names of layers with weights (Linear, Conv2d): `used` are those that the logits depend on, `first` the one of
    them that is called first, `head` the one whose outputs reach the logits through no other, and `logits` those that
    give logits beside it, which are added to its own. They are in the order in which they are declared; `called` are
    those that were called at all, and `images` says of how many images all this is told."""

    used: tuple[str, ...]
    first: str
    head: str
    logits: tuple[str, ...]
    called: tuple[str, ...]
    images: int


@dataclass
class _Seen:
    """A pass: the node of every output by the name of the module that made it, and the calls of layers in order."""

    made: dict[Any, str]
    calls: list[str]
    shapes: dict[str, torch.Size]


def trace(net: Net, shape: Shape) -> Traced:
    """What two images of noise of `shape` (C, H, W), and those of `_more` where these reach not every layer, show of a
    net in eval mode, which is left as it was found.

    UsageError where the logits are made by no layer: they have no gradient, or another module or parameter has the last
    word.
    """
    layers = nets.weighted(net)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(), followed(net), torch.enable_grad(), _watched(net, layers) as seen:
        out = net(x.requires_grad_(True))
        last, weights = _reached(out, seen.made, stop=True)
        reached, all_weights = _reached(out, seen.made, stop=False)
    owned = {id(p): name for name, p in net.body.named_parameters()}
    raw = [owned[id(p)] for p in weights if id(p) in owned and sum(size > 1 for size in p.shape) > 1]
    others = [name for name in last if name not in layers]
    heads = [name for name in dict.fromkeys(seen.calls) if name in last and name in layers]
    direct = [n for n in heads if seen.shapes[n][:2] == out.shape or seen.shapes[n] == (2, 1)]
    if not heads or ((others or raw) and not direct):
        raise UsageError(_headless(net, others, raw))
    used, called, images = _used(layers, reached, all_weights), {*seen.calls}, len(x)
    first = next(name for name in seen.calls if name in used)
    for batch, turn in _more(shape) if len(used) < len(layers) else ():
        with torch.random.fork_rng(), followed(net), _turned(net, turn), _watched(net, layers) as seen:
            used |= _used(layers, *_reached(net(batch.requires_grad_(True)), seen.made, stop=False))
        called, images = called | {*seen.calls}, images + len(batch)
        if len(used) == len(layers):
            break
    logits = tuple(n for n in layers if n in direct and n != heads[-1])
    in_order = (tuple(n for n in layers if n in some) for some in (used, called))
    return Traced(next(in_order), first, heads[-1], logits, next(in_order), images)


def _used(layers: dict[str, nn.Module], reached: set[str], weights: list[Tensor]) -> set[str]:
    """The layers that were reached by their outputs, or by a weight."""
    ids = {id(p) for p in weights}
    return {n for n, layer in layers.items() if n in reached or any(id(p) in ids for p in layer.parameters(False))}


def _more(shape: Shape) -> Iterator[tuple[Tensor, int]]:
    """62 images of `shape` (C, H, W) in batches, and by how many places the rows of all weights are turned for each:
    noise at full contrast and at a tenth of it about a grey, one grey each, and squares of black and white."""
    generator = torch.Generator().manual_seed(1)
    c, h, w = shape
    for turn in range(8):
        n = 2 - (turn > 5)
        noise = torch.rand(n, c, h, w, generator=generator)
        grey = torch.linspace(0, 1, 8)[turn].expand(2, c, h, w)
        faint = torch.rand(2, c, 1, 1, generator=generator) * 0.9 + 0.1 * torch.rand(2, c, h, w, generator=generator)
        squares = torch.rand(2, c, 4, 4, generator=generator).round()
        yield torch.cat([noise, grey, faint, nn.functional.interpolate(squares, size=(h, w))]), turn


@contextmanager
def _turned(net: Net, places: int) -> Iterator[None]:
    """The net, with gradients on, whose weights have their rows turned: where it chooses by its outputs, it then
    chooses others. They are put back."""
    kept = {p: p.detach().clone() for p in net.parameters() if places and p.ndim}
    try:
        with torch.no_grad():
            for p, before in kept.items():
                p.copy_(before.roll(places, 0))
        with torch.enable_grad():
            yield
    finally:
        with torch.no_grad():
            for p, before in kept.items():
                p.copy_(before)


def _headless(net: Net, others: list[str], raw: list[str]) -> str:
    """Why there is no head, in words."""
    if others:
        kind = type(net.body.get_submodule(others[0])).__name__
        why = f"{others[0]}, of type {kind}, makes the logits"
    elif raw:
        why = f"the parameter {raw[0]} makes the logits, without a call of a layer"
    else:
        why = "its logits have no gradient to the weights of any (are they detached?)"
    return (
        f"it has no head: a Linear or Conv2d layer must be the last one with weights that the logits come from; {why}"
    )


@contextmanager
def followed(net: Net) -> Iterator[None]:
    """The net in eval mode with gradients to all parameters; modes, flags and statistics are put back as found."""
    modes = {module: module.training for module in net.modules()}
    flags = {p: p.requires_grad for p in net.parameters()}
    kept = {b: b.clone() for b in net.buffers()}
    try:
        net.eval()
        for p in flags:
            p.requires_grad_(p.is_floating_point() or p.is_complex())
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for p, flag in flags.items():
            p.requires_grad_(flag)
        with torch.no_grad():
            for b, before in kept.items():
                b.copy_(before)


@contextmanager
def _watched(net: Net, layers: dict[str, nn.Module]) -> Iterator[_Seen]:
    """What the layers, and other modules with weight matrices of their own that call no layer, give in a pass."""
    seen = _Seen({}, [], {})
    begun: dict[str, int] = {}
    hooks = []

    def leave(name: str, out: Any) -> None:
        part = out[0] if isinstance(out, tuple) else out
        if not isinstance(part, Tensor) or part.grad_fn is None:
            return
        if name in layers:
            seen.calls.append(name)
            seen.shapes[name] = part.shape
        elif begun[name] != len(seen.calls):
            return
        seen.made[part.grad_fn] = name

    for name, module in net.body.named_modules():
        if name in layers or (name and any(p.ndim > 1 for p in module.parameters(recurse=False))):
            hooks.append(
                module.register_forward_pre_hook(lambda m, given, name=name: begun.update({name: len(seen.calls)}))
            )
            hooks.append(module.register_forward_hook(lambda m, given, out, name=name: leave(name, out)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _reached(out: Tensor, made: dict[Any, str], *, stop: bool) -> tuple[set[str], list[Tensor]]:
    """The modules whose outputs, and the parameters that, `out` depends on; with `stop` not through another module."""
    names, weights, waiting, known = set[str](), list[Tensor](), [out.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if node in made:
            names.add(made[node])
            if stop:
                continue
        if (leaf := getattr(node, "variable", None)) is not None:
            weights.append(leaf)
        waiting += [before for before, _ in node.next_functions]
    return names, weights
