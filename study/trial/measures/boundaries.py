"""Predicted classes on two planes of principal components, of images and of their features (paper A, Figure 2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from study.attacks import memory
from study.nets.fold import folded
from study.nets.net import LowRankLinear, Net, head
from study.nets.steady import steady, unsteady
from study.spec.attack_names import current
from study.spec.config import Boundaries
from study.spec.rows import Row, row
from study.trial.measures.representations import encoded, worst_points
from study.trial.state import State

IMAGES = 1000  # that the principal components are taken of, at most
MARGIN = 0.1  # of the points' range, on each side of them


def boundaries(state: State, config: Boundaries) -> list[Row]:
    """What Figure 2 draws: boundary_class, boundary_extent, boundary_point and boundary_label.

    A plane is the mean plus the span of the first two principal components: of the test images (layer "input", cells
    classed by the net, which is given points outside of [0, 1] too) and of their features (layer "representation",
    cells classed by the head). It is a slice: an image's own class need not be that of the cell that it is projected
    to, so boundary_label has both the true class (layer "true") and the predicted one (layer "predicted"). The grid is
    kept as runs: a class holds from cell k (line by line from the bottom, each from the left) until the next row's k.
    The images are the first test images, the same for all nets of a seed. ValueError for a net of chance.
    """
    assert state.net is not None
    net = state.net.eval()
    x, y = (part.to(state.device) for part in state.on().test[:])
    if unsteady(net, x) == "chance":
        raise ValueError("boundaries: the encoder's output depends on chance; leave boundaries at 0")
    attacked = steady(folded(net, x[:8]), x, 0, 0)
    few, labels = x[: config.points], y[: config.points]
    points: dict[tuple[str, str, float], Tensor] = {("", "", 0.0): few}
    for norm, eps in config.budgets:
        worst = worst_points(state, attacked, few, labels, eps, norm, config.iterations)
        points[current("native", "apgd"), norm, eps] = worst
    rows = [row("boundary_label", float(label), layer="true", draw=i) for i, label in enumerate(labels)]
    for at, images in points.items():
        predicted = memory.logits(net, images).argmax(1)
        rows += [
            row("boundary_label", float(c), layer="predicted", draw=i, **_where(at)) for i, c in enumerate(predicted)
        ]
    for layer, encode, classify in _spaces(net, x.shape):
        rows += _plane(layer, encode(x[:IMAGES]), {at: encode(p) for at, p in points.items()}, classify, config.side)
    return rows


Encode = Callable[[Tensor], Tensor]  # images (N, C, H, W) -> points of a space (N, d)
Classify = Callable[[Tensor], Tensor]  # points (N, d) -> logits (N, K)


def _spaces(net: Net, shape: torch.Size) -> list[tuple[str, Encode, Classify]]:
    """Each space by name; that of the features where a Linear reads them."""
    last = head(net)
    found: list[tuple[str, Encode, Classify]] = [
        ("input", lambda x: x.flatten(1), lambda flat: memory.logits(net, flat.view(-1, *shape[1:])))
    ]
    if isinstance(last, (nn.Linear, LowRankLinear)):
        found.append(("representation", lambda x: encoded(net, x), last))
    return found


def _where(at: tuple[str, str, float]) -> dict[str, str | float]:
    attack, norm, eps = at
    return {"attack": attack, "norm": norm, "eps": eps} if attack else {}


@torch.no_grad()
def _plane(
    layer: str, cloud: Tensor, points: dict[tuple[str, str, float], Tensor], classify: Classify, side: int
) -> list[Row]:
    """The rows of one plane: that of the principal components of `cloud` (N, d)."""
    mean = cloud.mean(0)
    axes = torch.linalg.svd(cloud - mean, full_matrices=False).Vh[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # of the two signs, always the same
    flat = {at: (p - mean) @ axes.T for at, p in points.items()}
    every = torch.cat([(cloud - mean) @ axes.T, *flat.values()])
    low, high = every.amin(0), every.amax(0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    across, up = (torch.linspace(float(a), float(b), side).to(cloud) for a, b in zip(low, high, strict=True))
    grid = torch.cartesian_prod(up, across).flip(1)  # line by line
    classes = classify(mean + grid @ axes).argmax(1)
    starts = torch.cat([torch.ones(1, dtype=torch.bool, device=classes.device), classes[1:] != classes[:-1]]).nonzero()[
        :, 0
    ]
    ends = (low[0], high[0], low[1], high[1])
    rows = [row("boundary_extent", float(value), layer=layer, k=k) for k, value in enumerate(ends)]
    rows += [row("boundary_class", float(classes[k]), layer=layer, k=int(k), n=side * side) for k in starts]
    for at, place in flat.items():
        for i, pair in enumerate(place.tolist()):
            rows += [row("boundary_point", v, layer=layer, draw=i, k=k, **_where(at)) for k, v in enumerate(pair)]
    return rows
