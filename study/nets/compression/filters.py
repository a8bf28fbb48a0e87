"""Which filters of a convolutional net go together, and their real removal: the one room of torch-pruning."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from study.nets import net as nets
from study.nets import outputs
from study.nets.compression.prune import equal_outputs, silenced
from study.nets.compression.shares import layerwise
from study.nets.net import Net
from study.spec.errors import told
from study.theory.compressibility import largest_rows, row_l1

Shape = tuple[int, int, int]
FOLLOWING = (*nets.WEIGHTED, nn.modules.batchnorm._NormBase, nn.PReLU)  # channel by channel: lose one and keep the rest
MIXING = (nn.GroupNorm, nn.LayerNorm)
VISITS, PLACES = 10, 2_000_000  # of one group: steps for each node of the graph, and places of channels in all
Gone = dict[str, list[int]]  # of each layer and each BatchNorm behind one, by name: the places of the filters that go


def remove_filters(net: Net, ratio: float, shape: Shape) -> tuple[Net, Gone]:
    """A smaller copy of `net`, and what is gone: of each group of coupled filters max(1, round((1 - ratio) m)) stay.

    Filters that are added to each other (residual paths) are one: it goes from all layers of its group, a first
    convolution among them, and is ranked by the sum of their l_1 norms; a group without a hidden layer stays whole, and
    so does the head. What follows a filter goes with it, the channel of its BatchNorm too, so the outputs in eval mode
    are those of the net with these filters, their biases, and the weights and biases of these norm's channels at zero
    (`silenced`), not of one whose norms still hand on their shift. `shape` (C, H, W) is an image's. ValueError
    naming the layer where the logits on two images of noise say otherwise, where what goes together is not found, and
    for layers other than plain convolutions and linear.
    """
    for name, layer in nets.weighted(net).items():
        if not isinstance(layer, nets.WEIGHTED) or getattr(layer, "groups", 1) != 1:
            raise ValueError(
                f"filters can be removed from plain convolutions and linear layers: {name} is {_kind(layer)}"
            )
    try:
        out, gone, order = _without(net, ratio, shape)
    except ValueError:
        raise
    except Exception as error:  # what it meets in a net that it does not know is of every kind
        raise ValueError(f"filters cannot be removed: no coupling of them is found ({told(error)})") from None
    if why := _unlike(out, net, gone, shape):
        raise ValueError(f"filters of {_culprit(net, ratio, shape, order)} cannot be removed: {why}")
    for mine, before in zip(out.modules(), net.modules(), strict=True):
        mine.training = before.training
    for W, old in zip(out.parameters(), net.parameters(), strict=True):
        W.requires_grad_(old.requires_grad)
    return out, gone


def _kind(layer: nn.Module) -> str:
    """What a layer is that can lose no filters, in words."""
    if not isinstance(layer, nn.Conv2d):
        return f"of type {type(layer).__name__}"
    return "depthwise" if layer.groups == layer.in_channels else f"a convolution in {layer.groups} groups"


def _unlike(out: Net, net: Net, gone: Gone, shape: Shape) -> str:
    """Why a smaller net is not the net with zeros in the places that are gone, in words; "" where it is."""
    try:
        equal = equal_outputs(out, silenced(net, gone).eval(), shape)
    except Exception as error:  # its own forward pass may raise anything
        return f"without some of them the net does not run ({told(error)})"
    return "" if equal else "a channel of zeros is not without effect in this net"


def _culprit(net: Net, ratio: float, shape: Shape, order: list[str]) -> str:
    """The first layer in `order`, that of removal, from whose filters on the smaller net is another: by halving."""
    right, wrong = 0, len(order)
    while wrong - right > 1:
        first = (right + wrong) // 2
        try:
            out, gone, _ = _without(net, ratio, shape, first)
            alike = not _unlike(out, net, gone, shape)
        except Exception:  # as with all of them
            alike = False
        right, wrong = (first, wrong) if alike else (right, first)
    return order[wrong - 1]


def _all_outputs(net: Net, x: Tensor) -> list[Tensor]:
    """The logits, and what else the body returns: an auxiliary head loses the inputs that are gone, too."""
    returned: list[Any] = []
    hook = net.body.register_forward_hook(lambda module, given, out: returned.append(out))
    try:
        logits = net(x)
    finally:
        hook.remove()
    beside = [] if isinstance(returned[0], Tensor) else outputs.tensors(returned[0])
    return [logits, *(t for t in beside if t.grad_fn is not None)]


class _Graph(torch_pruning.DependencyGraph):
    """Which channels go together, found in a bounded number of steps: where channels are split and joined again, it
    would follow them for ever. The bound counts steps, not seconds: no machine finds what another does not."""

    visits = places = 0
    root = ""  # the layer whose group is sought

    def follow(self) -> None:
        """Count from now on."""
        for node in self.module2node.values():
            for coupling in node.dependencies:
                coupling.index_mapping = _Counted(coupling.index_mapping, self)

    def get_pruning_group(self, module: nn.Module, pruning_fn: Any, idxs: Any) -> Any:
        """As the library's, of which this is the one way to a group."""
        self.visits = self.places = 0
        self.root = self._module2name[module].removeprefix("body.")
        return super().get_pruning_group(module, pruning_fn, idxs)

    def of(self, layer: nn.Module, places: list[int]) -> Any:
        """What goes together with these outputs of a layer."""
        return self.get_pruning_group(layer, self.get_pruner_of_module(layer).prune_out_channels, places)

    def losing(self, group: Any) -> dict[Any, list[int]]:
        """The modules and parameters that lose outputs with a group, and the places."""
        return {d.target.module: places for d, places in group if self.is_out_channel_pruning_fn(d.handler)}

    def pay(self, visits: int, places: int) -> None:
        """Count; ValueError where it is too much."""
        self.visits, self.places = self.visits + visits, self.places + places
        if self.visits > VISITS * len(self.module2node) or self.places > PLACES:
            raise ValueError(
                f"filters of {self.root} cannot be removed: no coupling of them is found, their channels are split and "
                "joined too often"
            )


class _Counted(list[Any]):
    """The maps of places along a coupling, each use of which is counted."""

    def __init__(self, maps: list[Any], graph: _Graph) -> None:
        super().__init__(maps)
        self.graph = graph

    def __iter__(self) -> Iterator[Any]:
        self.graph.pay(1, 0)
        return (each and self._counted(each) for each in super().__iter__())

    def _counted(self, each: Any) -> Any:
        def mapped(places: Any) -> Any:
            wider = 1 if getattr(each, "reverse", True) else getattr(each, "_stride", 1)
            self.graph.pay(0, len(places) * wider)
            return each(places)

        return mapped


def _without(net: Net, ratio: float, shape: Shape, first: int | None = None) -> tuple[Net, Gone, list[str]]:
    """A smaller copy in eval mode (of the first so many groups), which places went, and a layer of each group."""
    out = copy.deepcopy(net).eval()
    names = {module: name for name, module in out.body.named_modules()}
    slopes = {id(m.weight) for m in names if _one_slope(m)}  # no channel has one of its own
    for W in out.parameters():
        W.requires_grad_(W.is_floating_point() and id(W) not in slopes)
    with torch.enable_grad():  # couplings are read off the graph of gradients
        graph = _Graph()
        image = torch.zeros(1, *shape, device=out.mean.device)
        graph.build_dependency(out, image, forward_fn=_all_outputs, verbose=False)
    graph.follow()
    gone, order, roots = Gone(), list[str](), list[tuple[nn.Module, list[int]]]()
    for group in list(graph.get_all_groups(ignored_layers=[nets.head(out)], root_module_types=list(nets.WEIGHTED))):
        made = graph.losing(group)
        layers = [m for m in made if isinstance(m, nets.WEIGHTED)]
        hidden = [names[m] for m in layers if names[m] in out.hidden]
        if not hidden or len(order) == first:
            continue
        order.append(hidden[0])
        dead = _dead({names[m]: m for m in layers}, ratio)
        for m in [m for m in made if m in names and not isinstance(m, FOLLOWING)]:
            why = "normalises them together" if isinstance(m, MIXING) else "is added to them"
            it = f"{names[m]} ({type(m).__name__})"
            raise ValueError(f"filters of {hidden[0]} cannot be removed: {it} {why}")
        roots.append((layers[0], dead))
        for m, places in graph.losing(graph.of(layers[0], dead)).items() if dead else ((m, []) for m in made):
            if m not in names or _one_slope(m):
                continue
            own = {p for p in places if p < graph.get_out_channels(m)}  # maps of places may lead outside
            if m in layers and own != {*dead}:
                raise ValueError(f"filters of {names[m]} cannot be removed: they are tied to one another")
            gone[names[m]] = sorted(own.union(gone.get(names[m], ())))  # what reads joined channels is in many groups
    for name, layer in nets.layers(out).items() if first is None and ratio > 0 else ():
        if name not in gone:
            why = "the net ties them to what must stay"
            if layer not in graph.module2node:
                why = (
                    "it is never called, its weight is read" if name in net.read else "a black image does not reach it"
                )
            raise ValueError(f"filters of {name} cannot be removed: {why}")
    for root, dead in roots:
        if dead:
            graph.of(root, dead).prune()
    return out, gone, order


def _one_slope(module: Any) -> bool:
    """Whether it is a PReLU of one slope for all channels, which takes zero to zero and loses nothing."""
    return isinstance(module, nn.PReLU) and module.num_parameters == 1


def _dead(layers: dict[str, nn.Module], ratio: float) -> list[int]:
    """The filters that go from layers whose filters go together, those of least l_1 norm over all of them; ValueError
    where they are not equally many."""
    norms = {name: row_l1(nets.matrix(layer).detach()) for name, layer in layers.items()}
    (one, first), *others = norms.items()
    for name, other in others:
        if len(other) != len(first):
            raise ValueError(
                f"filters of {one} cannot be removed: its {len(first)} are tied to the {len(other)} of {name}, which "
                "are split, joined or turned into places"
            )
    nu = torch.stack([*norms.values()]).sum(0)
    kept = largest_rows(nu, layerwise({"": nu}, 1 - ratio)[""])
    return sorted(set(range(len(nu))) - set(kept.tolist()))
