"""What a sweep is refused for before it is planned: attacks, sizes, data and models that cannot be had."""

import itertools
from collections.abc import Mapping
from typing import Any

from study.nets import sources
from study.spec import budgets, datasets, models
from study.spec.domains import Choice
from study.spec.errors import UsageError, closest
from study.spec.knobs import KNOBS
from study.spec.studies import Preset
from study.store import layout, mirror, places, results


def check_point(data: str, model: str, values: Mapping[str, Any]) -> None:
    """What a point of a study cannot be given, its axes and recipes included; UsageError naming the knob."""
    trainings = {
        "": True,
        "finetune_": values["finetune"] != "none" and values["finetune_epochs"] > 0,
        "pretrain_": values["pretrain_data"] != "none",
    }
    for prefix in (p for p, on in trainings.items() if on):
        patience, schedule, steps = (_part(values, prefix, n) for n in ("patience", "schedule", "milestones"))
        if patience and not values["validation"]:
            raise UsageError(
                f"--set {prefix}patience: early stopping needs a validation share; add --set validation=0.05"
            )
        if schedule == "multistep" and not steps:
            raise UsageError(
                f"--set {prefix}schedule: multistep needs {prefix}milestones, the epochs after which the rate falls"
            )
    if bool(values["input_mean"]) != bool(values["input_std"]):
        raise UsageError("--set input_mean and input_std go together: give both, or neither")
    if values["validation_rows"] and not values["validation"]:
        raise UsageError("--set validation_rows: there are no validation images; add --set validation=0.05")
    if values["alignment_penalty"] and model == "fcn" and values["depth"] < 2:
        raise UsageError("--set alignment_penalty: one hidden layer has none to be aligned with; give depth=2 or more")
    budgets.check(values, datasets.shape(data))
    check_sizes(data, values)
    check_attack(model, values)
    if why := models.refusal(model, values):
        raise UsageError(f"--set {why}")


def _part(values: Mapping[str, Any], prefix: str, name: str) -> Any:
    """A part of a training; of fine-tuning that of the first one, where nothing else is said."""
    own = values[f"{prefix}{name}"]
    return values[name] if own is None else own


def check_attack(model: str, settings: Mapping[str, Any]) -> None:
    """Attacks that this data or model cannot be given."""
    attack, backend = settings["attack"], settings["attack_backend"]
    if settings["binary"] and backend == "art" and attack in ("apgd_dlr", "autoattack", "autoattack_pair"):
        raise UsageError(
            f"--set attack: {attack} uses the DLR loss, which through ART needs three classes; give "
            f"attack_backend=native, where it is the margin, or apgd, pgd or square"
        )
    if settings["audit_queries"] and (backend, attack) == ("native", "square"):
        raise UsageError("--set audit_queries: Square is no second opinion on attack=square; leave it at 0")
    if settings["certify"] and (model != "fcn" or attack != "apgd" or backend != "native"):
        raise UsageError(
            f"--set certify: certificates go with attack=apgd, attack_backend=native and model fcn, "
            f"got {attack}, {backend}, {model or 'no model'}"
        )


def check_sizes(data: str, settings: Mapping[str, Any]) -> None:
    """The split's arithmetic, where the data set's size is known: every part must hold each class once."""
    info = datasets.DATASETS.get(data)
    if info is None:
        return
    left = {}
    for name, have in zip(("train_size", "test_size"), info.images, strict=True):
        size = left[name] = settings[name] or have
        if size > have:
            raise UsageError(f"--set {name}: {size} is more than the {have} images of {data}")
        if size < have and not info.classes <= size <= have - info.classes:
            raise UsageError(
                f"--set {name}: {size} of {have} images cannot be drawn with all {info.classes} classes of {data} "
                f"on both sides; give {info.classes} to {have - info.classes}, or 0 for all"
            )
    share = settings["validation"]
    if share and not info.classes <= round(share * left["train_size"]) <= left["train_size"] - info.classes:
        raise UsageError(
            f"--set validation: {share:g} of {left['train_size']} training images are too few "
            f"for the {info.classes} classes of {data}; give a larger share"
        )


def data_digest(data: str, data_dir: str, need_data: bool) -> str:
    """The data's content digest; empty for a named data set that is not there, unless it is needed."""
    try:
        return sources.digest(data, data_dir)
    except UsageError:
        if need_data or data not in datasets.DATASETS:
            raise
        return ""


def warm_start(output: str, looked_at: bool) -> str:
    """The full address of an earlier output; UsageError unless it holds results, if it is to be looked at."""
    try:
        place = places.at(output)
        if looked_at:
            folder = mirror.local(output)
            if not (folder / layout.STUDY).exists():
                raise UsageError("not a folder of results, it has no study.json")
            results.refuse_newer(folder)
    except (places.Unavailable, UsageError) as error:
        raise UsageError(f"--warm-start {output}: {str(error).removeprefix('--output ')}") from None
    return str(place)


def sources_of(preset: Preset, settings: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the user's functions, and of files of weights, among the knob values of a plan."""
    given = [value for name, value in settings.items() if KNOBS[name].functions]
    given += [values for arm in preset.arms for name, values in arm.axes.items() if KNOBS[name].functions]
    flat = [v for values in given for v in (values if isinstance(values, tuple) else (values,))]
    axes = [arm.axes.get("weights", ()) for arm in preset.arms]
    searched = preset.search.knobs.get("weights") if preset.search else None
    axes += [searched.values] if isinstance(searched, Choice) else []
    weights = [settings["weights"], *itertools.chain(*axes)]
    return sources.function_digests(flat, "--set") | models.file_digests(weights, sources.file_digest)


def model_digest(model: str) -> str:
    """The digest of a user's model function, empty for the project's own; UsageError for an unknown one."""
    if datasets.is_user_function(model):
        return sources.source_digest(model, "--model")
    if model not in datasets.MODELS:
        raise UsageError(
            f"unknown model {model!r}{closest(model, datasets.MODELS)} "
            f"Models: {', '.join(datasets.MODELS)} or package:function"
        )
    return ""
