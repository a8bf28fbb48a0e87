"""What the studies of paper B share: its nets and recipe, its attacks, the shares that masks keep, a control.

Paper B trains without any adversary (Adam 1e-3), prunes the weights of the trained net, head included (its bounds are
of all layers), and never trains again. p is the probability that a weight is KEPT (keep_prob), whatever its prose calls
it. Its attacks are FGSM, PGD of 5 steps, Carlini and Wagner's in l_inf (10 steps of 2/255, confidence 50) and
AutoAttack, at 4/255; here AutoPGD stands beside them, by which claims are judged, for the others miss more.
"""

from collections.abc import Mapping
from typing import Any

from study.spec.domains import Value
from study.spec.studies import Arm, Preset

Axes = Mapping[str, tuple[Value, ...]]
SEEDS, TWO_SEEDS = (0, 1, 2, 3, 4), (0, 1)
FREE: Axes = {"frobenius": (0.0,)}
# Draws are averaged, and depths compared: neither parts a study's nets.
ABOUT = ("keep_prob", "prune_ratio", "mask_draw", "depth")
KEPT = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
FEWER = (1.0, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2)
DRAWS = (0, 1, 2)
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 1.0)

OF_MASKS = {"recipe": "paper_b", "mask_on": "all", "eps_l2": (), "more_steps": 5, "gap_iterations": 10}
RISK = {"risk_eps": (0.25, 0.5, 1.0), "risk_points": 50, "risk_images": 100}
SMALL = {"depth": 1, "more_attacks": ("fgsm", "pgd", "cw")}
# A ViT from random weights that tells digits apart: of 20 epochs one is right in 84 cases of 100.
SMALL_VIT = {
    "recipe": "paper_b_vit", "width": 64, "depth": 2, "patch_size": 8, "epochs": 100, "risk_points": 20,
    "risk_images": 50,
}  # fmt: skip
SMALL_CNN = {
    "width_multiplier": 0.25, "recalibrate": 1, "risk_points": 20, "risk_images": 50, "second_images": 50,
}  # fmt: skip
DIGITS = {"eps_linf": (8 / 255, 16 / 255), "judged_linf": 16 / 255}
MNIST = {
    "train_size": 5000, "test_size": 1000, "eps_linf": (4 / 255, 8 / 255), "judged_linf": 8 / 255, "risk_images": 50,
    "risk_points": 20, "second_images": 100,
}  # fmt: skip
PUBLISHED = OF_MASKS | {
    "eps_linf": (4 / 255, 8 / 255), "judged_linf": 4 / 255, "attack_iterations": 100, "attack_restarts": 5,
    "more_attacks": ("fgsm", "pgd", "cw", "autoattack"),
}  # fmt: skip
PUBLISHED_RISK = {"risk_eps": (0.25, 0.5, 1.0), "risk_points": 200}
SMOKE = {
    "epochs": 2, "width": 16, "train_size": 200, "test_size": 40, "attack_iterations": 3, "gap_iterations": 3,
    "risk_points": 3, "risk_images": 10,
}  # fmt: skip


def masked(name: str, kept: tuple[float, ...], **more: tuple[Value, ...]) -> Arm:
    """Trained nets whose weights are masked to falling shares by one rule."""
    return _arm(name, {"keep_prob": kept, **more})


def removed(name: str, kept: tuple[float, ...]) -> Arm:
    """Trained nets whose hidden rows (neurons, filters, heads and units of MLPs) are removed to falling shares."""
    return _arm(name, {"prune_ratio": tuple(round(1 - share, 9) for share in kept)})


def _arm(name: str, moved: Axes) -> Arm:
    axes: Axes = {**FREE, **moved}
    return Arm(name=name, family="compressed", axes=axes, about=tuple(a for a in ABOUT if a in axes))


def control_rate() -> Arm:
    """Nets that are not masked, along the learning rate: too small and too large a rate both cost what is learnt."""
    axes: Axes = {**FREE, "learning_rate": RATES}
    return Arm(name="control_rate", family="compressed", axes=axes, about=("learning_rate",))


def smoke(arms: tuple[Arm, ...]) -> Preset:
    """Seconds on digits: it judges nothing."""
    return Preset(arms=arms, seeds=TWO_SEEDS, settings=OF_MASKS | RISK | SMALL | SMOKE)


def laptop(arms: tuple[Arm, ...], model: str = "fcn", **more: Any) -> Preset:
    """Digits, or 5000 images of another data set, at settings that `more` overrides."""
    settings = OF_MASKS | RISK | SMALL | DIGITS | more
    other = MNIST | ({"patch_size": 4} if model == "attention_block" else {})  # of images of 28 pixels a side
    return Preset(arms=arms, seeds=SEEDS, model=model, settings=settings, by_data={"*": other})


def paper(arms: tuple[Arm, ...], model: str = "fcn", data: str = "mnist", gpus: float = 0.25, **more: Any) -> Preset:
    """The published protocol, at settings that `more` overrides."""
    settings = PUBLISHED | PUBLISHED_RISK | {"epochs": 30} | more
    return Preset(
        arms=arms, seeds=SEEDS, data=data, model=model, settings=settings, gpus_per_trial=gpus, instance="g5.xlarge"
    )
