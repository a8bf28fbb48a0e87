"""The checks of a plan that need torch: the data can be read, the model can be built."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from study.nets import heads, steady
from study.nets.build import build
from study.nets.compression.decompose import refusal
from study.nets.compression.remove import remove_rows
from study.nets.data import load
from study.nets.net import Net, layers
from study.nets.pairs import UNPAIRED, pairs
from study.nets.splits import Dataset
from study.spec import datasets
from study.spec.config import ON_LAYERS, Build, Decompose, Head, Load, Remove, Robustness, Train, Trial, aligned
from study.spec.errors import UsageError, of_a_function, told


def check_data_and_model(trial: Trial) -> tuple[int, ...]:
    """The shape of an image of the trial's own data; UsageError when its data cannot be loaded or do not fit each
    other, or its model cannot be built and run."""
    wanted = [stage for stage in trial.stages if isinstance(stage, Load)]
    model = next(stage for stage in trial.stages if isinstance(stage, Build))
    loaded = {stage.name: _loaded(stage, trial.seed) for stage in wanted}
    dataset, own = loaded[model.on], loaded[""]
    if dataset.shape != own.shape:
        raise UsageError(
            f"the net is pretrained on images of shape {dataset.shape} ({dataset.name}) and trained on {own.shape} "
            f"({own.name}; channels, height, width): they must be the same"
        )
    with of_the_model(model.model):
        untrained = not any(isinstance(stage, Train) and stage.epochs for stage in trial.stages)
        net = build(model, dataset.shape, dataset.classes, (dataset.mean, dataset.std), 0, whole=untrained)
        with torch.random.fork_rng():  # some nets return more in training than in eval mode
            logits = [net.train(mode)(dataset.train[:2][0]) for mode in (True, False)]
        if any(isinstance(stage, Head) for stage in trial.stages):
            heads.fresh(net, own.shape, own.classes, 0)
        what = steady.unsteady(net, dataset.test[: steady.IMAGES][0])
    if aligned(trial) and not pairs(net):
        raise UsageError(f"--model {model.model}: {UNPAIRED}")
    if any(isinstance(stage, ON_LAYERS) for stage in trial.stages) and (left := attention(net)):
        raise UsageError(f"--model {model.model} cannot be compressed: {left}")
    for stage in trial.stages:
        if isinstance(stage, Remove):
            check_removal(net, stage.ratio, own.shape, model.model)
    if any(isinstance(stage, Decompose) for stage in trial.stages):
        for said in filter(None, (refusal(name, layer) for name, layer in layers(net).items())):
            raise UsageError(f"--model {model.model}: {said}")
    got = {(tuple(part.shape), part.dtype.is_floating_point) for part in logits}
    if got != {((2, dataset.classes), True)}:
        raise UsageError(
            f"--model {model.model} must return logits of shape (N, {dataset.classes}), got "
            f"{' and '.join(sorted({f'{tuple(part.shape)} of {part.dtype}' for part in logits}))} for N = 2"
        )
    draws = [measure.eot for measure in trial.measures if isinstance(measure, Robustness)]
    if draws and (reason := steady.reason(what, min(draws))):
        raise UsageError(f"--model {model.model} cannot be attacked: {reason}")
    return own.shape


@contextmanager
def of_the_model(name: str) -> Iterator[None]:
    """What a user's model raises as a UsageError: it may raise anything, and the message is what helps."""
    try:
        yield
    except UsageError:
        raise
    except BaseException as error:
        if not of_a_function(error):
            raise
        raise UsageError(f"--model {name} cannot be used: {told(error)}") from None


def check_removal(net: Net, ratio: float, shape: tuple[int, int, int], model: str) -> None:
    """UsageError where rows or filters of a net cannot be removed."""
    try:
        remove_rows(net.eval(), ratio, shape)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"--model {model} cannot be given prune_ratio: {why(error)}") from None


def why(error: Exception) -> str:
    """What compression raised, in words: a ValueError is a sentence of ours."""
    return str(error) if isinstance(error, ValueError) else told(error)


def attention(net: Net) -> str:
    """Why compression would leave a part of a net as it is: a module that reads its layers' weights and calls none of
    them; nothing where there is none."""
    name = next((name for name, m in net.body.named_modules() if isinstance(m, nn.MultiheadAttention)), "")
    told = "is a torch.nn.MultiheadAttention, whose q, k and v are no layers and would stay as they are; make them"
    return f"{name} {told} nn.Linear layers, and call these" if name else ""


def _loaded(stage: Load, seed: int) -> Dataset:
    try:
        return load(stage, seed)
    except ValueError as error:  # scikit-learn's splitter: more images asked for than there are, or too few per class
        raise UsageError(f"data {datasets.label(stage.data)} cannot be split as asked: {error}") from None
