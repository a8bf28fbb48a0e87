"""The stage that masks a net's weights: how much each layer keeps, by which rule, and which draw of it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from study.nets import masks
from study.nets.compression import mask, scores, tradeoff
from study.spec.config import Prune
from study.spec.identity import seed_for
from study.spec.rows import row
from study.trial.state import State

BATCHES, BATCH = 20, 100  # of the scores; paper B, appendix I, names the 20


def masked(state: State, config: Prune) -> Iterator[State]:
    """The net's weights masked, and how probable that was (State.keep); rows say what a trade-off said and is kept."""
    assert state.net is not None
    net = state.net
    shares: float | tuple[float, ...] = config.layers or config.keep_prob
    if config.lam > 0:
        chosen = _chosen(state, config)
        shares = chosen.keep
        said = zip(masks.maskable(net, config.on), chosen.said, strict=True)
        state.history += [row("said_keep_prob", p, layer=name) for name, p in said]
    scored = scores.taylor(net, _batches(state), config.on) if config.mask == "taylor" else None
    state.keep = mask.probabilities(net, shares, config.mask, budget=config.budget, on=config.on, scores=scored)
    purpose = f"mask {config.draw}" if config.draw else "mask"
    state.net = mask.draw(net, state.keep, seed_for(state.seed, purpose))
    state.history += [row("kept_share", float(m.mean()), layer=name) for name, m in state.net.masks.items()]
    yield state


def _chosen(state: State, config: Prune) -> tradeoff.Chosen:
    """What the trade-off lam says of each layer; E||x|| is that of the training images."""
    assert state.net is not None
    net, train = state.net, state.on().train
    size = 1.0
    if config.rule != "chebyshev":  # which does not depend on it
        norms = [((x.to(state.device) - net.mean) / net.std).flatten(1).norm(dim=1) for x, _ in train.batches(1000)]
        size = float(torch.cat(norms).double().mean())
    return tradeoff.shares(
        net, config.lam, config.floor, rule=config.rule, uniform=config.uniform, on=config.on, x_norm=size
    )


def _batches(state: State) -> Iterator[tuple[Tensor, Tensor]]:
    """Training images in an order of the seed, again from the start where they are few."""
    train = state.on().train
    generator = torch.Generator().manual_seed(seed_for(state.seed, "scores"))
    passes = math.ceil(BATCHES * BATCH / len(train))
    order = torch.cat([torch.randperm(len(train), generator=generator) for _ in range(passes)])
    for part in order[: BATCHES * BATCH].split(BATCH):
        x, y = train[part]
        yield x.to(state.device), y.to(state.device)
