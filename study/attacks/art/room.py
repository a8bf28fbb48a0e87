"""The ART room: the toolbox's attacks behind our signature, safe against its traps (checked on ART 1.20.1).

Here `Result.worst` is what ART returns, the clean point where that lies outside of the ball: its AutoPGD returns a
random start where it failed, too weak for a loss gap. `robust` counts every point that ART showed the net on its way.
`forward` and `backward` are a batch's mean, rounded up.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.attacks import ball
from study.attacks.ball import Result
from study.attacks.record import Record
from study.attacks.recorder import Recorder, seeded

P = {"linf": np.inf, "l2": 2}
Make = Callable[[Any, int], Any]


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the toolbox's attacks, built for (classifier, batch length), and whether it climbs the cross-entropy."""

    make: Make
    entropy: bool = False


def classifier_of(module: nn.Module, x: Tensor, classes: int) -> Any:
    """The toolbox's wrapper of a net of so many classes for images of the shape of x (N, C, H, W)."""
    return PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu" if x.device.type == "cpu" else "gpu",
    )


def through(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    parts: Sequence[Part],
    generator: torch.Generator,
    batch_size: int,
) -> Result:
    """Run one attack after the other on the samples not yet fooled.

    Each runs as the toolbox has it. Then, where it climbs the cross-entropy, it runs once more on what is left of the
    samples whose loss is exactly 0 at the clean point, so that it has no gradient there and may have stopped at once:
    with logits softened, which changes no prediction.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(batch_size=batch_size)
    with ball.frozen(model):
        record = Record(model, x, y)
        returned = record.x.clone()
        recorder = Recorder(record, float(eps), norm)
        size = min(batch_size, record.batch)
        for part in parts if eps > 0 else ():
            for quiet in (False, True) if part.entropy else (False,):
                left = recorder.quiet(record.all) if quiet else record.left()
                for index in left.split(size) if len(left) else ():
                    recorder.watch(index, quiet)
                    returned[index] = _batch(recorder, part, generator)
        loss = cross_entropy(record.logits(returned), record.y, reduction="none").to(x.dtype)
    return dataclasses.replace(record.result(), worst=returned, loss=loss)


def _batch(recorder: Recorder, part: Part, generator: torch.Generator) -> Tensor:
    """Run one attack on the batch that is watched; what it returns, the clean points where that is outside."""
    record, index = recorder.record, recorder.index
    x, y = record.x[index], record.y[index]
    with seeded(generator), np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        attack = part.make(classifier_of(recorder, x, record.clean.shape[1]), len(index))
        found = torch.from_numpy(attack.generate(x.cpu().numpy(), y=y.cpu().numpy())).to(x)
    recorder.rows[0] += len(index)
    logits = record.logits(found)
    recorder.judge(found, logits)
    recorder.count()
    return torch.where(ball.per_sample(recorder.inside(index, found), x), found, x)
