"""Samples that no perturbation can fool: linear lower bounds of the logit margins over ball and box.

CROWN (Zhang et al. 2018): every ReLU whose input can change sign lies between two lines, so that a margin is bounded
from below by a linear function of the pixels, whose minimum over the ball is exact. Sound for the net as float32
computes it: the arithmetic here is float64, and the largest rounding error that the forward pass can make is
subtracted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.nets.net import LowRankLinear, Net, is_quantized

TOLERANCE = 1e-6  # attacks may overstep the ball by float32 rounding; so does what is certified
UNIT = 2.0**-24  # float32 unit round-off
ENTRIES = 2**24  # float64 entries of the largest intermediate: samples are taken in parts that respect it


@dataclass(frozen=True)
class Affine:
    """z = W h + b in float64; `size` bounds |W| entry by entry as the net multiplies it out, `terms` counts a sum."""

    W: Tensor
    b: Tensor
    size: Tensor
    terms: int


@dataclass(frozen=True)
class Region:
    """Ball and box around samples x (n, D): per-pixel bounds, and for l_2 the radius."""

    x: Tensor
    low: Tensor
    high: Tensor
    radius: float | None

    def minimum(self, A: Tensor) -> Tensor:
        """A lower bound of min A z over the region, A (n, m, D) or shared (m, D) -> (n, m); exact for l_inf.

        l_2: the larger of the minima over ball and box, where the ball leaves out directions that the box forbids.
        """
        least = _dot(A, (self.low + self.high) / 2) - _dot(A.abs(), (self.high - self.low) / 2)
        if self.radius is None:
            return least
        down, up = A.clamp_min(0).square(), A.clamp_max(0).square()
        free = _dot(down, (self.x > 0).to(A)) + _dot(up, (self.x < 1).to(A))
        return torch.maximum(least, _dot(A, self.x) - self.radius * free.sqrt())


def _dot(A: Tensor, v: Tensor) -> Tensor:
    """A v sample by sample, A (n, m, D) or one (m, D) for all, v (n, D) -> (n, m)."""
    return v @ A.T if A.ndim == 2 else (A @ v[:, :, None])[:, :, 0]


@torch.no_grad()
def safe(model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """The mask (N,) of samples whose label is predicted everywhere in the ball; False means not proven.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units. See `margins` for models, cost and errors.
    """
    return margins(model, x, y, eps, norm) > 0


@torch.no_grad()
def margins(model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """A lower bound (N,) of z_y - max_{j != y} z_j over ball and box, rounding errors taken off; float64.

    For a Net whose body is Linear or LowRankLinear layers with ReLU between them, of any depth; exact up to rounding
    without hidden layers. One product of (classes x width) x pixels per sample with one hidden layer; from the second
    on, each hidden layer takes (2 width x width) x pixels per sample, as much as hundreds of gradient steps.
    Raises TypeError naming a layer that is not handled, ValueError naming an argument out of range.
    """
    ball.check(x, y, eps, norm)
    layers = affine_layers(model, x[:1])
    widest = max([layers[-1].W.shape[0], *(2 * layer.W.shape[0] for layer in layers[1:-1])])
    part = max(1, ENTRIES // (widest * max(layer.W.shape[1] for layer in layers)))
    pairs = zip(x.split(part), y.split(part), strict=True)
    bounds = [_margins(layers, a.double().flatten(1), b, eps, norm) for a, b in pairs]
    return torch.cat(bounds)


def affine_layers(model: nn.Module, x: Tensor) -> list[Affine]:
    """The net's affine maps with a ReLU between each two, the normalisation folded into the first; TypeError if not."""
    if not isinstance(model, Net) or not isinstance(model.body, nn.Sequential) or model.size:
        raise TypeError(f"a certificate needs a Net around a Sequential body, got {type(model).__name__}")
    if coarse := [p.dtype for p in model.parameters() if torch.finfo(p.dtype).eps > 2 * UNIT]:
        raise TypeError(f"a certificate counts float32's roundings, the net's are coarser ({coarse[0]})")
    layers: list[Affine] = []
    active = True
    for layer in model.body:
        if is_quantized(layer):
            raise TypeError("a certificate does not handle quantized activations")
        if isinstance(layer, (nn.Linear, LowRankLinear)) and active:
            layers.append(_affine(layer))
            active = False
        elif isinstance(layer, nn.ReLU) and not active:
            active = True
        elif not isinstance(layer, (nn.Flatten, nn.Identity)):
            raise TypeError(f"a certificate handles Linear layers with a ReLU between each two, got {layer}")
    if active:
        raise TypeError("a certificate needs a net that ends in a Linear layer")
    std = model.std.double().expand_as(x).flatten()
    mean = model.mean.double().expand_as(x).flatten()
    first = layers[0]
    # (x - mean) / std rounds twice; both roundings are relative to |x - mean| / std <= (1 + |mean|) / std
    size = first.size / std
    layers[0] = Affine(first.W / std, first.b - first.W @ (mean / std), size * (1 + mean.abs()), first.terms + 2)
    return layers


def _affine(layer: nn.Linear | LowRankLinear) -> Affine:
    if isinstance(layer, LowRankLinear):
        A, B = layer.A.double(), layer.B.double()
        W, size, terms = A @ B, A.abs() @ B.abs(), sum(layer.B.shape)
    else:
        W = layer.weight.double()
        size, terms = W.abs(), W.shape[1]
    b = torch.zeros_like(W[:, 0]) if layer.bias is None else layer.bias.double()
    return Affine(W, b, size, terms + 1)


def _margins(layers: list[Affine], x: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    reach = eps + TOLERANCE
    region = Region(x, (x - reach).clamp_min(0), (x + reach).clamp_max(1), reach if norm == "l2" else None)
    lines: list[tuple[Tensor, Tensor, Tensor]] = []
    error, largest = torch.zeros_like(x), torch.ones_like(x)
    for k, layer in enumerate(layers[:-1]):
        eye = torch.eye(len(layer.W), dtype=x.dtype, device=x.device)
        below = _lower(layers[: k + 1], lines, torch.cat([eye, -eye]), region)
        low, high = below[:, : len(eye)], -below[:, len(eye) :]
        error = _error(layer, error, largest)
        largest = torch.maximum(high, -low).clamp_min(0) + error
        lines.append(_lines(low - error, high + error))
    head = layers[-1]
    error = _error(head, error, largest)
    classes = torch.eye(len(head.W), dtype=x.dtype, device=x.device)
    C = classes[y][:, None] - classes[None]
    bound = _lower(layers, lines, C, region) - error - error.gather(1, y[:, None])
    return bound.scatter(1, y[:, None], torch.inf).amin(1)


def _error(layer: Affine, error: Tensor, largest: Tensor) -> Tensor:
    """The rounding error of a layer's outputs (n, out), given that of its inputs and the inputs' largest size.

    A sum of `terms` products is off by at most g sum |w h|, g = terms u / (1 - terms u), in any order (Higham 2002,
    section 3.1); 1e-12 more covers the float64 arithmetic of the bounds themselves.
    """
    g = layer.terms * UNIT / (1 - layer.terms * UNIT) + 1e-12
    return (error + g * (largest + error)) @ layer.size.T + g * layer.b.abs()


def _lines(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """relu(z) >= a z and relu(z) <= s z + t on [low, high]: the slopes a, s and the shift t, each (n, width)."""
    s = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / (high - low).clamp_min(1e-300)))
    t = torch.where((low < 0) & (high > 0), -s * low, 0.0)
    a = torch.where((low < 0) & (high > 0), (high > -low).to(s), s)
    return a, s, t


def _lower(layers: list[Affine], lines: list[tuple[Tensor, Tensor, Tensor]], C: Tensor, region: Region) -> Tensor:
    """A lower bound (n, m) of C z, z the outputs of the last of `layers`, carried back to pixels layer by layer.

    C is (n, m, out), or (m, out) for all samples.
    """
    A, shift = C @ layers[-1].W, C @ layers[-1].b
    for layer, (a, s, t) in zip(reversed(layers[:-1]), reversed(lines), strict=True):
        above, below = A.clamp_min(0), A.clamp_max(0)
        shift = shift + _dot(below, t)
        A = above * a[:, None] + below * s[:, None]
        shift = shift + A @ layer.b
        A = A @ layer.W
    return region.minimum(A) + shift
