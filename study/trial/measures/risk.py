"""How far a net's logits move within an l_2 ball, and how far they lie from those before its compression (paper B)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from study.attacks import ball, memory
from study.attacks.random_points import uniform_points
from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net
from study.spec.config import Risk
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.theory import pruning
from study.trial.measures import blocks
from study.trial.state import State


def risk(state: State, config: Risk) -> list[Row]:
    """risk_mean, risk_max and risk_worst per eps, fidelity, and their bounds, on the first `images` test images.

    d(z) = ||g(z) - g(x)||_2 of the net g's logits over {z in [0, 1] : ||z - x||_2 <= eps}: the mean over `points`
    uniform z, which paper B reports (section 6.2; it calls it unbiased for the supremum, below which it lies: erratum
    26), their largest, and the largest that gradient ascent finds from there; each a mean over images. fidelity is
    ||f(x) - g(x)||_2 with the net f before its compression (zeta of Definition 2).

    risk_bound is Theorem 2's gamma times eps, risk_bound_tight its form with the marginals of each weight,
    risk_tightness the former over risk_worst; fidelity_bound is Proposition 1's zeta in the form that holds for all
    probabilities, fidelity_bound_printed as printed. They bound expectations over masks, and stand there for bias-free
    ReLU chains whose weights are those of f under a mask alone (or f itself): no fine-tuning, no levels. Those of
    transformers are HEURISTIC: trial.measures.blocks. Beside that of a ViT's first block stand risk_mean, risk_max and
    risk_worst of that block's tokens (layer blocks.0).
    """
    assert state.net is not None
    data = state.on()
    x, _ = (part.to(state.device) for part in data.test[: config.images or None])
    net = state.net.eval()
    where = {"norm": "l2", "split": "test", "n": len(x)}
    terms = _terms(state, net)
    of_blocks, early = blocks.bounds(state, net, x.shape[1:]), blocks.first_block(net)
    std = float(net.std.min())
    rows: list[Row] = []
    for eps in dict.fromkeys(config.eps):
        generator = torch.Generator().manual_seed(seed_for(state.seed, f"risk {eps!r}"))
        found = moved(net, x, eps, config.points, config.iterations, generator)
        at = where | {"eps": eps}
        rows += found.rows(at)
        if terms is not None:
            bounds = {"": False, "_tight": True}
            gamma = {name: pruning.gamma_bound(*terms, eps / std, tight) for name, tight in bounds.items()}
            rows += [row(f"risk_bound{name}", value, **at) for name, value in gamma.items()]
            if (worst := float(found.worst.double().mean())) > 0:
                rows.append(row("risk_tightness", gamma[""] / worst, **at))
        for (name, layer), value in of_blocks.items():
            rows.append(row(name, eps / std * value, **at, **({"layer": layer} if layer else {})))
        if of_blocks and early is not None:
            generator = torch.Generator().manual_seed(seed_for(state.seed, f"risk {eps!r}"))
            there = moved(early[1], x, eps, config.points, config.iterations, generator)
            rows += there.rows(at | {"layer": early[0]})
    if state.teacher is not None:
        away = memory.logits(state.teacher, x) - memory.logits(net, x)
        rows.append(row("fidelity", float(ball.lengths(away, "l2").double().mean()), **where))
        if terms is not None:
            size = float(ball.lengths((x - net.mean) / net.std, "l2").double().mean())
            for name, form in (("fidelity_bound", "sharp"), ("fidelity_bound_printed", "paper")):
                rows.append(row(name, pruning.zeta_bound(*terms, size, form), **where))
    return rows


class Moved(NamedTuple):
    """How far the logits of each image move, (N,) each: on average, at most over the random points, at worst."""

    mean: Tensor
    max: Tensor
    worst: Tensor

    def rows(self, at: Mapping[str, Any]) -> list[Row]:
        """risk_mean, risk_max and risk_worst, means over images."""
        return [row(f"risk_{name}", float(value.double().mean()), **at) for name, value in self._asdict().items()]


def moved(net: nn.Module, x: Tensor, eps: float, points: int, iterations: int, generator: torch.Generator) -> Moved:
    """The distances of logits of images x (N, C, H, W) in [0, 1] within the l_2 ball of radius eps and the box, in
    logits. mean <= max <= worst for every image: the ascent begins at the random point that moves it most, its steps
    fall evenly from eps to 0, and the best point counts."""
    ball.check_counts(points=points, iterations=iterations)
    with ball.frozen(net):
        clean = memory.logits(net, x)
        total = torch.zeros(len(x), device=x.device)
        most, start = torch.full_like(total, -1.0), x.clone()
        for z in uniform_points(x, eps, "l2", points, generator):
            there = ball.lengths(memory.logits(net, z) - clean, "l2")
            total += there
            better = there > most
            most, start = torch.where(better, there, most), torch.where(ball.per_sample(better, x), z, start)
        size = memory.images(net, x)
        parts = zip(x.split(size), start.split(size), clean.split(size), strict=True)
        worst = torch.cat([_ascended(net, *part, eps, iterations) for part in parts])
    return Moved(total / points, most, torch.maximum(worst, most))


def _ascended(net: nn.Module, x: Tensor, start: Tensor, clean: Tensor, eps: float, iterations: int) -> Tensor:
    best, z = torch.zeros(len(x), device=x.device), start
    for i in range(iterations + 1):
        z = z.detach().requires_grad_(True)
        there = ball.lengths(net(z) - clean, "l2")
        best = torch.maximum(best, there.detach())
        if i < iterations:
            step = eps * (1 - i / iterations) * ball.steepest(torch.autograd.grad(there.sum(), z)[0], "l2")
            z = ball.into_box(x, z.detach() - x + step, eps, "l2")
    return best


def _terms(state: State, net: Net) -> tuple[list[Tensor], list[Tensor | float]] | None:
    """The matrices of f, first layer first, the head's last, and the probability of each weight to be kept; None where
    the bounds do not hold."""
    whole = state.teacher or net
    head = nets.head(whole)
    chain = nets.chain(whole)
    if chain is None or nets.chain(net) is None or not isinstance(head, nn.Linear) or head.bias is not None:
        return None
    weights, own = masks.weights(whole), masks.weights(net)
    if len(weights) != len(chain) + 1 or [*weights] != [*own]:
        return None  # low-rank factors: two tensors of a layer
    if any(W.shape != own[name].shape for name, W in weights.items()):
        return None  # rows went
    keep = state.keep if state.teacher is not None else {}
    masked = {name: W.detach() * net.masks[name] if name in net.masks else W.detach() for name, W in weights.items()}
    if not all(torch.equal(W, own[name]) for name, W in masked.items()):
        return None
    return [W.detach().cpu() for W in weights.values()], [keep[n].cpu() if n in keep else 1.0 for n in weights]
