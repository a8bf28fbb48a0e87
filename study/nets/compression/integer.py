"""A net quantized to 8 bits on integer kernels: what the simulation stands for, in oneDNN's own 8-bit arithmetic.

Codes of weights and activations are those of the simulation. Products are summed in 32-bit integers and scaled once; an
output goes to float32, or straight to the levels of the layer that reads it alone. Sums are so exact, and only a value
that lies on the edge between two levels, to float32's rounding, may fall to the other one. The kernels are those that
torch.compile lowers quantized nets to; tensors of torch's quantized types (torch.quint8) are deprecated.
"""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from study.nets import hooks
from study.nets import net as nets
from study.nets.compression.packing import quotients
from study.nets.compression.quantize import InputQuantizer, bits_of
from study.nets.net import Net

BITS = 8
SHAPING = (nn.Flatten, nn.Identity, nn.Dropout)  # leave every number as it is, in eval mode


class IntegerLayer(nn.Module):
    """A quantized Linear or Conv2d layer: float32, or levels (uint8) of its own input quantizer, to float32 or levels.

    `relu` is applied before the output is rounded to the levels of `out`, where that is given.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        made: Any = layer
        quantizer = made.parametrizations.weight[0]
        self.input: InputQuantizer = made.input_quantizer
        self.out: InputQuantizer | None = None
        self.relu = False
        rows = layer.weight.shape[0]
        scales = quantizer.scales(made.parametrizations.weight.original).float()
        self.codes = quotients(layer.weight, scales).to(torch.int8).contiguous()
        self.scales = scales.expand(rows).contiguous()  # a scale of each row, of all rows the same where there is one
        self.zeros = torch.zeros(rows, dtype=torch.int32)
        self.bias = torch.zeros(rows) if layer.bias is None else layer.bias.detach().float().clone()
        self.how = None
        if isinstance(layer, nn.Conv2d):
            self.how = ([*layer.stride], [*layer.padding], [*layer.dilation], layer.groups)
        self.packed: Tensor | None = None

    def fold(self, norm: nn.BatchNorm2d) -> bool:
        """Take up the BatchNorm that reads this layer alone, if its gains are positive; whether they are."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gains = (norm.running_var.double() + norm.eps).rsqrt()
        gains, shift = (gains * norm.weight.double(), norm.bias.double()) if norm.affine else (gains, 0.0)
        if not bool((gains > 0).all()):
            return False
        self.bias = ((self.bias.double() - norm.running_mean.double()) * gains + shift).float()
        self.scales = (self.scales.double() * gains).float()
        return True

    def pack(self, shape: tuple[int, ...]) -> None:
        """Lay the weights out for the kernel, for inputs of about this shape."""
        if self.how:
            x = (self.input.scale, self.input.zero)
            self.packed = torch.ops.onednn.qconv_prepack(self.codes, self.scales, *x, *self.how, list(shape))
        else:
            self.packed = torch.ops.onednn.qlinear_prepack(self.codes, list(shape))

    def levels(self, x: Tensor) -> Tensor:
        """x as the numbers of its levels, uint8: InputQuantizer's arithmetic."""
        made = (x * self.input.inverse).round_().add_(self.input.zero).clamp_(0, self.input.top)
        return made.to(torch.uint8)

    def forward(self, x: Tensor) -> Tensor:
        q = self.levels(x) if x.is_floating_point() else x
        if self.packed is None:
            self.pack(tuple(q.shape))
        given = (q, self.input.scale, self.input.zero, self.packed, self.scales, self.zeros, self.bias)
        then: tuple[Any, ...] = (*self._out(), "relu" if self.relu else "none", [], "")
        if self.how:
            return torch.ops.onednn.qconv2d_pointwise(*given, *self.how, *then)
        return torch.ops.onednn.qlinear_pointwise(*given, *then)

    def _out(self) -> tuple[float, int, torch.dtype]:
        if self.out is None:
            return 1.0, 0, torch.float32
        return self.out.scale, self.out.zero, torch.uint8


@torch.no_grad()
def integer(net: Net) -> Net | None:
    """A copy of `net` on integer kernels, in eval mode on the CPU; None where it, or this torch, has none.

    Every layer with weights but the first must be a Linear or Conv2d layer (padded with zeros) with weights and inputs
    of 8 bits; the first reads the image in float32, as it does in the simulation. BatchNorms that read one such layer
    alone go into its scales. None too where modules have hooks, and where torch.fx cannot read the forward pass: it may
    not look at numbers.
    """
    if not hasattr(torch.ops.onednn, "qconv2d_pointwise") or net.mean.device.type != "cpu":
        return None
    if any(hooks.theirs(m) for m in net.body.modules()):
        return None
    first, *rest = nets.weighted(net).values()
    if not rest or not _plain(first) or not all(_plain(m) and hasattr(m, "input_quantizer") for m in rest):
        return None
    out = copy.deepcopy(net).eval()
    for i, (name, layer) in enumerate(nets.weighted(out).items()):
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        parent, _, child = name.rpartition(".")
        setattr(out.body.get_submodule(parent), child, IntegerLayer(layer) if i else _float(layer))
    try:
        graph = _Tracer().trace(out.body)
    except Exception:  # what a forward pass raises when it is given a proxy is its own affair
        return None
    out.body = fx.GraphModule(out.body, _fused(out.body, graph))
    return out.requires_grad_(False)


def _plain(layer: nn.Module) -> bool:
    """Whether it is a layer of one tensor at 8 bits, without a frame of pixels."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)) or bits_of(layer) != BITS:
        return False
    return not isinstance(layer, nn.Conv2d) or (layer.padding_mode == "zeros" and not isinstance(layer.padding, str))


def _float(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """The layer with its weights as plain numbers. (A parametrization cannot be taken off a copy: the two share a
    class, and the first would lose its weights.)"""
    new: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Linear):
        new = nn.Linear(layer.in_features, layer.out_features, bias=False)
    else:
        how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
        new = nn.Conv2d(layer.in_channels, layer.out_channels, *how, bias=False)  # type: ignore[arg-type]
    new.weight, new.bias = nn.Parameter(layer.weight.detach().clone()), layer.bias
    return new


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return isinstance(m, IntegerLayer) or super().is_leaf_module(m, name)


def _fused(body: nn.Module, graph: fx.Graph) -> fx.Graph:
    """The graph with BatchNorm and ReLU behind an integer layer in that layer, and its output on the levels of those
    that read it, where these are the same."""
    made = dict(body.named_modules())

    def module(node: fx.Node) -> nn.Module | None:
        return made[str(node.target)] if node.op == "call_module" else None

    calls = [node.target for node in graph.nodes]
    for node in list(graph.nodes):
        layer = module(node)
        if not isinstance(layer, IntegerLayer) or calls.count(node.target) > 1:
            continue
        user = _only_user(node)
        norm = module(user) if user else None
        if user and isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and layer.fold(norm):
            _skip(graph, user, node)
            user = _only_user(node)
        if user and (isinstance(module(user), nn.ReLU) or user.target in (torch.relu, nn.functional.relu)):
            layer.relu = True
            _skip(graph, user, node)
            user = _only_user(node)
        last = node
        while user and isinstance(module(user), SHAPING):
            last, user = user, _only_user(user)
        readers = [module(reader) for reader in last.users]
        inputs = [reader.input for reader in readers if isinstance(reader, IntegerLayer)]
        if inputs and len(inputs) == len(readers) and len({(q.scale, q.zero, q.top) for q in inputs}) == 1:
            layer.out = inputs[0]
    graph.lint()
    return graph


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _skip(graph: fx.Graph, node: fx.Node, before: fx.Node) -> None:
    node.replace_all_uses_with(before)
    graph.erase_node(node)
