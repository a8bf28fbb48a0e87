"""Does pruning and then fine-tuning an adversarially trained net leave it vulnerable?

Paper A, appendix D.8 and Figure 16, row A17 of the protocol: ResNet18 adversarially trained on CIFAR-10, its filters
pruned layerwise at one ratio, then fine-tuned adversarially (half of each batch), training stopped by the adversarial
accuracy on validation images. Expected by the paper: even this common pipeline costs robust accuracy as the ratio
grows.

    python -m study.launch post_pruning_study

Filters are really removed, so that the net is smaller; those that residual paths add to each other go together. The
least ratio (.1) is the baseline: a net that is not pruned is not fine-tuned. The epochs of fine-tuning are ours.

laptop: digits enlarged to 32 x 32, a quarter of the width, five seeds, 15 epochs against PGD of 3 steps at 24/255, at
most 8 after pruning; eight minutes on two cores. paper: the full width, 60 epochs on a cosine, at most 30 after
pruning.
smoke: seconds, two seeds of two ratios; it judges nothing.
"""

from search_spaces._paper_a import (
    ATTACKED_DIGITS,
    CONV_CIFAR,
    CONV_DIGITS,
    PUBLISHED_ADVERSARIAL,
    SEEDS,
    SMOKE_CONV,
    TWO_SEEDS,
    Axes,
    control_neuron,
)
from study.spec.studies import Arm, Preset, Study

ATTACKED: Axes = {"frobenius": (0.0,), "adversarial_ratio": (0.5,)}
STOPPED = {"finetune_stop_on": "adversarial_accuracy", "finetune_patience": 3, "validation": 0.1}


def _pruned(ratios: tuple[float, ...], epochs: int) -> Arm:
    axes: Axes = {"prune_ratio": ratios, **ATTACKED, "finetune": ("adversarial",), "finetune_epochs": (epochs,)}
    return Arm(name="pruned", family="compressed", axes=axes)


RATIOS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)

STUDY = Study(
    name="post_pruning_study",
    question="Does an adversarially trained net stay robust when it is pruned and fine-tuned adversarially?",
    reproduces=("A.fig16",),
    covers=("A17",),
    figures=("plain",),
    claims=("A-D8",),
    baseline={"prune_ratio": 0.1},
    presets={
        "smoke": Preset(
            arms=(_pruned((0.1, 0.5), 1),),
            seeds=TWO_SEEDS,
            model="resnet18",
            settings=SMOKE_CONV | STOPPED | {"train_size": 120, "train_steps": 2, "finetune_patience": 1},
        ),
        "laptop": Preset(
            arms=(_pruned(RATIOS, 8), control_neuron(ATTACKED)),
            seeds=SEEDS,
            model="resnet18",
            settings=CONV_DIGITS | ATTACKED_DIGITS | STOPPED | {"epochs": 15},
            by_data={
                "*": CONV_CIFAR
                | STOPPED
                | {"train_eps": 8 / 255, "train_attack": "fgsm_rs", "eps_linf": (2 / 255,), "judged_linf": 2 / 255}
            },
        ),
        "paper": Preset(
            arms=(_pruned(RATIOS, 30), control_neuron(ATTACKED)),
            seeds=SEEDS,
            data="cifar10",
            model="resnet18",
            settings=PUBLISHED_ADVERSARIAL | STOPPED | {"finetune_patience": 10},
            gpus_per_trial=0.5,
            instance="g5.xlarge",
        ),
    },
)
