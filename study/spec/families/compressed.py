"""The compressed family: every knob that trades robustness for efficiency, in one net; what the searches draw from.

A net is trained (with a penalty, at a rank, against an adversary), then its rows are removed, its weights masked and
factorized, its BatchNorms' statistics taken anew and its weights quantized, in this order, and what is left is
fine-tuned with masks and quantization on. With qat it is quantized before its first training.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from study.spec.config import (
    Cost,
    Decompose,
    Factorize,
    Measure,
    Prune,
    Quantize,
    Recalibrate,
    Remove,
    Risk,
    Stage,
    Structure,
    Teacher,
    Train,
    Trial,
)
from study.spec.datasets import is_user_function
from study.spec.errors import UsageError
from study.spec.families.common import accuracy, again, attacks, curves, load_and_build, mechanisms, own, train
from study.spec.knobs import AXES, KNOBS, off
from study.spec.values import refusal, shares

OF_TRAINING = ("alpha", "rank", "adversarial_ratio", "l1", "spread_control", "alignment_penalty")
FCN_ALONE = ("lam",)  # what this family does to fully connected nets, and to no other
CONVOLUTIONAL = ("cnn", "cnn8", "resnet18", "wrn50_2", "wrn101_2", "vgg16")  # whose hidden layers are convolutions
NORMED = ("cnn", "resnet18", "wrn50_2", "wrn101_2")  # whose layers BatchNorms follow
# whose rows, filters, heads can really go
REMOVABLE = ("fcn", "cnn", "cnn8", "resnet18", "wrn50_2", "wrn101_2", "vgg16", "vit", "vit_b8", "vit_tiny")


def trial(point: Mapping[str, Any]) -> Trial:
    """The trial of a point; UsageError for knobs that do not go together (see check)."""
    point = {**point, **off({name: point[name] for name in AXES}, {})}
    check(point)
    factorize = (Factorize(rank=point["rank"]),) if point["rank"] else ()
    aware = quantization(point) if point["qat"] else ()
    base = (train(point, point["penalty"]),) if point["epochs"] else ()  # none: a net as its weights are
    first = (*load_and_build(point), *factorize, *aware, *base)
    compared = bool(point["risk_eps"]) and loses(point)  # with the net before it was compressed
    fresh = (Recalibrate(),) if point["recalibrate"] else ()  # the whole net is compared as the others are
    teacher = (*fresh, Teacher()) if point["distillation"] > 0 or compared else ()
    stages = (*first, *teacher, *compression(point), *finetune(point))
    asked = (*risk(point), *curves(point), *mechanisms(point), *own(point))
    spared = {"audit_queries": 0, "audit_images": 0} if point["audit_on"] == "quantized" and not point["bits"] else {}
    measures = (accuracy(point), *attacks({**point, **spared}), Structure(), Cost(), *asked)
    return Trial(seed=point["seed"], stages=stages, measures=measures)


def check(point: Mapping[str, Any]) -> None:
    """UsageError naming the first two knobs of a point that cannot be had together."""
    masked = point["lam"] > 0 or point["keep_prob"] < 1 or bool(point["layer_keep_prob"])
    fcn = point["model"] == "fcn"
    unremovable = point["prune_ratio"] > 0 and not removable(point["model"])
    proximal = point["penalty"] == "nuclear_norm_prox" and point["alpha"] > 0
    refused = {
        "lam sets keep_prob of each layer itself; leave keep_prob at 1": point["lam"] > 0 and point["keep_prob"] < 1,
        **(_by_layer(point) if point["layer_keep_prob"] else {}),
        **{f"{name} goes with model fcn, got {point['model']}": point[name] > 0 and not fcn for name in FCN_ALONE},
        f"prune_ratio goes with model {', '.join(REMOVABLE)} or package:function, got {point['model']}": unremovable,
        "penalty nuclear_norm_prox goes with dense layers; leave rank at 0": proximal and point["rank"] > 0,
        f"recalibrate goes with model {', '.join(NORMED)} or package:function, got {point['model']}": bool(
            point["recalibrate"]
        )
        and not (point["model"] in NORMED or is_user_function(point["model"])),
        f"rank goes with prune_ratio for model fcn alone, got {point['model']}": point["rank"] > 0
        and point["prune_ratio"] > 0
        and not fcn,
        **(_without_factors(point) if point["factorize_ratio"] > 0 else {}),
        f"mask_draw goes with the random masks bernoulli and smooth, got {point['mask']}": point["mask_draw"] > 0
        and point["mask"] not in ("bernoulli", "smooth"),
        "finetune_epochs needs finetune=standard or adversarial": point["finetune_epochs"] > 0
        and point["finetune"] == "none",
        "distillation needs finetune=standard or adversarial, and finetune_epochs": point["distillation"] > 0
        and point["finetune"] == "none",
        "distillation needs a net that is compressed after its training (prune_ratio, keep_prob, layer_keep_prob, lam, "
        "factorize_ratio, or bits without qat): another is its own teacher": point["distillation"] > 0
        and not loses(point),
        "certify=1 does not go with bits: certificates do not cover quantized activations": bool(point["certify"])
        and point["bits"] > 0,
        "pruning does not go with recalibrate: its curves keep the statistics of the whole net": bool(point["pruning"])
        and bool(point["recalibrate"]),
        "pruning does not go with bits: weights on levels are not pruned": bool(point["pruning"]) and point["bits"] > 0,
        **{
            f"{name} acts in the first training, and epochs is 0": point[name] > 0 and not point["epochs"]
            for name in OF_TRAINING
        },
        "qat=1 needs a first training, got epochs 0: set bits alone, and finetune": bool(point["qat"])
        and not point["epochs"],
        "qat=1 needs bits: set bits to 16, 8, 4, 2 or 1": bool(point["qat"]) and not point["bits"],
        "qat=1 does not go with prune_ratio, keep_prob, layer_keep_prob, lam or factorize_ratio, which act on nets "
        "not yet on levels": bool(point["qat"])
        and (masked or point["prune_ratio"] > 0 or point["factorize_ratio"] > 0),
        "qat=1 does not go with penalty nuclear_norm_prox, which overwrites weights": bool(point["qat"]) and proximal,
    }
    for reason, wrong in refused.items():
        if wrong:
            raise UsageError(f"compressed: {reason}")


def _by_layer(point: Mapping[str, Any]) -> dict[str, bool]:
    """Why a point whose layers keep shares of their own cannot be had, and whether each holds."""
    said = point["layer_keep_prob"]
    count, head = len(shares(said)), point["mask_on"] == "all"
    wanted = point["depth"] * (2 if point["rank"] else 1) + head
    factors, last = " of two factors each" if point["rank"] else "", ", head" if head else ""
    needs = f"{wanted} are masked: hidden layers{factors}{last}"
    return {
        f"layer_keep_prob {said!r} is not accepted; give {KNOBS['layer_keep_prob'].range_text()}": bool(
            refusal(KNOBS["layer_keep_prob"], said)
        ),
        "layer_keep_prob says what each layer keeps; leave keep_prob at 1 and lam at 0": point["keep_prob"] < 1
        or point["lam"] > 0,
        "layer_keep_prob does not go with mask_budget=global, which is one share for all": point["mask_budget"]
        == "global",
        f"layer_keep_prob {said} has shares for {count}, where {needs}": point["model"] == "fcn" and count != wanted,
    }


def removable(model: str) -> bool:
    """Whether rows, filters or heads of a model can be removed; of a user's own net it shows when it is tried out."""
    return model in REMOVABLE or is_user_function(model)


def _without_factors(point: Mapping[str, Any]) -> dict[str, bool]:
    """Why a point that is factorized cannot be had, and whether each holds."""
    others = {name: point[name] > 0 for name in ("prune_ratio", "lam", "rank")}
    others |= {"keep_prob": point["keep_prob"] < 1, "layer_keep_prob": bool(point["layer_keep_prob"])}
    method, model = point["factorization"], point["model"]
    tensors = method != "svd"
    convolutional = model in CONVOLUTIONAL or is_user_function(model)
    return {
        **{f"factorize_ratio does not go with {name}; leave {name} at its default": on for name, on in others.items()},
        f"factorization {method} goes with model {', '.join(CONVOLUTIONAL)} or package:function, got {model}: linear "
        "layers are svd": tensors and not convolutional,
        f"pruning low_rank does not go with factorization {method}: its factors make no matrix": tensors
        and "low_rank" in point["pruning"],
    }


def loses(point: Mapping[str, Any]) -> bool:
    """Whether anything of the trained net goes: new statistics alone take nothing."""
    return bool(compression({**point, "recalibrate": 0}))


def compression(point: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Removal, mask, factorization, new statistics and quantization of a point, in this order; nothing where all are
    off."""
    stages: list[Stage] = []
    if point["prune_ratio"] > 0:
        stages.append(Remove(ratio=point["prune_ratio"]))
    how = {"mask": point["mask"], "on": point["mask_on"], "draw": point["mask_draw"]}
    if point["lam"] > 0:
        uniform = point["lam_layers"] == "uniform"
        rule = {"floor": point["keep_floor"], "rule": point["lam_rule"], "uniform": uniform}
        stages.append(Prune(lam=point["lam"], **rule, **how))
    elif point["layer_keep_prob"]:
        stages.append(Prune(layers=shares(point["layer_keep_prob"]), **how))
    elif point["keep_prob"] < 1:
        stages.append(Prune(keep_prob=point["keep_prob"], budget=point["mask_budget"], **how))
    if point["factorize_ratio"] > 0:
        stages.append(Decompose(ratio=point["factorize_ratio"], method=point["factorization"]))
    if point["recalibrate"]:
        stages.append(Recalibrate())
    return (*stages, *(() if point["qat"] else quantization(point)))


def quantization(point: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The quantization of a point, none by default; what one bit is matters at one bit alone."""
    bits = point["bits"]
    if not bits:
        return ()
    one_bit = point["one_bit"] if bits == 1 else "mean"
    granularity = "tensor" if (bits, one_bit) == (1, "as_printed") else point["bits_granularity"]
    return (Quantize(bits=bits, granularity=granularity, one_bit=one_bit, aware=bool(point["qat"])),)


def risk(point: Mapping[str, Any]) -> tuple[Measure, ...]:
    """The risk and fidelity of a point, none by default."""
    if not point["risk_eps"]:
        return ()
    return (Risk(eps=tuple(point["risk_eps"]), points=point["risk_points"], images=point["risk_images"]),)


def finetune(point: Mapping[str, Any]) -> tuple[Train, ...]:
    """The second training of a point: without penalties, its layers free of any Frobenius norm, its own rate and
    epochs, and whatever else is said of it.

    standard: clean batches; adversarial: finetune_ratio of each batch by the adversary of the train_* settings. With
    distillation the net of the first training, before any compression, is the teacher.
    """
    if point["finetune"] == "none":
        return ()
    ratio = {"standard": 0.0, "adversarial": point["finetune_ratio"]}[point["finetune"]]
    own = {"adversarial_ratio": ratio, "epochs": point["finetune_epochs"], "frobenius": 0.0}
    own |= {"alpha": 0.0, "l1": 0.0, "spread_control": 0.0, "alignment_penalty": 0.0}
    freeze = () if point["finetune_freeze"] == "none" else (point["finetune_freeze"],)
    taught = {name: point[name] for name in ("distillation", "temperature") if point["distillation"] > 0}
    return (dataclasses.replace(train({**again(point), **own}), freeze=freeze, **taught),)
