"""Which filters of a convolutional net go together, and their real removal: the one room of torch-pruning."""

import copy
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
Gone = dict[str, list[int]]  # of each layer and each BatchNorm behind one, by name: the places of the filters that go


def remove_filters(net: Net, ratio: float, shape: Shape) -> tuple[Net, Gone]:
    """A smaller copy of `net`, and what is gone: of each group of coupled filters max(1, round((1 - ratio) m)) stay.

    Filters that are added to each other (residual paths) are one: it goes from all layers of its group, a first
    convolution among them, and is ranked by the sum of their l_1 norms; a group without a hidden layer stays whole, and
    so does the head. What follows a filter goes with it, the channel of its BatchNorm too, so the outputs in eval mode
    are those of the net with these filters, their biases, and the weights and biases of these norm's channels at zero
    (`silenced`), not of one whose norms still hand on their shift. `shape` (C, H, W) is an image's. ValueError where
    the logits on two images of noise say otherwise, and for layers other than plain convolutions and linear.
    """
    for name, layer in nets.weighted(net).items():
        if not isinstance(layer, nets.WEIGHTED) or getattr(layer, "groups", 1) != 1:
            raise ValueError(f"filters can be removed from plain convolutions and linear layers, {name} is none")
    out = copy.deepcopy(net).eval()
    try:
        gone = _remove(out, ratio, shape)
    except ValueError:
        raise
    except Exception as error:  # what it meets in a net that it does not know is of every kind
        raise ValueError(f"filters cannot be removed: no coupling of them is found ({told(error)})") from None
    if missing := [name for name in net.hidden if ratio > 0 and name not in gone]:
        raise ValueError(f"filters of layer {missing[0]} cannot be removed: the net ties them to what must stay")
    try:
        equal = equal_outputs(out, silenced(net, gone).eval(), shape)
    except Exception as error:
        raise ValueError(
            f"filters cannot be removed: without some of them the net does not run ({told(error)})"
        ) from None
    if not equal:
        raise ValueError("filters cannot be removed: a channel of zeros is not without effect in this net")
    for mine, before in zip(out.modules(), net.modules(), strict=True):
        mine.training = before.training
    for W, old in zip(out.parameters(), net.parameters(), strict=True):
        W.requires_grad_(old.requires_grad)
    return out, gone


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


def _remove(net: Net, ratio: float, shape: Shape) -> Gone:
    """Remove in place; which places went."""
    names = {module: name for name, module in net.body.named_modules()}
    head, gone = nets.head(net), Gone()
    with torch.enable_grad():  # couplings are read off the graph of gradients
        graph = torch_pruning.DependencyGraph()
        image = torch.zeros(1, *shape, device=net.mean.device)
        graph.build_dependency(net, image, forward_fn=_all_outputs, verbose=False)
    groups = list(graph.get_all_groups(ignored_layers=[head], root_module_types=list(nets.WEIGHTED)))
    for group in groups:
        made = [(d.target.module, places) for d, places in group if graph.is_out_channel_pruning_fn(d.handler)]
        layers = [m for m, _ in made if isinstance(m, nets.WEIGHTED)]
        if not any(names[m] in net.hidden for m in layers):
            continue
        nu = torch.stack([row_l1(nets.matrix(m).detach()) for m in layers]).sum(0)
        kept = largest_rows(nu, layerwise({"": nu}, 1 - ratio)[""])
        for m in [m for m, _ in made if m in names and not isinstance(m, FOLLOWING)]:
            why = "norms them together" if isinstance(m, MIXING) else "is added to them"
            which, it = names[layers[0]], f"{names[m]} ({type(m).__name__})"
            raise ValueError(f"filters of {which} cannot be removed: {it} {why}")
        dead = sorted(set(range(len(nu))) - set(kept.tolist()))
        gone |= {names[m]: dead for m, _ in made if m in names}
        if dead:
            root = layers[0]
            graph.get_pruning_group(root, graph.get_pruner_of_module(root).prune_out_channels, dead).prune()
    return gone
