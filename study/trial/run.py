"""The trial: stages folded over a state, then measures. No files, no clocks but its own; it can pause and go on."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from study.spec.config import Decompose, Prune, Quantize, Remove, Stage, Train, Trial
from study.spec.errors import of_a_function, told
from study.spec.rows import Row, row
from study.trial.measures import MEASURES
from study.trial.stages import STAGES
from study.trial.state import State


@dataclass
class Outcome:
    """A trial under way or done: the live state, and once `done` its rows and whether it diverged."""

    state: State
    phase: str = "start"
    rows: list[Row] = field(default_factory=list)
    done: bool = False

    @property
    def status(self) -> str:
        """`ok` or `diverged` (training met a loss that is not finite; a result, not a failure)."""
        return "diverged" if self.state.diverged else "ok"


def run(trial: Trial, *, resume: dict[str, Any] | None = None, device: str = "cpu") -> Iterator[Outcome]:
    """Run a trial, yielding the outcome after every stage, epoch and measure; the last one is done.

    `resume` is a snapshot (stages.snapshot) of the same trial. A diverged trial skips what is left and keeps its
    curves. The same trial yields the same deterministic rows on one CPU build at one thread count. RuntimeError where a
    user's function calls sys.exit, or raises what is no Exception: that would end the sweep around it.
    """
    try:
        yield from _run(trial, resume, device)
    except BaseException as error:
        if isinstance(error, Exception) or not of_a_function(error):
            raise
        raise RuntimeError(f"of a function that the trial was given: {told(error)}") from error


def _run(trial: Trial, resume: dict[str, Any] | None, device: str) -> Iterator[Outcome]:
    if any(isinstance(stage, Train) for stage in trial.stages):
        importlib.import_module("torch._dynamo")  # else the first optimiser of a process does, seconds of a training
    state = State(seed=trial.seed, device=torch.device(device), resume=resume)
    outcome = Outcome(state)
    for state.stage, stage in enumerate(trial.stages):
        stages = STAGES[type(stage)](state, stage)
        kinds = [f"{type(stage).__name__.lower()}_seconds"]
        if isinstance(stage, Train) and any(map(_done_to_a_net, trial.stages[: state.stage])):
            kinds.append("finetune_seconds")  # what a net costs after its first training stands beside the whole
        while not state.diverged:
            with state.timed(*kinds):
                if next(stages, None) is None:
                    break
            outcome.phase = type(stage).__name__.lower()
            yield outcome
    outcome.rows += [row(name, value, step=epoch) for epoch, name, value in state.curves()]
    outcome.rows += state.history
    for measure in () if state.diverged else trial.measures:
        with state.timed(f"{type(measure).__name__.lower()}_seconds"):
            outcome.rows += MEASURES[type(measure)](state, measure)
        outcome.phase = type(measure).__name__.lower()
        yield outcome
    outcome.rows += [row(kind, value, deterministic=False) for kind, value in state.seconds.items()]
    outcome.done = True
    yield outcome


def _done_to_a_net(stage: Stage) -> bool:
    """Whether a training after this stage is fine-tuning."""
    return isinstance(stage, Train | Remove | Prune | Decompose) or (isinstance(stage, Quantize) and not stage.aware)
