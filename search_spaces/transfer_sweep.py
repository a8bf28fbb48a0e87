"""Does the vulnerability of a compressible encoder pass to whatever it is used for?

Paper A, section 4 (iii) and Figure 7 (right), row A9 of the protocol: ResNet18 pretrained on CIFAR-100 under alpha,
then frozen, a linear head trained on CIFAR-10, and the whole attacked. Expected by the paper: the more compressible the
pretrained encoder, the less robust the net that uses it.

    python -m study.launch transfer_sweep

Beside it stands an encoder that was never trained (arm `random`): where its head is as good, the pretraining says
nothing about the transfer.

laptop: digits enlarged to 32 x 32, ResNet18 at a quarter of the width, pretrained on the digits 0 to 4, the head
trained and attacked on 5 to 9; five seeds, ten minutes on two cores. No verdict can be had there, for an encoder that
was never trained does as well. Other data: likewise, pretrained on the lower half of the classes. paper: CIFAR-100 to
CIFAR-10 at full width, budgets a quarter of those of adversarial training.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import (
    ALPHAS_FEW_STEPS,
    ALPHAS_INVARIANT,
    CONV_DIGITS,
    FREE,
    PUBLISHED,
    ROWS_CIFAR,
    SEEDS,
    SMOKE_CONV,
    TWO_SEEDS,
    Axes,
    control_neuron,
)
from study.spec.studies import Arm, Preset, Study

FROZEN: Axes = {"freeze": ("encoder",), "penalised_in": ("pretraining",), **FREE}
LASSO = "group_lasso_invariant"


def _transfer(alphas: tuple[float, ...], data: str) -> Arm:
    return Arm(
        name="neuron",
        family="transfer",
        axes={"alpha": alphas, "penalty": (LASSO,), "pretrain_data": (data,), **FROZEN},
    )


def _control(data: str) -> Arm:
    return control_neuron({"pretrain_data": (data,), **FROZEN}, "transfer")


def _random(data: str) -> Arm:
    axes: Axes = {"pretrain_data": (data,), "pretrain_epochs": (0,), "freeze": ("encoder",), **FREE}
    return Arm(name="random", family="transfer", axes=axes)


HEAD = {"epochs": 30, "learning_rate": 1e-2}
CIFAR = {"epochs": 10, "learning_rate": 1e-2, "pretrain_epochs": 8, "pretrain_learning_rate": 1e-3}

STUDY = Study(
    name="transfer_sweep",
    question="Does a compressible pretrained encoder make the net that uses it less robust?",
    reproduces=("A.fig7",),
    covers=("A9",),
    figures=("robustness", "compressibility"),
    claims=("A-iii-transfer",),
    presets={
        "smoke": Preset(
            arms=(_transfer((0.0, 0.1), "other_classes"),),
            seeds=TWO_SEEDS,
            model="resnet18",
            settings=SMOKE_CONV | {"pretrain_epochs": 1},
        ),
        "laptop": Preset(
            arms=(_transfer(ALPHAS_FEW_STEPS, "other_classes"), _random("other_classes"), _control("other_classes")),
            seeds=SEEDS,
            model="resnet18",
            settings=CONV_DIGITS | HEAD | {"test_size": 0, "pretrain_epochs": 40, "pretrain_learning_rate": 3e-3},
            by_data={"*": ROWS_CIFAR | CIFAR},
        ),
        "paper": Preset(
            arms=(_transfer(ALPHAS_INVARIANT, "cifar100"), _random("cifar100"), _control("cifar100")),
            seeds=SEEDS,
            data="cifar10",
            model="resnet18",
            settings=PUBLISHED | {"pretrain_epochs": 100, "pretrain_recipe": "paper_a"},
            gpus_per_trial=0.25,
            instance="g5.xlarge",
        ),
    },
)
