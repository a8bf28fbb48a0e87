"""Layers that a training leaves alone: no gradient, no decay, no penalty, no projection, and statistics as they are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net
from study.nets.tied import twins

ENCODER = "encoder"


@dataclass(frozen=True)
class Frozen:
    """Parameters that keep their values, by id, and modules that run in eval mode (so that no statistic moves)."""

    parameters: frozenset[int] = frozenset()
    modules: tuple[nn.Module, ...] = ()

    def moving(self, net: Net) -> list[nn.Parameter]:
        """The parameters to be trained, in the net's order."""
        return [p for p in net.parameters() if id(p) not in self.parameters]

    def layers(self, net: Net, *, each: bool = False) -> dict[str, nn.Module]:
        """The hidden layers to be trained, by name; of several with one weight the first, or `each`."""
        same = {} if each else twins(net)
        return {
            name: layer
            for name, layer in nets.layers(net).items()
            if same.get(name) not in net.hidden
            and not any(id(W) in self.parameters for W in masks.stored(layer).values())
        }

    @contextmanager
    def held(self, net: Net) -> Iterator[None]:
        """The frozen parameters without gradients and their modules in eval mode; flags are put back."""
        held = [p for p in net.parameters() if id(p) in self.parameters and p.requires_grad]
        for module in self.modules:
            module.training = False
        for p in held:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in held:
                p.requires_grad_(True)


def frozen(net: Net, names: Sequence[str]) -> Frozen:
    """What the names of layers (or blocks of them) of the body hold, or all but the head for "encoder"; and what the
    net's owner froze: parameters with requires_grad=False, modules all of whose own are such, or left in eval mode.

    ValueError for a name that the body does not have, and where nothing would be left to train.
    """
    parameters = {id(p) for p in net.parameters() if not p.requires_grad}
    modules = [m for m in net.body.modules() if _still(m)]
    modules += [net.body.get_submodule(name) for name in net.resting]
    for name in names:
        if name == ENCODER:
            last = nets.head(net)
            parameters |= {id(p) for p in net.parameters()} - {id(p) for p in last.parameters()}
            modules += [m for m in net.body.modules() if not any(part is last for part in m.modules())]
            inside = set(last.modules())
            modules = [m for m in modules if m not in inside]
        else:
            part = _part(net, name)
            parameters |= {id(p) for p in part.parameters()}
            modules += list(part.modules())
    if parameters and all(id(p) in parameters for p in net.parameters()):
        what = f"freeze {', '.join(names)}" if names else "requires_grad=False of every weight"
        raise ValueError(f"{what} leaves nothing to train")
    return Frozen(frozenset(parameters), tuple(modules))


def _still(module: nn.Module) -> bool:
    """Whether a module has parameters of its own, and none of them asks for a gradient."""
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def _part(net: Net, name: str) -> nn.Module:
    known = [n for n, m in net.body.named_modules() if n and any(True for _ in m.parameters())]
    if name not in known:
        raise ValueError(f"freeze must name {ENCODER} or layers among {', '.join(known)}, got {name!r}")
    return net.body.get_submodule(name)
