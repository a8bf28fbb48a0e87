"""Does what compressibility costs outlast adversarial training?

Paper A, section 4 (ii), D.3, Figures 7 (left) and 11 (left, center), row A7 of the protocol: nets trained adversarially
from end to end (half of each batch by PGD), and nets trained under alpha and then fine-tuned adversarially; neuron
compressibility under l_inf, spectral compressibility under l_2. Expected by the paper: adversarial training raises
robust accuracy at every level, and leaves the relative effect of compressibility as it is.

    python -m study.launch adversarial_training_sweep

A gives no schedule for the fine-tuning; here it is a second training of the ordinary length under the same penalty,
with the adversary. Both arms are trained against l_inf (the paper does not say); the spectral arm is judged under l_2,
and has no fine-tuned twin. Fine-tuned nets are judged at the budget of the others, so that both can be compared; the
quarter of it that the paper takes for them is measured beside it.

laptop: digits enlarged to 32 x 32, ResNet18 at a quarter of the width, five seeds, 15 epochs against PGD of 3 steps at
24/255 and judged there (at 16/255 next to nothing falls): half an hour on two cores. paper: the full width, CIFAR-10,
PGD of 10 steps at 8/255, 60 epochs on a cosine, adversarial validation.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import (
    ALPHAS_FEW_STEPS,
    ALPHAS_INVARIANT,
    ATTACKED_DIGITS,
    CONV_DIGITS,
    PUBLISHED_ADVERSARIAL,
    ROWS_CIFAR,
    SEEDS,
    SMOKE_CONV,
    TWO_SEEDS,
    Axes,
    conv_arms,
    neuron,
)
from study.spec.studies import Arm, Preset, Study

LASSO = "group_lasso_invariant"
ATTACKED = {"frobenius": (0.0,), "adversarial_ratio": (0.5,)}


def _tuned(alphas: tuple[float, ...]) -> Arm:
    """Trained under alpha without an adversary, then fine-tuned under alpha with one."""
    axes: Axes = {"alpha": alphas, "penalty": (LASSO,), **ATTACKED, "pretrain_data": ("own",), "pretrain_ratio": (0.0,)}
    return Arm(name="tuned", family="transfer", axes=axes)


def _arms(alphas: tuple[float, ...]) -> tuple[Arm, ...]:
    return (*conv_arms(ATTACKED, alphas), _tuned(alphas))


DIGITS = CONV_DIGITS | ATTACKED_DIGITS | {"epochs": 15, "pretrain_epochs": 15}
CIFAR = ROWS_CIFAR | {"train_attack": "fgsm_rs", "train_eps": 8 / 255, "eps_linf": (2 / 255,), "judged_linf": 2 / 255}

STUDY = Study(
    name="adversarial_training_sweep",
    question="Does compressibility lower robust accuracy under adversarial training and fine-tuning too?",
    reproduces=("A.fig7", "A.fig11"),
    covers=("A7",),
    figures=("robustness", "compressibility"),
    claims=("A-ii-trained-neuron", "A-ii-trained-spectral", "A-ii-tuned-neuron"),
    presets={
        "smoke": Preset(
            arms=(neuron((0.0, 0.1), LASSO, ATTACKED), _tuned((0.0, 0.1))),
            seeds=TWO_SEEDS,
            model="resnet18",
            settings=SMOKE_CONV | {"train_steps": 2, "pretrain_epochs": 1},
        ),
        "laptop": Preset(
            arms=_arms(ALPHAS_FEW_STEPS),
            seeds=SEEDS,
            model="resnet18",
            settings=DIGITS,
            by_data={"*": CIFAR | {"pretrain_epochs": 4}},
        ),
        "paper": Preset(
            arms=_arms(ALPHAS_INVARIANT),
            seeds=SEEDS,
            data="cifar10",
            model="resnet18",
            settings=PUBLISHED_ADVERSARIAL | {"pretrain_epochs": 60, "pretrain_recipe": "paper_a"},
            gpus_per_trial=0.5,
            instance="g5.xlarge",
        ),
    },
)
