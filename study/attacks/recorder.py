"""What watches a toolbox from inside its model: points judged, passes counted, global random streams put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.attacks import ball
from study.attacks.losses import right
from study.attacks.record import Record

MARGIN = 10.0  # to which the logits of a saturated sample are softened


class Recorder(nn.Module):
    """Stands between ART and the net: every point of the running batch that ART looks at is judged here.

    ART tests only its last iterate; a point it passed on the way that was misclassified is an adversarial example
    all the same, and counts if it lies inside ball and box. Logits go through as they are, but for samples that are
    watched as `quiet`: their cross-entropy is exactly 0 in float32, and they are divided by a temperature. It is a
    module, not a wrapped classifier, because `loss_type` builds a new one.
    """

    def __init__(self, record: Record, eps: float, norm: str) -> None:
        super().__init__()
        self.model = record.model
        self.record = record
        self.eps, self.norm = eps, norm
        self.index = record.all[:0]
        self.temperature: Tensor | None = None
        self.rows = [0, 0]

    def watch(self, index: Tensor, quiet: bool = False) -> None:
        """Judge the samples in `index` from here on, their logits softened where they are `quiet`."""
        self.index, self.rows = index, [0, 0]
        self.temperature = ball.temperature(self.record.clean[index], MARGIN)[:, None] if quiet else None

    def quiet(self, index: Tensor) -> Tensor:
        """Those of the samples in `index` that have not been fooled and whose loss at the clean point is exactly 0."""
        loss = cross_entropy(self.record.clean[index], self.record.y[index], reduction="none")
        return index[(loss == 0) & self.record.robust[index]]

    def count(self) -> None:
        """Share the passes of a finished batch among its samples."""
        self.record.forward[self.index] += -(-self.rows[0] // len(self.index))
        self.record.backward[self.index] += -(-self.rows[1] // len(self.index))

    def inside(self, index: Tensor, x: Tensor) -> Tensor:
        """Which points lie inside ball and box (ART oversteps eps by a rounding)."""
        return ball.inside(x, self.record.x[index], self.eps, self.norm)

    def judge(self, x: Tensor, logits: Tensor) -> None:
        """Count those of the points, one per watched sample, that fool the net for the first time."""
        fell = ~right(logits, self.record.y[self.index]) & self.record.robust[self.index]
        if bool(fell.any()):
            index = self.index[fell]
            passes = -(-self.rows[0] // len(self.index))
            self.record.judge(index, x[fell], logits[fell], self.inside(index, x[fell]), passes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.record.x.dtype)  # ART knows float32 alone
        logits: Tensor = self.model(x)
        self.rows[0] += len(x)
        self.rows[1] += len(x) * x.requires_grad
        if len(x) == len(self.index):
            self.judge(x.detach(), logits.detach())
        if self.temperature is None:
            return logits
        # of a part of the batch ART does not say which samples they are: one temperature serves them all
        return logits / (self.temperature if len(x) == len(self.index) else self.temperature.max())


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
