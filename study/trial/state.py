"""What a trial carries from stage to stage and hands to its measures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from study.nets.net import Net, classes
from study.nets.splits import Dataset
from study.spec.rows import Row
from study.trial.train import Progress


@dataclass
class State:
    """A trial under way. `stage` is the index of the running stage; `seconds` adds up wall time by kind.

    A trial works on a net with data, or on a bare matrix; `history` holds the rows that stages leave along the way.
    `data` is the trial's own data set, `datasets` holds all of them by name (Load.name). `trainings` holds each
    training's progress by the index of its stage, `trained` the weights that the finished ones ended with. `teacher` is
    the net before its compression, what later trainings distil from; `keep` how probably each weight was to be kept.
    """

    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    data: Dataset | None = None
    datasets: dict[str, Dataset] = field(default_factory=dict)
    net: Net | None = None
    teacher: Net | None = None
    keep: dict[str, Tensor] = field(default_factory=dict)
    matrix: Tensor | None = None
    history: list[Row] = field(default_factory=list)
    stage: int = 0
    trainings: dict[int, Progress] = field(default_factory=dict)
    trained: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    resume: dict[str, Any] | None = None
    diverged: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def on(self, name: str = "") -> Dataset:
        """The data set of a name, the trial's own by default.

        ValueError where none was loaded, and where the net has another number of classes.
        """
        found = self.datasets.get(name) or (None if name else self.data)
        if found is None:
            names = ", ".join(repr(n) for n in self.datasets) or "none"
            raise ValueError(f"no data named {name!r} in this trial, loaded are: {names}")
        if self.net is not None and (outputs := classes(self.net, found.shape)) != found.classes:
            raise ValueError(f"data {found.name} has {found.classes} classes, the net's head {outputs}")
        return found

    @property
    def progress(self) -> Progress | None:
        """The newest training's progress."""
        return next(reversed(self.trainings.values()), None)

    def curves(self) -> list[tuple[int, str, float]]:
        """(epoch, name, value) of every training; the epochs of a later one go on from those before it."""
        out: list[tuple[int, str, float]] = []
        before = 0
        for progress in self.trainings.values():
            out += [(before + epoch, name, value) for epoch, name, value in progress.curves]
            before += progress.epoch
        return out

    @contextmanager
    def timed(self, *kinds: str) -> Iterator[None]:
        """Add the wall seconds of the block to `seconds` of each kind."""
        start = perf_counter()
        try:
            yield
        finally:
            for kind in kinds:
                self.seconds[kind] = self.seconds.get(kind, 0.0) + perf_counter() - start


StageFunction = Callable[[State, Any], Iterator[State]]
MeasureFunction = Callable[[State, Any], list[Row]]
