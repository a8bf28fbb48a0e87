"""How far an attack moves the encoder's output, and along which directions of the first layer (paper A, 4.1)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from study.attacks import ball, memory
from study.attacks.apgd import apgd
from study.attacks.universal import random_perturbations
from study.nets.fold import folded
from study.nets.net import LowRankLinear, Net, features, layers, matrix, weighted
from study.nets.steady import steady, unsteady
from study.spec.attack_names import RANDOM, current
from study.spec.config import Representations
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.trial.state import State

MARGIN = 5.0  # to which the median image's logits are scaled


class Softened(nn.Module):
    """A net whose logits (N, K) are divided by one number."""

    def __init__(self, net: nn.Module, temperature: Tensor) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x) / self.temperature
        return logits


def representations(state: State, config: Representations) -> list[Row]:
    """representation_growth and, of a net whose first hidden layer is a Linear on the image, direction_alignment and
    direction_ratio, at the worst points of AutoPGD on the loss, and at random points of equal norm before they are cut
    off at the box (attack "random").

    The growth is the mean of ||z_adv - z||_2 / ||z||_2 over the test images whose z, the encoder's output, is not 0.
    For W = U S V^T, r = min(m, n) directions and a the perturbation as the layer is given it (divided by std), the
    alignment is the mean of |v_i^T a| / ||a||_2 over the images with a != 0: at k = i for the first of them, the mean
    over i <= max(1, round(share r)) at layer "top" and over the others at "rest" (none where there are none); the ratio
    is top / rest. At layer "isotropic" stands E |v^T u| of a uniform direction u in as many dimensions. Paper A expects
    top >> rest (4.1); images have a mean direction of their own, which random points cut off at the box share: hence
    these beside them. ValueError for a net of chance.
    """
    assert state.net is not None
    net = state.net.eval()
    x, y = (part.to(state.device) for part in state.on().test[:])
    if unsteady(net, x) == "chance":
        raise ValueError("representations: the encoder's output depends on chance; leave representations at 0")
    attacked = steady(folded(net, x[:8]), x, 0, 0)
    before = encoded(net, x)
    directions = first_directions(net, x)
    rows = []
    for eps in dict.fromkeys(config.eps):
        where = {"norm": config.norm, "eps": eps, "split": "test"}
        points = {
            current("native", "apgd"): worst_points(state, attacked, x, y, eps, config.norm, config.iterations),
            RANDOM: (x + random_perturbations(x, eps, config.norm, _stream(state, config.norm, eps))).clamp(0.0, 1.0),
        }
        for attack, point in points.items():
            rows += _growth(before, encoded(net, point), where | {"attack": attack})
            if directions is not None:
                given = ((point - x) / net.std).flatten(1)
                rows += _alignment(*directions, given, config, where | {"attack": attack})
        if directions is not None:
            n = directions[1].shape[1]
            rows.append(row("direction_alignment", isotropic(n), layer="isotropic", **where))
    return rows


def worst_points(state: State, net: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str, iterations: int) -> Tensor:
    """The points of highest loss that AutoPGD finds, (N, C, H, W), with all logits divided by one number, so that a
    factor of theirs, which can leave a float32 loss of exactly 0, is of no account."""
    net = Softened(net, ball.temperature(memory.logits(net, x), MARGIN).median())
    generator = torch.Generator().manual_seed(seed_for(state.seed, f"gap {norm} {eps!r}"))
    return apgd(net, x, y, eps, norm, iterations=iterations, goal="loss", generator=generator).worst


def encoded(net: Net, x: Tensor) -> Tensor:
    """The encoder's output (N, d) of images (N, C, H, W), so many at once as memory holds."""
    return torch.cat([features(net, part) for part in x.split(memory.images(net, x))])


@torch.no_grad()
def first_directions(net: Net, x: Tensor) -> tuple[str, Tensor] | None:
    """The name of the first hidden layer and its right singular vectors (r, n), largest value first, where it is a
    Linear that is given the normalised image and nothing else; None for any other net."""
    name, first = next(iter(weighted(net).items()))
    if name != next(iter(layers(net)), None) or not isinstance(first, (nn.Linear, LowRankLinear)):
        return None
    seen: list[Tensor] = []
    hook = first.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        net(x[:8])
    finally:
        hook.remove()
    image = ((x[:8] - net.mean) / net.std).flatten(1)
    if seen[0].shape != image.shape or not torch.equal(seen[0], image):
        return None
    W = matrix(first).detach().double()
    rank = min(*W.shape, first.A.shape[1]) if isinstance(first, LowRankLinear) else min(W.shape)
    return name, torch.linalg.svd(W, full_matrices=False).Vh[:rank]


def isotropic(n: int) -> float:
    """E |v^T u| = Gamma(n / 2) / (sqrt(pi) Gamma((n + 1) / 2)), v a fixed unit vector, u uniform on the sphere of R^n.

    >>> round(isotropic(1), 6), round(isotropic(2), 6)
    (1.0, 0.63662)
    """
    return math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)


def _stream(state: State, norm: str, eps: float) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(state.seed, f"representations random {norm} {eps!r}"))


def _growth(before: Tensor, after: Tensor, where: dict[str, Any]) -> list[Row]:
    size = before.double().norm(dim=1)
    there = size > 0
    grown = ((after.double() - before.double()).norm(dim=1)[there] / size[there]).tolist()
    return [row("representation_growth", sum(grown) / len(grown), n=len(grown), **where)] if grown else []


def _alignment(
    name: str, directions: Tensor, given: Tensor, config: Representations, where: dict[str, Any]
) -> list[Row]:
    given = given.double()
    length = given.norm(dim=1)
    moved = length > 0
    if not bool(moved.any()):
        return []
    aligned = ((given[moved] @ directions.T).abs() / length[moved, None]).mean(0)
    where = where | {"n": int(moved.sum())}
    top = max(1, round(config.share * len(aligned)))
    rows = [
        row("direction_alignment", float(value), layer=name, k=i, **where)
        for i, value in enumerate(aligned[: config.curve], 1)
    ]
    rows.append(row("direction_alignment", float(aligned[:top].mean()), layer="top", **where))
    if len(aligned) > top:
        rest = float(aligned[top:].mean())
        rows.append(row("direction_alignment", rest, layer="rest", **where))
        if rest > 0:
            rows.append(row("direction_ratio", float(aligned[:top].mean()) / rest, **where))
    return rows
