"""The transfer family: a net is pretrained on some data, then trained again, as a whole or its head alone, on its own.

Paper A, Figure 7 right (pretrained under alpha, frozen, a linear head on other data), Figure 6 (a transformer
fine-tuned under alpha) and adversarial fine-tuning of a net trained under alpha.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from study.spec.config import Build, Head, Interim, Load, Stage, Train, Trial
from study.spec.datasets import DATASETS, folder
from study.spec.errors import UsageError
from study.spec.families.common import again, load_and_build, measures, plants, train

PRETRAINING = "pretraining"  # the name of the data (Load.name), and what their rows say in `on`
SAME_LABELS = ("own",)  # the net goes on with the head that it has; after any other pretraining it gets a fresh one


def trial(point: Mapping[str, Any]) -> Trial:
    """The trial of a point; UsageError for knobs that do not go together (see check)."""
    check(point)
    own, build = load_and_build(point)
    assert isinstance(own, Load)
    assert isinstance(build, Build)
    if point["pretrain_data"] == "none":
        stages: tuple[Stage, ...] = (own, build, _second(point), *plants(point))
        return Trial(seed=point["seed"], stages=stages, measures=measures(point))
    own, other = _halves(own, point)
    head = () if point["pretrain_data"] in SAME_LABELS else (Head(),)
    stages = (
        own, other, replace(build, on=PRETRAINING), _first(point), Interim(on=PRETRAINING), *head, _second(point),
        *plants(point),
    )  # fmt: skip
    return Trial(seed=point["seed"], stages=stages, measures=measures(point))


def _halves(own: Load, point: Mapping[str, Any]) -> tuple[Load, Load]:
    """The trial's own data, and those of its pretraining. Other data come whole but for pretrain_size, with as many
    test images as the own have."""
    kind, size = point["pretrain_data"], point["pretrain_size"]
    other = replace(own, name=PRETRAINING)
    if kind == "own":
        return own, other
    if kind == "other_classes":
        return replace(own, classes="upper"), replace(other, classes="lower", train_size=size)
    if kind == "other_images":
        return replace(own, part="second"), replace(other, part="first", train_size=size)
    root = folder(kind, point.get("data_root", point["data_dir"]))
    there = DATASETS[kind].images[1] if kind in DATASETS else 0
    tested = own.test_size if own.test_size < there else 0
    found = {"data": kind, "digest": point["sources"].get(kind, ""), "root": root, "binary": False}
    return own, replace(other, **found, train_size=size, test_size=tested)


def _first(point: Mapping[str, Any]) -> Train:
    """The pretraining: as the training but for what is said of it, penalised and held unless that is for later."""
    parts = {"epochs": point["pretrain_epochs"], "adversarial_ratio": point["pretrain_ratio"]}
    free = {"alpha": 0.0, "frobenius": 0.0} if point["penalised_in"] == "training" else {}
    return replace(train({**again(point, "pretrain_"), **parts, **free}, point["penalty"]), on=PRETRAINING)


def _second(point: Mapping[str, Any]) -> Train:
    """The training on the own data. What is frozen is neither penalised nor held; what the pretraining has held at a
    multiple of its initial norm is held there, not at that multiple of what it has become."""
    pretrained = point["pretrain_data"] != "none"
    frozen = point["freeze"] != "none"
    free = frozen or (pretrained and point["penalised_in"] == "pretraining")
    held = 1.0 if pretrained and point["penalised_in"] == "both" and point["frobenius"] > 0 else point["frobenius"]
    parts = {"alpha": 0.0, "frobenius": 0.0} if free else {"frobenius": held}
    parts |= {"alignment_penalty": 0.0} if frozen else {}  # training refuses one that has no two layers to align
    return replace(train({**point, **parts}, point["penalty"]), freeze=(point["freeze"],) if frozen else ())


def check(point: Mapping[str, Any]) -> None:
    """UsageError naming the first two knobs of a point that cannot be had together, or data that do not fit."""
    kind, data = point["pretrain_data"], point["data"]
    own, other = DATASETS.get(data), DATASETS.get(kind)
    unpenalised = kind == "none" or point["penalised_in"] == "training" or point["pretrain_epochs"] == 0
    nowhere = point["freeze"] == "encoder" and unpenalised
    few = point["binary"] or (own is not None and own.classes < 4)
    refused = {
        "alpha has nothing to act on: freeze=encoder leaves the head alone to train, and no pretraining is penalised": (
            point["alpha"] > 0 and nowhere
        ),
        f"pretrain_data={data} is the data of the trial itself; write own, other_images or other_classes": kind == data,
        "pretrain_size does not go with pretrain_data=own, which are the same images; leave it at 0": (
            kind == "own" and point["pretrain_size"] > 0
        ),
        "pretrain_data=other_classes needs data of four classes or more, half of which are two: "
        f"got {'binary=1' if point['binary'] else data}": kind == "other_classes" and bool(few),
        f"pretrain_data={kind} has images of shape {other.shape if other else ()} and data {data} of "
        f"{own.shape if own else ()} (channels, height, width): they must be the same": (
            own is not None and other is not None and own.shape != other.shape
        ),
    }
    for reason, wrong in refused.items():
        if wrong:
            raise UsageError(f"transfer: {reason}")
