"""What the last layers pass on of clean images and of their worst points: how far it moves, how far the two kinds mix,
and a t-SNE plane of both (paper C, section 6 and Figure 2)."""

from typing import Any

import torch
from torch import Tensor, nn

from study.attacks import ATTACKS, memory
from study.attacks.universal import random_perturbations
from study.nets.fold import folded
from study.nets.net import Net, weighted
from study.nets.steady import steady, unsteady
from study.spec.attack_names import RANDOM, current
from study.spec.config import FeatureMaps
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.trial.measures.representations import worst_points
from study.trial.state import State

PERPLEXITY = 30.0  # paper C, A.2


def feature_maps(state: State, config: FeatureMaps) -> list[Row]:
    """feature_shift and feature_overlap of each layer under the attack and under random perturbations of equal norm
    (attack "random", the floor), and feature_point and feature_perplexity, which Figure 2 draws.

    Layers are "input", the pixels, and the last ones by their place from the end: "last-2", "last-1" and "last" of
    three (see maps). The images are the first test images of the class, the same for all nets of a seed, whether the
    net knows them or not. ValueError for fewer than two of them, and for a net of chance.
    """
    assert state.net is not None
    net = state.net.eval()
    x, y = _images(state, config)
    if unsteady(net, x) == "chance":
        raise ValueError("feature_maps: the net's output depends on chance; leave feature_maps at 0")
    attack = current("native", config.attack)
    moved = {
        attack: _worst(state, steady(folded(net, x[:8]), x, 0, 0), x, y, config),
        RANDOM: (x + random_perturbations(x, config.eps, config.norm, _stream(state, config, "random"))).clamp(0, 1),
    }
    clean, after = maps(net, x, config.layers), {name: maps(net, p, config.layers) for name, p in moved.items()}
    rows = [row("feature_perplexity", perplexity(2 * len(x)), n=len(x))]
    for layer, h in clean.items():
        for name, found in after.items():
            at = {"layer": layer, "norm": config.norm, "eps": config.eps, "attack": name, "split": "test", "n": len(x)}
            rows.append(row("feature_overlap", overlap(h, found[layer], config.nearest), **at))
            if (far := shift(h, found[layer])) is not None:
                rows.append(row("feature_shift", far, **at))
        flat = plane(torch.cat([h, after[attack][layer]]), seed_for(state.seed, f"features plane {layer}"))
        where: dict[str, Any] = {"attack": attack, "norm": config.norm, "eps": config.eps}
        for i, pair in enumerate(flat.tolist()):
            at = {"layer": layer, "draw": i % len(x)} | (where if i >= len(x) else {})
            rows += [row("feature_point", v, k=k, **at) for k, v in enumerate(pair)]
    return rows


def _images(state: State, config: FeatureMaps) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,)."""
    test = state.on().test
    ours = torch.arange(len(test)) if config.label < 0 else (test.y == config.label).nonzero()[:, 0]
    x, y = test[ours[: config.images]]
    if len(y) < 2:
        of = "" if config.label < 0 else f" of class {config.label}"
        raise ValueError(
            f"feature_maps: {len(y)} test images{of} are too few, two are needed: raise test_size, or choose another "
            "feature_class"
        )
    return x.to(state.device), y.to(state.device)


def _worst(state: State, net: nn.Module, x: Tensor, y: Tensor, config: FeatureMaps) -> Tensor:
    """The points of highest loss that the configured attack finds, (N, C, H, W)."""
    if config.attack == "apgd":
        return worst_points(state, net, x, y, config.eps, config.norm, config.iterations)
    generator = _stream(state, config, config.attack)
    found = ATTACKS[config.attack](
        net, x, y, config.eps, config.norm, iterations=config.iterations, generator=generator
    )
    return found.worst


def _stream(state: State, config: FeatureMaps, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(state.seed, f"features {purpose} {config.norm} {config.eps!r}"))


@torch.no_grad()
def maps(net: Net, x: Tensor, layers: int = 3) -> dict[str, Tensor]:
    """What the last `layers` layers with weights make of images x (N, C, H, W), flattened: {place: (N, d) in float64}.

    Layers are known by their place from the end: "last" is the head, whose output are the logits, "last-1" the layer
    before it, and so on; of a net of 8 layers the last three are layers 6, 7 and 8, as paper C counts them. What a
    layer makes is what the next one is given (activation, norm, pooling, sum with a residual path included; of a
    quantized net on that one's levels); before them stands "input", the pixels themselves. A layer that no forward pass
    goes through is left out, and so are layers that the net does not have.
    """
    chain = list(weighted(net).values())[-layers:]
    given: dict[int, Tensor] = {}
    seen: dict[int, list[Tensor]] = {}

    def look(place: int) -> Any:
        return lambda module, args: given.__setitem__(place, args[0].flatten(1).double())

    behind = range(1, len(chain))  # each of these is given what the one before it makes
    hooks = [chain[i].register_forward_pre_hook(look(len(chain) - i)) for i in behind]
    try:
        for part in x.split(memory.images(net, x)):
            given[0] = net(part).double()
            for place, values in given.items():
                seen.setdefault(place, []).append(values)
    finally:
        for hook in hooks:
            hook.remove()
    places = {place: torch.cat(parts) for place, parts in sorted(seen.items(), reverse=True)}
    return {"input": x.flatten(1).double()} | {f"last-{p}" if p else "last": v for p, v in places.items()}


def shift(clean: Tensor, moved: Tensor) -> float | None:
    """mean_i ||h'_i - h_i|| over mean_{i != j} ||h_i - h_j||, of features h, h' (N, d): no factor of theirs counts.

    0 where nothing moves; None where something does and all clean images are one point.
    """
    far = float((moved - clean).norm(dim=1).mean())
    if far == 0.0:
        return 0.0
    apart = float(torch.pdist(clean).mean())
    return far / apart if apart > 0 else None


def overlap(clean: Tensor, moved: Tensor, nearest: int = 10) -> float:
    """How far two kinds of points, features (N, d) each, mix: 0 where they are two clusters, 1 where nothing tells them
    apart, up to 2 where each is among the other kind alone.

    Of the `nearest` neighbours of each of the 2N points (N - 1 where N is smaller) the share of the other kind, over
    1/2. A point's own partner, the same image under the attack or before it, is no neighbour of it: else a perturbation
    that moves nothing would show as mixing, and N - 1 of either kind are left, which is why random mixing gives 1/2.
    Of points that are equally far at the edge each counts for its part.
    """
    n = len(clean)
    count = min(nearest, n - 1)
    points = torch.cat([clean, moved])
    far = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    number = torch.arange(2 * n, device=points.device)
    far[number[:, None] % n == number % n] = torch.inf
    edge = far.kthvalue(count, dim=1).values[:, None]
    other = (number[:, None] >= n) != (number >= n)
    nearer, tied = far < edge, far == edge
    of_tied = (count - nearer.sum(1)).double() * (tied & other).sum(1) / tied.sum(1)
    share = ((nearer & other).sum(1) + of_tied) / count
    return float(share.mean()) / 0.5


def perplexity(points: int) -> float:
    """30, or a third of the other points where that is less: t-SNE takes only what is below their number.

    >>> perplexity(200), perplexity(61)
    (30.0, 20.0)
    """
    return min(PERPLEXITY, (points - 1) / 3)


def plane(points: Tensor, seed: int) -> Tensor:
    """Points (M, d) on scikit-learn's t-SNE plane, (M, 2): its learning rate "auto", begun at the first two principal
    components, repeatable by `seed`; points that are all the same stay at 0. Source: van der Maaten and Hinton 2008."""
    # they are slow to import, and most trials ask for no plane
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = points.cpu()
    size = torch.pdist(points).mean()
    if float(size) == 0.0:
        return torch.zeros(len(points), 2, dtype=torch.float64)
    scaled = nn.functional.pad(points / size, (0, max(0, 2 - points.shape[1]))).numpy()
    tsne = TSNE(perplexity=perplexity(len(points)), learning_rate="auto", init="pca", random_state=seed % 2**32)
    with threadpool_limits(1):  # sums over threads would make the picture depend on their number
        return torch.as_tensor(tsne.fit_transform(scaled), dtype=torch.float64)
