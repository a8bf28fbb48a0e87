"""What does pruning leave of an adversarially trained net, and what helps?

Paper A, section 4 (v) and Figure 8, row A10 of the protocol: ResNet18 adversarially trained on CIFAR-10, the baseline
(alpha 0) against a net regularised to be compressible (alpha .1), each pruned to shares of its filters and attacked
after each point. Layerwise pruning keeps one ratio in every layer; eps-pruning gives every layer the smallest k that
reaches the same eps. Control of the spread penalises the variance of the largest 5 % of each layer's filter norms.
Expected by the paper: compressed nets are at no point better than the baseline that is not pruned; where few filters
are left the regularised net keeps more; eps-pruning and control of the spread help.

    python -m study.launch pruning_curve_study
    python -m study.launch pruning_curve_study --data cifar10-jpeg --data-dir DIR

The points compared are nine tenths of the filters for the first claim and seven tenths for the others, where the curves
bend: seeds 0 to 4 of digits chose them, other seeds and other data judge there. The strength of the spread control is
ours (.1): the paper prints none.

laptop: digits enlarged to 32 x 32, a quarter of the width, seeds 5 to 9, 15 epochs against PGD of 3 steps. Ten minutes
on two cores; on cifar10-jpeg all training images, 5 epochs against FGSM from random starts, half an hour.
paper: the full width, 60 epochs on a cosine, PGD of 10 steps on half of each batch, adversarial validation.
smoke: seconds, two seeds; it judges nothing.
"""

from search_spaces._paper_a import (
    CONV_CIFAR,
    CONV_DIGITS,
    PUBLISHED_ADVERSARIAL,
    SEEDS,
    SMOKE_CONV,
    TWO_SEEDS,
    Axes,
)
from study.spec.studies import Arm, Preset, Study

SHARES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1)


def _curves(*alphas: float, spreads: tuple[float, ...] = (0.0, 0.1)) -> tuple[Arm, ...]:
    axes: Axes = {
        "alpha": alphas,
        "spread_control": spreads,
        "penalty": ("group_lasso_invariant",),
        "frobenius": (0.0,),
        "adversarial_ratio": (0.5,),
    }
    return (Arm(name="curves", family="regularization", axes=axes, about=("alpha", "spread_control")),)


PRUNED = {"pruning": ("rows", "global_rows", "eps", "weights", "low_rank"), "pruning_kept": SHARES}
FEWER = {"pruning": ("rows", "eps"), "pruning_kept": SHARES}

STUDY = Study(
    name="pruning_curve_study",
    question="What does pruning leave of an adversarially trained net, and do eps-pruning and spread control help?",
    reproduces=("A.fig8",),
    covers=("A10",),
    figures=("pruning_curves", "plain"),
    claims=("A-v-inherit", "A-v-retain", "A-v-eps", "A-v-spread"),
    presets={
        "smoke": Preset(
            arms=_curves(0.0, 0.1, spreads=(0.0,)),
            seeds=TWO_SEEDS,
            model="resnet18",
            settings=SMOKE_CONV | {"pruning": ("rows", "eps"), "pruning_kept": (1.0, 0.5), "train_steps": 2},
        ),
        "laptop": Preset(
            arms=_curves(0.0, 0.1),
            seeds=(5, 6, 7, 8, 9),
            model="resnet18",
            settings=CONV_DIGITS
            | FEWER
            | {"epochs": 15, "schedule": "constant", "train_eps": 16 / 255, "train_steps": 3},
            by_data={
                "*": CONV_CIFAR
                | FEWER
                | {"epochs": 5, "train_eps": 8 / 255, "train_attack": "fgsm_rs"}
                | {"eps_linf": (2 / 255,), "judged_linf": 2 / 255}
            },
        ),
        "paper": Preset(
            arms=_curves(0.0, 0.1),
            seeds=SEEDS,
            data="cifar10",
            model="resnet18",
            settings=PUBLISHED_ADVERSARIAL | PRUNED,
            gpus_per_trial=0.5,
            instance="g5.xlarge",
        ),
    },
)
