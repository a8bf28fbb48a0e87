"""What each stage does to the state of a trial: generators that yield whenever the trial could pause."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch

from study.nets import heads, sources
from study.nets.build import build
from study.nets.compression import decompose, prune, quantize, recalibrate, remove
from study.nets.compression import factorize as factors
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import (
    Ascend,
    Build,
    Decompose,
    Factorize,
    Gaussian,
    Head,
    Interim,
    Load,
    Plant,
    Prune,
    Quantize,
    Recalibrate,
    Remove,
    Teacher,
    Train,
)
from study.spec.identity import seed_for
from study.spec.rows import row
from study.theory.ascent import ascend
from study.theory.compressibility import row_l1, singular_values
from study.trial import train as training
from study.trial.masked import masked
from study.trial.measures.accuracy import clean
from study.trial.state import StageFunction, State


def _load(state: State, config: Load) -> Iterator[State]:
    if config.name in state.datasets:
        which = repr(config.name) if config.name else "without a name"
        raise ValueError(f"a second data set {which}: give each Load but the trial's own a name of its own")
    state.datasets[config.name] = load(config, state.seed)
    state.data = state.datasets.get("")
    yield state


def _placed(net: Net, device: torch.device) -> Net:
    """The net on its device; on a GPU convolutions run channels last, which its tensor cores want, where they may."""
    net.to(device)
    return net.to(memory_format=torch.channels_last) if net.channels_last and _has_tensor_cores(device) else net


def _has_tensor_cores(device: torch.device) -> bool:
    return device.type == "cuda"


def _build(state: State, config: Build) -> Iterator[State]:
    data = state.on(config.on)
    sources.unchanged(config.model, config.source, "--model")
    begun = state.resume is None or not state.resume["trainings"]  # a snapshot of a training holds every weight
    seed = seed_for(state.seed, "weights")
    net = build(config, data.shape, data.classes, (data.mean, data.std), seed, begun=begun)
    state.net = _placed(net, state.device)
    yield state


def _factorize(state: State, config: Factorize) -> Iterator[State]:
    assert state.net is not None
    state.net = _placed(factors.factorize(state.net, config.rank, seed_for(state.seed, "factors")), state.device)
    yield state


def _train(state: State, config: Train) -> Iterator[State]:
    assert state.net is not None
    data = state.on(config.on)
    sources.unchanged(config.penalty, config.penalty_source, "penalty")
    nth = len(state.trainings)
    purpose = "training" if nth == 0 else f"training {nth}"
    progress = state.trainings[state.stage] = training.start(state.net, config, state.teacher)
    if state.resume is not None and nth < len(state.resume["trainings"]):
        _restore(state, state.resume, nth)
    if state.stage not in state.trained:
        for _ in training.epochs(state.net, data, config, seed_for(state.seed, purpose), progress):
            state.diverged = progress.diverged
            yield state
        if not state.diverged:
            state.trained[state.stage] = {name: W.detach().clone() for name, W in state.net.state_dict().items()}
    quantize.close(state.net)
    yield state


def _teacher(state: State, config: Teacher) -> Iterator[State]:
    assert state.net is not None
    state.teacher = copy.deepcopy(state.net).eval().requires_grad_(False)
    yield state


def _head(state: State, config: Head) -> Iterator[State]:
    assert state.net is not None
    assert state.data is not None
    fresh = heads.fresh(state.net, state.data.shape, state.data.classes, seed_for(state.seed, "head"))
    state.net = _placed(fresh, state.device)
    yield state


def _interim(state: State, config: Interim) -> Iterator[State]:
    assert state.net is not None
    state.history += clean(state.net, state.on(config.on), "test", config.on)
    yield state


def _remove(state: State, config: Remove) -> Iterator[State]:
    assert state.net is not None
    assert state.data is not None
    state.net = _placed(remove.remove_rows(state.net, config.ratio, state.data.shape), state.device)
    yield state


def _decompose(state: State, config: Decompose) -> Iterator[State]:
    assert state.net is not None
    seed = seed_for(state.seed, "factors")
    net, kept = decompose.decompose(state.net, config.ratio, config.method, seed, config.sweeps)
    state.net = _placed(net, state.device)
    state.history += [row("kept_share", share, layer=name) for name, share in kept.items()]
    yield state


def _recalibrate(state: State, config: Recalibrate) -> Iterator[State]:
    assert state.net is not None
    assert state.data is not None
    train = state.data.train
    # batches of all classes and of one size: each counts alike, and a folder's images lie class by class
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed_for(state.seed, "statistics")))
    parts = order.tensor_split(math.ceil(len(train) / 1000))
    state.net = recalibrate.recalibrate(state.net, (train[part][0].to(state.device) for part in parts))
    yield state


def _quantize(state: State, config: Quantize) -> Iterator[State]:
    assert state.net is not None
    assert state.data is not None
    images = (x.to(state.device) for x, _ in state.data.train.batches(1000))
    how = (config.granularity, config.one_bit)
    state.net = quantize.quantize(state.net, config.bits, images, *how, aware=config.aware)
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
    Teacher: _teacher,
    Head: _head,
    Interim: _interim,
    Remove: _remove,
    Decompose: _decompose,
    Prune: masked,
    Recalibrate: _recalibrate,
    Quantize: _quantize,
    Plant: _plant,
    Gaussian: _gaussian,
    Ascend: _ascend,
}


def snapshot(state: State) -> dict[str, Any]:
    """A trial's trainings so far as plain tensors, numbers and strings (safe to load with weights_only).

    The stages between them are run again on the weights that each training ended with: they are cheap, and pure
    functions of the seed. Random streams need no room: each epoch draws its own from the seed.
    """
    assert state.net is not None
    trainings = []
    for stage, p in state.trainings.items():
        done = stage in state.trained
        saved: dict[str, Any] = {
            "done": done,
            "weights": state.trained[stage] if done else state.net.state_dict(),
            "epoch": p.epoch,
            "curves": p.curves,
            "passes": p.passes,
        }
        if not done:
            saved |= {
                "optimizer": p.optimizer.state_dict(),
                "best": [p.best_score, p.best_epoch],
                "best_weights": p.best_weights,
                "norms": p.norms,
            }
        trainings.append(saved)
    return {"trainings": trainings, "seconds": dict(state.seconds)}


def _restore(state: State, resume: dict[str, Any], nth: int) -> None:
    """Bring the nth training to where the snapshot has it."""
    assert state.net is not None
    assert state.progress is not None
    saved, p = resume["trainings"][nth], state.progress
    state.net.load_state_dict(saved["weights"])
    p.epoch, p.curves, p.passes = saved["epoch"], [tuple(c) for c in saved["curves"]], saved["passes"]
    if saved["done"]:
        state.trained[state.stage] = saved["weights"]
    else:
        p.optimizer.load_state_dict(saved["optimizer"])
        p.norms = list(saved["norms"])
        p.best_score, p.best_epoch = saved["best"]
        p.best_weights = saved["best_weights"]
    if nth == 0:
        for kind, seconds in resume["seconds"].items():
            state.seconds[kind] = state.seconds.get(kind, 0.0) + seconds
