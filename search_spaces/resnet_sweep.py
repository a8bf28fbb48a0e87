"""Does compressibility cost robustness in a convolutional net, where no norm is held?

Paper A, Figures 5 (bottom) and 15 (bottom), rows A3 and A16 of the protocol: ResNet18 on CIFAR-10 under weight decay.
The neuron arm adds the scale-invariant group lasso (ratio of the l_1 to the l_2 norm of the filters' norms), the
spectral arm factorizes every hidden convolution at a falling rank. Expected by the paper: robust accuracy, and its
ratio to clean accuracy, fall in both arms, under either norm.

    python -m study.launch resnet_sweep
    python -m study.launch resnet_sweep --data cifar10-jpeg --data-dir DIR

laptop: digits enlarged to 32 x 32, a quarter of the width, the published stem, five seeds, 20 epochs on a cosine from
.003, and strengths that move compressibility in so few steps. A quarter of an hour on two cores; on cifar10-jpeg (all
training images, 4 epochs) an hour and a half. 200 test images, 10 iterations of the attack.
paper: the full width, CIFAR-10, early stopping on 5 % validation with patience 10, a quarter of the budgets of
adversarial training. The paper prints no grid of alpha or rank.
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

STUDY = Study(
    name="resnet_sweep",
    question="Does compressibility lower the robust accuracy of ResNet18 under weight decay?",
    reproduces=("A.fig5.bottom", "A.fig15"),
    covers=("A3", "A16"),
    figures=("robustness", "compressibility"),
    claims=("A-i-resnet-neuron", "A-i-resnet-spectral", "A-D6-resnet-neuron", "A-D6-resnet-spectral"),
    presets={
        "smoke": Preset(
            arms=smoke_conv_arms(),
            seeds=TWO_SEEDS,
            model="resnet18",
            settings=SMOKE_CONV,
        ),
        "laptop": Preset(
            arms=conv_arms(alphas=ALPHAS_FEW_STEPS),
            seeds=SEEDS,
            model="resnet18",
            settings=CONV_DIGITS,
            by_data={"*": ROWS_CIFAR},
        ),
        "paper": Preset(
            arms=conv_arms(),
            seeds=SEEDS,
            data="cifar10",
            model="resnet18",
            settings=PUBLISHED,
            gpus_per_trial=0.25,
            instance="g5.xlarge",
        ),
    },
)
