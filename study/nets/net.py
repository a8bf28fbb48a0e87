"""The shell around every network: pixels in [0, 1] go in, normalisation is its first layer, and it knows its layers."""

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from study.nets import hooks, outputs
from study.nets.factored import FactoredConv2d

WEIGHTED = (nn.Linear, nn.Conv2d)


class Net(nn.Module):
    """A network body behind normalisation (and, where asked, enlargement to `size` x `size` with three channels).

    `hidden` names the body's layers that penalties, factorization and the structure measures act on: never the head.
    `masks` says, by name ("layer1.weight"), which entries of a weight tensor may differ from zero: study.nets.masks.
    Input (N, C, H, W) in [0, 1], output logits (N, classes) in the images' precision, read from what the body returns
    as study.nets.outputs says; `classes` 0 takes any tensor. TypeError naming what came back where there are none.

    Of a net of somebody's study.nets.own sets the rest: `order`, its layers with weights where the first of them is not
    the one that reads the image, or the last not the head; `resting`, the modules that its owner left in eval mode
    alone; `notes`, what a user is told of it; `bound`, why it cannot be trained; `channels_last` False, for it may call
    `view` on what convolutions give; `read`, its layers whose weights are read while they are never called. `beside`
    says which other weights lie in the file of those that it began with.
    """

    def __init__(
        self,
        body: nn.Module,
        mean: Iterable[float],
        std: Iterable[float],
        hidden: Iterable[str],
        size: int = 0,
        *,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.body = body
        self.hidden = tuple(hidden)
        self.size = size
        self.classes = classes
        self.order: tuple[str, ...] = ()
        self.resting: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.bound = ""
        self.beside = ""
        self.channels_last = True
        self.read: tuple[str, ...] = ()
        self.masks: dict[str, Tensor] = {}
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        if self.size:
            x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
            if x.shape[-1] != self.size:
                x = nn.functional.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=False)
        return outputs.logits(self.body(x), x, self.classes)


class LowRankLinear(nn.Module):
    """x -> A (B x): a linear layer held as two factors A (out x r) and B (r x in)."""

    def __init__(self, outputs: int, inputs: int, rank: int, bias: Tensor | None) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.empty(outputs, rank))
        self.B = nn.Parameter(torch.empty(rank, inputs))
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(nn.functional.linear(x, self.B), self.A, self.bias)


class LowRankConv2d(nn.Module):
    """A convolution as k x k to r channels without bias, then 1 x 1: factors A (out x r) and B (r x in*kh*kw).

    Of a grouped one each group's matrix has rank r: k x k in g groups to g r channels, then 1 x 1 in g groups; A is
    still (out x r), of each group its rows, and B (g r x in/g*kh*kw). A frame of pixels (padding_mode) is the first's.
    """

    def __init__(self, conv: nn.Conv2d, rank: int) -> None:
        super().__init__()
        inputs, (kh, kw) = conv.in_channels // conv.groups, conv.kernel_size
        self.kernel = (conv.groups * rank, inputs, kh, kw)
        self.A = nn.Parameter(torch.empty(conv.out_channels, rank))
        self.B = nn.Parameter(torch.empty(conv.groups * rank, inputs * kh * kw))
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone())
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.groups, self.padding_mode = conv.groups, conv.padding_mode
        self.frame = conv._reversed_padding_repeated_twice

    def forward(self, x: Tensor) -> Tensor:
        padding: str | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros":
            x, padding = nn.functional.pad(x, self.frame, mode=self.padding_mode), (0, 0)
        x = nn.functional.conv2d(x, self.B.view(self.kernel), None, self.stride, padding, self.dilation, self.groups)
        return nn.functional.conv2d(x, self.A[:, :, None, None], self.bias, groups=self.groups)

    def product(self) -> Tensor:
        """The matrix of the convolution that this one is, (out x in/g*kh*kw), differentiable."""
        parts = zip(self.A.chunk(self.groups), self.B.chunk(self.groups), strict=True)
        return torch.cat([A @ B for A, B in parts])


def layers(net: Net) -> dict[str, nn.Module]:
    """The hidden layers by name, in their order in the network."""
    return {name: net.body.get_submodule(name) for name in net.hidden}


def weighted(net: Net) -> dict[str, nn.Module]:
    """Every layer with weights by name, in the net's order: hidden ones, head, and a stem that is not hidden. The first
    reads the image, the last is the head."""
    kinds = (*WEIGHTED, LowRankLinear, LowRankConv2d, FactoredConv2d)
    found: dict[str, nn.Module] = {name: m for name, m in net.body.named_modules() if isinstance(m, kinds)}
    return {name: found[name] for name in net.order} if net.order else found


def head(net: Net) -> nn.Module:
    """The last layer with weights: known by its place, in a net of somebody's by what the logits depend on last."""
    return list(weighted(net).values())[-1]


@torch.no_grad()
def classes(net: Net, shape: tuple[int, int, int]) -> int:
    """How many logits the net has for images of `shape` (C, H, W): asked of one black image, in eval mode."""
    modes = {module: module.training for module in net.modules()}
    try:
        return int(net.eval()(torch.zeros(1, *shape, device=net.mean.device)).shape[1])
    finally:
        for module, mode in modes.items():
            module.training = mode


def is_quantized(layer: nn.Module) -> bool:
    """Whether a layer's weights are computed from others (nets.compression.quantize), not stored as used."""
    return parametrize.is_parametrized(layer)


def chain(net: Net) -> list[Tensor] | None:
    """The hidden matrices, first layer first, where the encoder is x -> relu(W_L relu(... W_1 (x - mean) / std)).

    None for any other net (convolutions, residual paths, biases, other activations, activations that are quantized,
    forward hooks, layers with a forward pass of their own):
    the bounds of a whole net hold for such a chain alone.
    """
    if any(is_quantized(layer) for layer in weighted(net).values()) or any(map(hooks.theirs, net.body.modules())):
        return None
    body = [*net.body] if isinstance(net.body, nn.Sequential) else []
    matrices = [m for m in body[1:-1:2] if isinstance(m, (nn.Linear, LowRankLinear)) and m.bias is None]
    if any(type(m).forward not in (nn.Linear.forward, LowRankLinear.forward) for m in matrices):
        return None
    if len({*matrices}) < len(matrices):  # a layer that is called again is one matrix by name, and several of the chain
        return None
    kinds = [nn.Flatten] + [nn.Linear, nn.ReLU] * len(matrices) + [nn.Linear]
    shaped = len(kinds) == len(body) and all(
        isinstance(m, kind) or (kind is nn.Linear and isinstance(m, LowRankLinear))
        for m, kind in zip(body, kinds, strict=True)
    )
    return [matrix(m).detach() for m in matrices] if shaped and matrices and not net.size else None


@torch.no_grad()
def features(net: Net, x: Tensor) -> Tensor:
    """The encoder's output, what the head is given: (N, C, H, W) in [0, 1] -> (N, d)."""
    seen: list[Tensor] = []
    hook = head(net).register_forward_pre_hook(lambda module, given: seen.append(given[0].flatten(1)))
    try:
        net(x)
    finally:
        hook.remove()
    return seen[0]


def matrix(layer: nn.Module) -> Tensor:
    """A layer's weights as one differentiable matrix: outputs (filters) x inputs (in*kh*kw)."""
    if isinstance(layer, FactoredConv2d) or (isinstance(layer, LowRankConv2d) and layer.groups > 1):
        return layer.product()
    if isinstance(layer, (LowRankLinear, LowRankConv2d)):
        return layer.A @ layer.B
    if isinstance(layer, WEIGHTED):
        return layer.weight.flatten(1)
    raise TypeError(f"no weight matrix in a layer of type {type(layer).__name__}")


def groups(layer: nn.Module) -> int:
    """How many blocks of rows a layer's matrix holds, each for inputs of its own: a grouped convolution's; else 1.

    As a map it has them on its diagonal: the singular values are those of all blocks, the norms of rows as they stand.
    """
    return layer.groups if isinstance(layer, (nn.Conv2d, LowRankConv2d)) else 1


def unstacked(W: Tensor, groups: int) -> Tensor:
    """The blocks of a matrix (m, n) as a stack (groups, m / groups, n), one alone as it is: each has a spectrum."""
    return W if groups == 1 else W.view(groups, -1, W.shape[1])


def weight_matrices(net: Net, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """The hidden weight matrices by name, of the layers in `names` alone where given; a fused q, k, v projection counts
    as three."""
    out: dict[str, Tensor] = {}
    for name, layer in layers(net).items():
        if names is not None and name not in names:
            continue
        W = matrix(layer)
        if name.endswith("qkv"):
            out |= {f"{name}.{part}": block for part, block in zip("qkv", W.chunk(3), strict=True)}
        else:
            out[name] = W
    return out


def frobenius(layer: nn.Module) -> float:
    """||W||_F of a layer; for factors through the r x r Gram matrices, never the full product."""
    with torch.no_grad():
        if isinstance(layer, (LowRankLinear, LowRankConv2d)):
            groups = layer.groups if isinstance(layer, LowRankConv2d) else 1
            parts = zip(layer.A.chunk(groups), layer.B.chunk(groups), strict=True)
            squares = torch.stack([((A.T @ A) * (B @ B.T)).sum() for A, B in parts])
            return float(squares.sum().clamp_min(0).sqrt())
        return float(torch.linalg.norm(matrix(layer)))


def _refuse_quantized(layer: nn.Module) -> None:
    if is_quantized(layer):
        raise TypeError("the weights of a quantized layer cannot be changed in place; change the net before quantizing")


def _behind(layer: nn.Module, name: str) -> nn.Parameter:
    return layer.get_parameter(f"parametrizations.{name}.original" if is_quantized(layer) else name)


@torch.no_grad()
def scale(layer: nn.Module, factor: float) -> None:
    """Multiply a layer's weights by `factor`, in place; each of n factors by its nth root. Biases stay.

    Of a quantized layer the weights behind: the scale of its levels follows them, so that all levels are multiplied.
    """
    if isinstance(layer, (LowRankLinear, LowRankConv2d)):
        _behind(layer, "A").mul_(factor**0.5)
        _behind(layer, "B").mul_(factor**0.5)
    elif isinstance(layer, FactoredConv2d):
        for name in layer.names:
            _behind(layer, name).mul_(factor ** (1 / len(layer.names)))
    elif isinstance(layer, WEIGHTED):
        _behind(layer, "weight").mul_(factor)
    else:
        raise TypeError(f"cannot scale a layer of type {type(layer).__name__}")


@torch.no_grad()
def scale_rows(layer: nn.Module, factors: Tensor) -> None:
    """Multiply row i of a layer's matrix, and its bias, by factors[i], in place; factors has shape (outputs,)."""
    _refuse_quantized(layer)
    rows: Tensor
    if isinstance(layer, (LowRankLinear, LowRankConv2d)):
        rows = layer.A
    elif isinstance(layer, FactoredConv2d):
        rows = layer.kernels()[-1]
    elif isinstance(layer, WEIGHTED):
        rows = layer.weight
    else:
        raise TypeError(f"cannot scale the rows of a layer of type {type(layer).__name__}")
    rows.mul_(factors.view(-1, *[1] * (rows.ndim - 1)))
    if layer.bias is not None:
        layer.bias.mul_(factors)


@torch.no_grad()
def set_matrix(layer: nn.Module, W: Tensor) -> None:
    """Overwrite a dense layer's weights with the matrix `W` (outputs x inputs), in place."""
    _refuse_quantized(layer)
    if not isinstance(layer, WEIGHTED):
        raise TypeError(f"cannot set the weights of a layer of type {type(layer).__name__}")
    layer.weight.copy_(W.view_as(layer.weight))
