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

MARGIN = 10.0
P = {"linf": np.inf, "l2": 2}
Make = Callable[[Any, int], Any]


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


def temperature_of(record: Record) -> float:
    """One for the whole batch: the toolbox compares losses of samples with one another's."""
    return float(ball.temperature(record.clean, MARGIN).max())


def through(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    parts: Sequence[Make],
    generator: torch.Generator,
    batch_size: int,
) -> Result:
    """Run one attack after the other, built for (classifier, batch length), on the samples not yet fooled."""
    ball.check(x, y, eps, norm)
    ball.check_counts(batch_size=batch_size)
    with ball.frozen(model):
        record = Record(model, x, y)
        returned = x.clone()
        if eps > 0:
            recorder = Recorder(record, temperature_of(record), float(eps), norm)
            classifier = classifier_of(recorder, x, record.clean.shape[1])
            with seeded(generator), np.errstate(divide="ignore", invalid="ignore"):
                for make in parts:
                    left = record.left()
                    for index in left.split(min(batch_size, record.batch)) if len(left) else ():
                        recorder.watch(index)
                        attack = make(classifier, len(index))
                        array = attack.generate(x[index].cpu().numpy(), y=y[index].cpu().numpy())
                        found = torch.from_numpy(array).to(x)
                        recorder.rows[0] += len(index)
                        with torch.no_grad():
                            recorder.judge(found, model(found))
                            inside = recorder.inside(index, found)
                        returned[index] = torch.where(ball.per_sample(inside, x), found, x[index])
                        recorder.count()
        loss = cross_entropy(record.logits(returned), y, reduction="none")
    return dataclasses.replace(record.result(), worst=returned, loss=loss)
