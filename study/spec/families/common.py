"""What every family's trial shares: the data stage, the model stage, the measures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study.spec.attack_names import revisions
from study.spec.attack_settings import STEPS
from study.spec.config import (
    Accuracy,
    Boundaries,
    Build,
    FeatureMaps,
    Load,
    Measure,
    Own,
    Plant,
    Prunability,
    PruningCurve,
    Representations,
    Robustness,
    Stage,
    Structure,
    Train,
    Universal,
)
from study.spec.datasets import DATASETS
from study.spec.errors import UsageError
from study.spec.knobs import TRAINING
from study.spec.models import FILE


def load_and_build(point: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Data and untrained model of a point."""
    return (
        Load(
            data=point["data"],
            digest=point["data_digest"],
            root=point["data_dir"],
            train_size=point["train_size"],
            test_size=point["test_size"],
            validation=point["validation"],
            validation_seed=point["validation_seed"] if point["validation"] else None,
            binary=bool(point["binary"]),
        ),
        Build(
            model=point["model"],
            width=point["width"],
            depth=point["depth"],
            source=point["model_digest"],
            width_multiplier=point["width_multiplier"],
            stem=point["stem"],
            patch_size=point["patch_size"],
            width_taper=point["width_taper"],
            input_mean=tuple(point["input_mean"]),
            input_std=tuple(point["input_std"]),
            **weights(point["weights"], point["sources"]),
        ),
    )


def weights(value: str, digests: Mapping[str, str]) -> dict[str, str]:
    """The fields of Build for a value of the knob: a file is what it holds, wherever it lies."""
    if not value.startswith(FILE):
        return {"weights": value}
    path = str(Path(value.removeprefix(FILE)).resolve())
    return {"weights": f"{FILE}{digests[value]}", "weights_file": path}


OFF = {"constant", "none", "adamw", "loss", "cross_entropy"}  # words for what a configuration leaves empty


def _word(value: str) -> str:
    return "" if value in OFF else value


def train(point: Mapping[str, Any], penalty: str = "") -> Train:
    """The training stage of a point; without a strength there is no penalty, without a ratio no adversary."""
    adversary = {
        name: point[name]
        for name in ("adversarial_ratio", "train_norm", "train_eps", "train_attack", "train_steps", "train_warmup")
    }
    attacked = point["adversarial_ratio"] > 0 or (point["patience"] > 0 and point["stop_on"] == "adversarial_accuracy")
    spectral = penalty.startswith("nuclear_norm") and point["alpha"] > 0
    multistep = {"milestones": tuple(point["milestones"]), "gamma": point["gamma"]}
    return Train(
        epochs=point["epochs"],
        batch_size=point["batch_size"],
        learning_rate=point["learning_rate"],
        weight_decay=point["weight_decay"],
        penalty=penalty if point["alpha"] > 0 else "",
        penalty_source=point["sources"].get(penalty, "") if point["alpha"] > 0 else "",
        alpha=point["alpha"] if penalty else 0.0,
        frobenius=point["frobenius"],
        patience=point["patience"],
        penalty_refresh=point["penalty_refresh"] if spectral or point["alignment_penalty"] > 0 else 0,
        l1=point["l1"],
        l1_on=point["l1_on"] if point["l1"] > 0 else "hidden",
        spread_control=point["spread_control"],
        alignment_penalty=point["alignment_penalty"],
        schedule=_word(point["schedule"]),
        augment=_word(point["augment"]),
        optimizer=_word(point["optimizer"]),
        momentum=point["momentum"] if point["optimizer"] == "sgd" else 0.0,
        stop_on=_word(point["stop_on"]) if point["patience"] else "",
        loss=_word(point["loss"]),
        autocast=_word(point["autocast"]),
        **(multistep if point["schedule"] == "multistep" else {}),
        **(adversary if attacked else {}),
    )


def again(point: Mapping[str, Any], prefix: str = "finetune_") -> dict[str, Any]:
    """The point as its fine-tuning (or another training, by the prefix of its knobs) has it: parts that are said of it
    over those of the training."""
    parts = {name: point[f"{prefix}{name}"] for name in TRAINING} | {"train_warmup": 0}
    return {**point, **{name: value for name, value in parts.items() if value is not None}}


def plants(point: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The positive controls of a point, none by default."""
    strengths = {"rows": point["plant_rows"], "spectrum": point["plant_spectrum"]}
    return tuple(Plant(structure=s, strength=v) for s, v in strengths.items() if v > 0)


def attacks(point: Mapping[str, Any]) -> tuple[Measure, ...]:
    """The attacks of a point, one measure per norm that has a budget, and a second one where it is asked for."""
    own = tuple(
        Robustness(
            norm=norm,
            eps=tuple(point[f"eps_{norm}"]),
            iterations=point["attack_iterations"],
            restarts=point["attack_restarts"],
            gap_eps=(point[f"judged_{norm}"],),
            gap_iterations=point["gap_iterations"],
            sensitivity=bool(point["sensitivity"]),
            backend=point["attack_backend"],
            attack=point["attack"],
            certify=bool(point["certify"]),
            audit_queries=point["audit_queries"],
            audit_images=point["audit_images"],
            eot=point["eot"],
            splits=("test", "validation") if point["validation_rows"] else ("test",),
            **revisions(point, point.get("revisions")),
        )
        for norm in ("linf", "l2")
        if point[f"eps_{norm}"]
    )
    return (*own, *(beside for measure in own for beside in _beside(measure, point)))


def _beside(own: Robustness, point: Mapping[str, Any]) -> Iterator[Robustness]:
    """The native attacks beside the study's own: `more_attacks` on the same images at the same budgets, and the second
    one on fewer images, at the judged budget alone."""

    def attack(name: str, **more: Any) -> Robustness:
        asked = {"attack_backend": "native", "attack": name, "audit_queries": 0}
        given: dict[str, Any] = {"eps": own.eps, "iterations": own.iterations, "restarts": own.restarts} | more
        return Robustness(
            norm=own.norm,
            backend="native",
            attack=name,
            eot=own.eot,
            checks=False,
            **given,
            **revisions(asked, point.get("revisions")),
        )

    of_their_own: dict[str, dict[str, int]] = {
        "pgd": {"iterations": point["more_steps"], "restarts": 1},
        "cw": {"iterations": STEPS},
    }
    for name in point["more_attacks"]:
        yield attack(name, **of_their_own.get(name, {}))
    if point["second_attack"] != "none":
        yield attack(point["second_attack"], eps=own.gap_eps, images=point["second_images"])


def accuracy(point: Mapping[str, Any]) -> Accuracy:
    """Clean accuracies, those on the validation images where they are asked for."""
    return Accuracy(validation=bool(point["validation_rows"]))


def measures(point: Mapping[str, Any]) -> tuple[Measure, ...]:
    """What is measured on every net of a sweep."""
    means = (*curves(point), *mechanisms(point), *own(point))
    return (accuracy(point), *attacks(point), Structure(), Prunability(), *means)


def mechanisms(point: Mapping[str, Any]) -> tuple[Measure, ...]:
    """What is asked of a point about why it is vulnerable: universal perturbations, representations, boundaries,
    feature maps."""
    judged = {norm: float(point[f"judged_{norm}"]) for norm in ("linf", "l2")}
    out: list[Measure] = []
    if point["universal"]:
        out += [
            Universal(
                norm=norm,
                eps=tuple(point[f"universal_eps_{norm}"]) or (eps,),
                makers=tuple(point["universal_makers"]),
                images=point["universal_images"],
                eot=point["eot"],
            )
            for norm, eps in judged.items()
        ]
    if point["representations"]:
        steps = point["gap_iterations"]
        out += [Representations(norm=norm, eps=(eps,), iterations=steps) for norm, eps in judged.items()]
    if point["boundaries"]:
        out.append(Boundaries(budgets=tuple(judged.items()), iterations=point["gap_iterations"]))
    if point["feature_maps"]:
        out.append(_feature_maps(point))
    return tuple(out)


def _feature_maps(point: Mapping[str, Any]) -> FeatureMaps:
    """PGD where the study's own attack is PGD, else AutoPGD on the loss; UsageError for a class that the data lack."""
    data, label = point["data"], point["feature_class"]
    classes = (2 if point["binary"] else DATASETS[data].classes) if data in DATASETS else label + 1
    if label >= classes:
        raise UsageError(f"feature_class={label}: {data} has classes 0 to {classes - 1} here; -1 takes all of them")
    pgd = point["attack"] == "pgd"
    return FeatureMaps(
        norm="linf",
        eps=float(point["judged_linf"]),
        attack="pgd" if pgd else "apgd",
        iterations=point["attack_iterations"] if pgd else point["gap_iterations"],
        label=label,
        layers=point["feature_layers"],
    )


def curves(point: Mapping[str, Any]) -> tuple[Measure, ...]:
    """The pruning curves of a point at its judged budgets, none by default."""
    if not point["pruning"]:
        return ()
    curve = PruningCurve(
        methods=tuple(point["pruning"]),
        kept=tuple(point["pruning_kept"]),
        eps_linf=point["judged_linf"],
        eps_l2=point["judged_l2"],
        iterations=point["attack_iterations"],
        restarts=point["attack_restarts"],
        backend=point["attack_backend"],
        attack=point["attack"],
        eot=point["eot"],
        revision=revisions(point, point.get("revisions"))["revision"],
    )
    return (curve,)


def own(point: Mapping[str, Any]) -> tuple[Measure, ...]:
    """The measures of the user's own; point["sources"] has the digest of each function's source."""
    return tuple(Own(function=name, source=point["sources"][name]) for name in point["measures"])
