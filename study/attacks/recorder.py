"""What watches a toolbox from inside its model: points judged, passes counted, global random streams put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.record import Record


class Recorder(nn.Module):
    """Stands between ART and the net: every point of the running batch that ART looks at is judged here.

    ART tests only its last iterate; a point it passed on the way that was misclassified is an adversarial example
    all the same, and counts if it lies inside ball and box. The recorder also divides the logits, so that a saturated
    loss cannot stop the attack. It is a module, not a wrapped classifier, because `loss_type` builds a new one.
    """

    def __init__(self, record: Record, temperature: float, eps: float, norm: str) -> None:
        super().__init__()
        self.model = record.model
        self.record = record
        self.temperature, self.eps, self.norm = temperature, eps, norm
        self.index = record.all[:0]
        self.rows = [0, 0]

    def watch(self, index: Tensor) -> None:
        self.index, self.rows = index, [0, 0]

    def count(self) -> None:
        """Share the passes of a finished batch among its samples."""
        self.record.forward[self.index] += -(-self.rows[0] // len(self.index))
        self.record.backward[self.index] += -(-self.rows[1] // len(self.index))

    def inside(self, index: Tensor, x: Tensor) -> Tensor:
        """Which points lie inside ball and box (ART oversteps eps by a rounding)."""
        shift = ball.lengths(x - self.record.x[index], self.norm)
        return (shift <= self.eps + 1e-6) & (x.flatten(1).amin(1) >= 0) & (x.flatten(1).amax(1) <= 1)

    def judge(self, x: Tensor, logits: Tensor) -> None:
        """Count those of the points, one per watched sample, that fool the net for the first time."""
        fell = (logits.argmax(1) != self.record.y[self.index]) & self.record.robust[self.index]
        if bool(fell.any()):
            index = self.index[fell]
            passes = -(-self.rows[0] // len(self.index))
            self.record.judge(index, x[fell], logits[fell], self.inside(index, x[fell]), passes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        self.rows[0] += len(x)
        self.rows[1] += len(x) * x.requires_grad
        if len(x) == len(self.index):
            self.judge(x.detach(), logits.detach())
        return logits / self.temperature


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """NumPy's, Python's and torch's global streams seeded from ours, and put back as found: ART knows no other."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng():
            np.random.seed(seed)
            random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
