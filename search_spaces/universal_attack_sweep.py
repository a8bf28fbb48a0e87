"""Does compressibility open nets to universal adversarial examples, where a larger norm does not?

Paper A, section 4 (iv) and Figure 7 (center), row A8 of the protocol: the nets of its Figure 5 top. In one arm group
lasso of growing strength alpha at a fixed Frobenius norm, in the other the constant at which the norm is held, without
a penalty. One perturbation for all images is made on training images by sign steps on their mean loss, and judged on
test images: the fooling rate is the share whose class it changes. Beside it stand robust accuracy, and what a random
perturbation of the same norm does. Expected by the paper: robust accuracy falls in both arms, the fooling rate rises in
the first alone. That is an interaction, and is judged as one: between the ends of both arms, by the fooling rate above
that of random perturbations.

    python -m study.launch universal_attack_sweep

The paper gives neither the constants, nor the budget of the universal example, nor the split it is made and judged on.
Here: constants from 1 to 6 times the initial norm (at 5 RA/SA has fallen about as far as at alpha .03, in a pilot of
one seed), the judged l_inf budget, made on training images and judged on test images.

laptop: scikit-learn's digits, 4 x 200, five seeds, three minutes on two cores; other data: 4 x 400.
paper: CIFAR-10, 4 x 2000, a quarter of the budgets of adversarial training.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import FEW_IMAGES, HELD, PUBLISHED, SEEDS, TINY, TWO_SEEDS, control_neuron
from study.spec.studies import Arm, Preset, Study

PENALTY = {"penalty": ("group_lasso",)}
CLEAN = {"adversarial_ratio": (0.0,)}


def _arms(alphas: tuple[float, ...], constants: tuple[float, ...]) -> tuple[Arm, ...]:
    return (
        Arm(name="neuron", family="regularization", axes={"alpha": alphas, **PENALTY, **HELD}),
        Arm(name="scale", family="regularization", axes={"frobenius": constants, **CLEAN}, about=("frobenius",)),
    )


WHOLE = (
    *_arms((0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.03), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)),
    control_neuron(HELD),
)
MNIST = FEW_IMAGES | {"width": 400, "epochs": 10, "eps_linf": (4 / 255, 8 / 255), "judged_linf": 8 / 255}

STUDY = Study(
    name="universal_attack_sweep",
    question="Does compressibility open nets to universal perturbations more than a larger Frobenius norm does?",
    reproduces=("A.fig7",),
    covers=("A8",),
    figures=("universal", "plain"),
    claims=("A-iv-neuron", "A-iv-scale", "A-iv-interaction"),
    presets={
        "smoke": Preset(
            arms=_arms((0.0, 0.03), (1.0, 4.0)),
            seeds=TWO_SEEDS,
            settings=TINY | {"width": 32, "depth": 2, "universal": 1},
        ),
        "laptop": Preset(
            arms=WHOLE,
            seeds=SEEDS,
            settings={"epochs": 30, "universal": 1, "eps_linf": (8 / 255, 16 / 255)},
            by_data={"mnist": MNIST, "*": MNIST | {"eps_linf": (1 / 255, 2 / 255), "judged_linf": 2 / 255}},
        ),
        "paper": Preset(
            arms=WHOLE,
            seeds=SEEDS,
            data="cifar10",
            settings=PUBLISHED | {"width": 2000, "universal": 1},
            gpus_per_trial=0.25,
            instance="g5.xlarge",
        ),
    },
)
