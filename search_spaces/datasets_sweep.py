"""Does the effect of compressibility hold on other data and other convolutional nets?

Paper A, appendix D.1 and Figure 13, row A14 of the protocol: Wide ResNet 101-2 on SVHN and VGG16 on CIFAR-100, row and
spectral compressibility as for ResNet18. Expected by the paper: the same fall in both.

    python -m study.launch datasets_sweep
    python -m study.launch datasets_sweep --preset paper        # Wide ResNet 101-2, SVHN
    python -m study.launch datasets_sweep --preset paper_vgg    # VGG16, CIFAR-100

laptop: VGG16 at an eighth of the width (at a quarter a net takes more than twice as long and learns digits no better)
on digits enlarged to 32 x 32, five seeds, a quarter of an hour on two cores.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import (
    ALPHAS_FEW_STEPS,
    CONV_DIGITS,
    PUBLISHED,
    ROWS_CIFAR,
    SEEDS,
    SMOKE_CONV,
    TWO_SEEDS,
    conv_arms,
    smoke_conv_arms,
)
from study.spec.studies import Preset, Study


def _published(data: str, model: str, gpus: float) -> Preset:
    return Preset(
        arms=conv_arms(),
        seeds=SEEDS,
        data=data,
        model=model,
        settings=PUBLISHED,
        gpus_per_trial=gpus,
        instance="g5.xlarge",
    )


NARROW = {"width_multiplier": 0.125, "epochs": 12, "eps_linf": (16 / 255,)}
RANKS_NARROW = (0, 32, 20, 14, 10, 7, 4)

STUDY = Study(
    name="datasets_sweep",
    question="Does compressibility lower the robust accuracy of other convolutional nets on other data?",
    reproduces=("A.fig13",),
    covers=("A14",),
    figures=("robustness", "compressibility"),
    claims=("A-D1-neuron", "A-D1-spectral"),
    presets={
        "smoke": Preset(
            arms=smoke_conv_arms(),
            seeds=TWO_SEEDS,
            model="vgg16",
            settings=SMOKE_CONV,
        ),
        "laptop": Preset(
            arms=conv_arms(alphas=ALPHAS_FEW_STEPS, ranks=RANKS_NARROW),
            seeds=SEEDS,
            model="vgg16",
            settings=CONV_DIGITS | NARROW,
            by_data={"*": ROWS_CIFAR},
        ),
        "paper": _published("svhn", "wrn101_2", 1.0),
        "paper_vgg": _published("cifar100", "vgg16", 0.25),
    },
)
