"""A net that somebody already has, looked at before it is audited: does it know these images, what can it be given?"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from study.nets.build import build
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import ON_LAYERS, Build, Load, Trial
from study.spec.datasets import is_user_function
from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.expand import settled
from study.spec.studies import Point
from study.sweep.plan import fitting
from study.sweep.plan.plan import Plan, job_of
from study.sweep.plan.tryout import attention, of_the_model, tried

IMAGES = 500  # test images that a net is asked of
KNOWS = 2.0  # times chance, from which on a net is taken to know its images
BETTER = 1.5  # times as accurate, from which on another way to give it images is told


def looked_at(plan: Plan) -> Plan:
    """The plan without the optional arms that the net itself cannot be given, which its notes say.

    UsageError where the net is at the level of chance on test images, with what may be wrong; nothing is asked of a net
    that was given no weights (a smoke preset's).
    """
    first = next(iter(plan.jobs.values())).trial
    net, shape = _checked(plan, first)
    arms, notes = [], [*plan.notes, *(f"{plan.model}: {line}" for line in net.notes)]
    for arm in plan.preset.arms:
        trials = [job.trial for job in plan.jobs.values() if arm.optional and _of(job.axes, arm.axes, plan.axes_off)]
        if said := next((s for trial in trials if (s := _refused(net, trial, shape))), ""):
            notes.append(f"{arm.name} is left out: {said}")
        else:
            arms.append(arm)
    return dataclasses.replace(plan, preset=dataclasses.replace(plan.preset, arms=tuple(arms)), notes=tuple(notes))


# Levels at which a search's net is tried: rows that go may leave a shape that some nets cannot be run in.
TRIED: dict[str, tuple[Value, ...]] = {
    "prune_ratio": (0.1, 0.25, 0.5, 0.9), "factorize_ratio": (0.5,), "keep_prob": (0.5,), "lam": (0.5,), "bits": (4,),
}  # fmt: skip


def searched(plan: Plan, typed: Iterable[str]) -> Plan:
    """The plan of a search from a net that is there, without the knobs that the net itself cannot be given, which its
    notes say; UsageError as `looked_at` raises it."""
    found = plan.preset.search
    assert found is not None
    search = found

    def trial(**axes: Value) -> Trial:
        whole = settled({**plan.axes_off, **axes}, plan.settings)
        point = Point(family=search.family, arms=(), seed=search["search_seed"], axes=whole, settings=plan.settings)
        return job_of(plan, point).trial

    first = trial()
    config = next(s for s in first.stages if isinstance(s, Build))
    if not config.weights and not is_user_function(plan.model):
        return plan
    net, shape = _checked(plan, first)
    refused = {
        name: said
        for name in (n for n in TRIED if n in search.knobs)
        if (said := next((s for v in TRIED[name] if (s := _refused(net, trial(**{name: v}), shape))), ""))
    }
    search, notes = fitting.to_refused(search, refused, plan.model, typed)
    return dataclasses.replace(
        plan,
        preset=dataclasses.replace(plan.preset, search=search),
        notes=(*plan.notes, *(f"{plan.model}: {line}" for line in net.notes), *notes),
    )


def _checked(plan: Plan, trial: Trial) -> tuple[Net, tuple[int, int, int]]:
    """The net of a trial before any compression, which knows its images, and the shape of one."""
    stage = next(s for s in trial.stages if isinstance(s, Load))
    config = next(s for s in trial.stages if isinstance(s, Build))
    data = load(stage, trial.seed)
    with of_the_model(plan.model):
        net = build(config, data.shape, data.classes, (data.mean, data.std), trial.seed, whole=True).eval()
        if known := bool(config.weights or is_user_function(plan.model)):
            x, y = data.test[:IMAGES]
            check(net, x, y, data.classes)
    if not known and plan.preset_name != "smoke":
        raise UsageError(
            f"{plan.study.name}: which net? Give --weights FILE for --model {plan.model}, or --model package:function "
            "of a function that returns a trained net"
        )
    return net, data.shape


def _of(axes: Mapping[str, Any], arm: Mapping[str, tuple[Any, ...]], off: Mapping[str, Any]) -> bool:
    """Whether a point is one of an arm's."""
    return all(value in arm.get(name, (off.get(name),)) for name, value in axes.items())


def _refused(net: Net, trial: Trial, shape: tuple[int, int, int]) -> str:
    """Why a trial's compression cannot be had of this net; nothing where it can."""
    if any(isinstance(stage, ON_LAYERS) for stage in trial.stages) and (left := attention(net)):
        return left
    return tried(net, trial.stages, shape)[1]


@torch.no_grad()
def check(net: Net, x: Tensor, y: Tensor, classes: int) -> None:
    """UsageError where a net's logits for images x (N, C, H, W) of labels y (N,) are NaN, or its accuracy is near
    chance, with the ways to give it the same images (and to read its classes) that make it better."""
    logits = net(x)
    if broken := int(logits.isnan().any(dim=1).sum()):
        raise UsageError(f"the net cannot be audited: its logits for {broken} of {len(y)} test images are NaN")
    accuracy, chance = _right(logits, y), float(torch.bincount(y, minlength=classes).max()) / len(y)
    if accuracy >= KNOWS * chance:
        return
    found = {what: share for what, share in _others(net, x, y, classes) if share > BETTER * max(accuracy, chance)}
    causes = "; ".join(f"{what} it is {share:.2f}" for what, share in found.items()) or (
        "neither another normalisation, nor channels the other way round, nor classes in another order mends it: are "
        "these its weights, and its images?"
    )
    raise UsageError(
        f"the net's clean accuracy on {len(y)} test images is {accuracy:.2f}, where always the same class gives "
        f"{chance:.2f}; {causes}{f'; {net.beside}' if net.beside else ''}"
    )


def _right(logits: Tensor, y: Tensor) -> float:
    return float((logits.argmax(dim=1) == y).double().mean())


def _accuracy(net: Net, x: Tensor, y: Tensor) -> float:
    return _right(net(x), y)


def _others(net: Net, x: Tensor, y: Tensor, classes: int) -> Iterator[tuple[str, float]]:
    """What may be wrong, in words, and the net's accuracy if it is."""
    mean, std = net.mean.clone(), net.std.clone()
    try:
        net.mean.zero_()
        net.std.fill_(1.0)
        yield "with --normalization none (it normalises by itself)", _accuracy(net, x, y)
        net.mean.fill_(0.5)
        net.std.fill_(0.5)
        yield "with --normalization 0.5/0.5", _accuracy(net, x, y)
        net.mean.zero_()
        net.std.fill_(1 / 255)
        yield "with --normalization 0/0.00392157 (pixels from 0 to 255)", _accuracy(net, x, y)
    finally:
        net.mean.copy_(mean)
        net.std.copy_(std)
    if x.shape[1] == 3:
        yield "with the channels in the order blue, green, red", _accuracy(net, x.flip(1), y)
    logits = net(x)
    if logits.shape[1] == classes:
        table = np.zeros((classes, classes))
        np.add.at(table, (logits.argmax(dim=1).numpy(), y.numpy()), 1)
        rows, columns = linear_sum_assignment(-table)
        order = ", ".join(str(c) for c in columns)
        yield f"with its classes in the order {order}", float(table[rows, columns].sum() / len(y))
