"""The architecture of a trial's net without data and training: its stages run again on a net of fresh weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn.utils import parametrize

from study.nets.net import Net
from study.nets.splits import Dataset, Split
from study.spec.config import Build, Interim, Load, Plant, Prune, Recalibrate, Stage, Train
from study.trial.stages import STAGES
from study.trial.state import State

NO_ARCHITECTURE = (Load, Train, Interim, Prune, Recalibrate, Plant)  # they need data, or change numbers alone


def seen(state: State) -> dict[str, Any]:
    """What a trial's nets must know of its data, by name, as plain data: shape, classes, mean and std."""
    return {
        name: {"shape": list(d.shape), "classes": d.classes, "mean": list(d.mean), "std": list(d.std)}
        for name, d in state.datasets.items()
    }


def skeleton(stages: Sequence[Stage], data: Mapping[str, Any]) -> Net:
    """A net of the architecture that the stages come to, on the CPU, with fresh weights and two black images for every
    calibration; masks are left out, and weights are plain parameters where they would be quantized. `data` is what
    `seen` gives. UsageError as the stages raise it."""
    state = State(seed=0, datasets={name: _black(name, fact) for name, fact in data.items()})
    state.data = state.datasets.get("")
    for state.stage, stage in enumerate(stages):
        if isinstance(stage, NO_ARCHITECTURE):
            continue
        own = replace(stage, weights="") if isinstance(stage, Build) else stage
        for _ in STAGES[type(stage)](state, own):
            pass
    if state.net is None:
        raise ValueError("the trial has no net")
    for module in [m for m in state.net.modules() if parametrize.is_parametrized(m)]:
        names: Any = module.parametrizations
        for name in list(names):
            parametrize.remove_parametrizations(module, name)
    return state.net


def _black(name: str, fact: Mapping[str, Any]) -> Dataset:
    images = Split(pixels=torch.zeros(2, *fact["shape"]), y=torch.zeros(2, dtype=torch.int64))
    return Dataset(
        name=name, train=images, validation=images, test=images, classes=fact["classes"],
        mean=tuple(fact["mean"]), std=tuple(fact["std"]),
    )  # fmt: skip
