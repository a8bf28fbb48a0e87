"""The checks of a plan that need torch: the data can be read, the model can be built."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from study.nets import heads, outputs, steady
from study.nets.build import build
from study.nets.checkpoints import say
from study.nets.compression import mask
from study.nets.compression.decompose import decompose
from study.nets.compression.factorize import factorize
from study.nets.compression.quantize import quantize
from study.nets.compression.recalibrate import recalibrate
from study.nets.compression.remove import remove_rows
from study.nets.data import load
from study.nets.net import Net
from study.nets.pairs import UNPAIRED, pairs
from study.nets.splits import Dataset
from study.spec import datasets
from study.spec.config import (
    ON_LAYERS,
    Build,
    Decompose,
    Factorize,
    Head,
    Load,
    Prune,
    Quantize,
    Recalibrate,
    Remove,
    Robustness,
    Stage,
    Train,
    Trial,
    aligned,
)
from study.spec.errors import UsageError, of_a_function, told

Shape = tuple[int, int, int]


def check_data_and_model(trial: Trial, said: Collection[str] = ()) -> Shape:
    """The shape of an image of the trial's own data; UsageError when its data cannot be loaded or do not fit each
    other, or its model cannot be built and run. Of what is told of the model nothing that is `said` already."""
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
        returned: list[Any] = []
        hook = net.body.register_forward_hook(lambda module, given, out: returned.append(out))
        with torch.random.fork_rng():  # some nets return more in training than in eval mode
            logits = [net.train(mode)(dataset.train[:2][0]) for mode in (True, False)]
        hook.remove()
        ends = _ending(model.model, returned[-1], net.classes)
        if any(isinstance(stage, Head) for stage in trial.stages):
            heads.fresh(net, own.shape, own.classes, 0)
        what = steady.unsteady(net, dataset.test[: steady.IMAGES][0]) or ends
    _check_training(net, trial, model.model)
    if aligned(trial) and not pairs(net):
        raise UsageError(f"--model {model.model}: {UNPAIRED}")
    _check_compression(net, trial, own.shape, model.model)
    got = {(tuple(part.shape), part.dtype.is_floating_point) for part in logits}
    if got != {((2, dataset.classes), True)}:
        raise UsageError(
            f"--model {model.model} must return logits of shape (N, {dataset.classes}), got "
            f"{' and '.join(sorted({f'{tuple(part.shape)} of {part.dtype}' for part in logits}))} for N = 2"
        )
    draws = [measure.eot for measure in trial.measures if isinstance(measure, Robustness)]
    reason = steady.reason(what, min(draws, default=0))
    if draws and reason:
        raise UsageError(f"--model {model.model} cannot be attacked: {reason}")
    read = [line for out in returned for line in outputs.said(out, 2, net.classes)] if net.classes else []
    averaged = f"its logits depend on {what}: attacked is their mean over {min(draws)} draws" if what and draws else ""
    for line in dict.fromkeys([*net.notes, *read, *filter(None, (reason, averaged))]):
        if f"{model.model}: {line}" not in said:
            say(f"--model {model.model}: {line}")
    return own.shape


def _ending(model: str, out: Any, classes: int) -> str:
    """What a net's outputs are where they are no logits: "softmax", "sigmoid" or ""; UsageError for one probability
    where one logit is wanted, of which a threshold at 0 would make one class alone."""
    if not classes:
        return ""
    found = outputs.chosen(out, 2, classes)
    ends = outputs.squashed(found)
    if ends == "sigmoid" and (found.ndim == 1 or found.shape[1] != classes):
        raise UsageError(
            f"--model {model} must return logits: it returns one probability per image, a sigmoid; take it away"
        )
    return ends


def _check_training(net: Net, trial: Trial, model: str) -> None:
    """UsageError for a net that a trial would train and that cannot be trained."""
    if not any(isinstance(stage, Train) and stage.epochs for stage in trial.stages):
        return
    if net.bound:
        raise UsageError(f"--model {model} cannot be trained: {net.bound}")
    if not any(p.requires_grad for p in net.parameters()):
        raise UsageError(f"--model {model} cannot be trained: all its weights are frozen (requires_grad=False)")


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


def _check_compression(net: Net, trial: Trial, shape: Shape, model: str) -> None:
    """UsageError where a net cannot be compressed as a trial says."""
    if any(isinstance(stage, ON_LAYERS) for stage in trial.stages) and (left := attention(net)):
        raise UsageError(f"--model {model} cannot be compressed: {left}")
    whole = datasets.is_user_function(model) or any(isinstance(s, Prune) and s.layers for s in trial.stages)
    kinds = tuple(KNOB_OF) if whole else (Remove,)  # of ours the others are known to do
    knob, said = tried(net, [stage for stage in trial.stages if isinstance(stage, kinds)], shape)
    if said:
        raise UsageError(f"--model {model} cannot be given {knob}: {said}")


# What each way to compress is called where it is asked for.
KNOB_OF = {
    Remove: "prune_ratio", Factorize: "rank", Prune: "layer_keep_prob", Decompose: "factorize_ratio",
    Recalibrate: "recalibrate", Quantize: "bits",
}  # fmt: skip


def tried(net: Net, stages: Iterable[Stage], shape: Shape) -> tuple[str, str]:
    """Which knob a net cannot be given, and why, as trying shows: every stage that compresses is done, and two images
    of `shape` (C, H, W) given to what comes out. Two empty words where nothing is wrong."""
    net, images = net.eval(), torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    for stage in stages:
        if not (knob := KNOB_OF.get(type(stage), "")):
            continue
        try:
            if isinstance(stage, Remove):
                net = remove_rows(net, stage.ratio, shape)
            elif isinstance(stage, Prune):
                mask.probabilities(net, stage.layers or stage.keep_prob, "bernoulli", on=stage.on)
            elif net.read:
                return knob, f"{net.read[0]} is never called, its weight is read elsewhere; call the layer"
            elif isinstance(stage, Factorize):
                net = factorize(net, stage.rank, 0)
            elif isinstance(stage, Decompose):
                net = decompose(net, stage.ratio, stage.method, 0, sweeps=1)[0]
            elif isinstance(stage, Recalibrate):
                net = recalibrate(net, [images])
            elif isinstance(stage, Quantize):
                net = quantize(net, stage.bits, [images], stage.granularity, stage.one_bit, aware=stage.aware)
            with torch.no_grad():
                net.eval()(images)
        except Exception as error:  # the net's own forward pass may raise anything
            return knob, str(error) if isinstance(error, ValueError) else f"it no longer runs ({told(error)})"
    return "", ""


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
