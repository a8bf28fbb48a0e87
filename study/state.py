"""What a trial carries from stage to stage and hands to its measures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from study.data import Dataset
from study.models.net import Net
from study.rows import Row
from study.train import Progress


@dataclass
class State:
    """A trial under way. `stage` is the index of the running stage; `seconds` adds up wall time by kind.

    A trial works on a net with data, or on a bare matrix; `history` holds the rows that stages leave along the way.
    """

    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    data: Dataset | None = None
    net: Net | None = None
    matrix: Tensor | None = None
    history: list[Row] = field(default_factory=list)
    stage: int = 0
    progress: Progress | None = None
    resume: dict[str, Any] | None = None
    diverged: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Add the wall seconds of the block to `seconds[kind]`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + perf_counter() - start


StageFunction = Callable[[State, Any], Iterator[State]]
MeasureFunction = Callable[[State, Any], list[Row]]
