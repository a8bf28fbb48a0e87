"""What each stage does to the state of a trial: generators that yield whenever the trial could pause."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from study import train as training
from study.compression import factorize as factors
from study.compression import prune
from study.config import Ascend, Build, Factorize, Gaussian, Load, Plant, Train, seed_for
from study.data import load
from study.models import build
from study.rows import row
from study.state import StageFunction, State
from study.theory.ascent import ascend
from study.theory.compressibility import row_l1, singular_values


def _load(state: State, config: Load) -> Iterator[State]:
    state.data = load(config, state.seed)
    yield state


def _build(state: State, config: Build) -> Iterator[State]:
    assert state.data is not None
    statistics = (state.data.mean, state.data.std)
    state.net = build(config, state.data.shape, state.data.classes, statistics, seed_for(state.seed, "weights"))
    state.net.to(state.device)
    yield state


def _factorize(state: State, config: Factorize) -> Iterator[State]:
    assert state.net is not None
    state.net = factors.factorize(state.net, config.rank, seed_for(state.seed, "factors")).to(state.device)
    yield state


def _train(state: State, config: Train) -> Iterator[State]:
    assert state.net is not None
    assert state.data is not None
    state.progress = training.start(state.net, config)
    if state.resume is not None and state.resume["stage"] == state.stage:
        _restore(state, state.resume)
    for progress in training.epochs(state.net, state.data, config, seed_for(state.seed, "training"), state.progress):
        state.diverged = progress.diverged
        yield state


def _plant(state: State, config: Plant) -> Iterator[State]:
    assert state.net is not None
    state.net = prune.plant(state.net, config.structure, config.strength)
    yield state


def _gaussian(state: State, config: Gaussian) -> Iterator[State]:
    generator = torch.Generator().manual_seed(seed_for(state.seed, "matrix"))
    state.matrix = torch.randn(config.rows, config.columns, generator=generator, dtype=torch.float64)
    yield state


def _ascend(state: State, config: Ascend) -> Iterator[State]:
    assert state.matrix is not None
    first: dict[str, float] = {}
    p = {"linf": math.inf, "l2": 2.0}[config.norm]
    for step, W in enumerate(ascend(state.matrix, p, config.steps, config.step_size)):
        rows, spectrum = W.square().sum(dim=1), singular_values(W)
        now = {"linf": float(row_l1(W).max()), "l2": float(spectrum[0])}
        first = first or now
        energy = float(rows.sum())
        state.matrix = W
        state.history += [row("ascent_operator_norm", value, norm=norm, step=step) for norm, value in now.items()]
        state.history.append(row("largest_row_energy", float(rows.max()) / energy, step=step))
        state.history.append(row("largest_singular_energy", float(spectrum[0]) ** 2 / energy, step=step))
        yield state
    state.history += [row("operator_norm_growth", now[norm] / first[norm], norm=norm) for norm in now]


STAGES: dict[type, StageFunction] = {
    Load: _load,
    Build: _build,
    Factorize: _factorize,
    Train: _train,
    Plant: _plant,
    Gaussian: _gaussian,
    Ascend: _ascend,
}


def snapshot(state: State) -> dict[str, Any] | None:
    """A training stage's state as plain tensors, numbers and strings (safe to load with weights_only), else None.

    Random streams need no room in it: each epoch draws its own from the seed.
    """
    if state.progress is None or state.net is None:
        return None
    p = state.progress
    return {
        "stage": state.stage,
        "weights": state.net.state_dict(),
        "optimizer": p.optimizer.state_dict(),
        "epoch": p.epoch,
        "curves": p.curves,
        "best": [p.best_loss, p.best_epoch],
        "best_weights": p.best_weights,
        "norms": p.norms,
        "seconds": dict(state.seconds),
    }


def _restore(state: State, saved: dict[str, Any]) -> None:
    assert state.net is not None
    assert state.progress is not None
    p = state.progress
    state.net.load_state_dict(saved["weights"])
    p.optimizer.load_state_dict(saved["optimizer"])
    p.epoch, p.curves, p.norms = saved["epoch"], [tuple(c) for c in saved["curves"]], list(saved["norms"])
    p.best_loss, p.best_epoch = saved["best"]
    p.best_weights = saved["best_weights"]
    for kind, seconds in saved["seconds"].items():
        state.seconds[kind] = state.seconds.get(kind, 0.0) + seconds
