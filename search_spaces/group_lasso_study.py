"""Does plain group lasso, which shrinks a net as it makes it sparse, first help robustness and then harm it?

Paper A, appendix D.2 and Figure 12, row A13 of the protocol: ResNet18 on CIFAR-10 as in Figure 5, with group lasso in
place of its scale-invariant form and no norm held. Expected by the paper: a tug of war between falling scale and rising
compressibility, so that robust accuracy rises slightly at very small strengths (its error bars are one standard
deviation), and falls beyond them.

    python -m study.launch group_lasso_study

The control of the rise and fall is clean accuracy along the learning rate, which a rate can miss on either side; on
digits at laptop scale few rates do, and the claim has no verdict.

laptop: digits enlarged to 32 x 32, a quarter of the width, five seeds, 40 epochs on a cosine (with fewer the plain form
does not concentrate rows), twenty minutes on two cores.
paper: the full width, CIFAR-10. The paper prints no grid.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import (
    CONV_CIFAR,
    CONV_DIGITS,
    FREE,
    PUBLISHED,
    SEEDS,
    SMOKE_CONV,
    TWO_SEEDS,
    control_neuron,
    neuron,
)
from study.spec.studies import Arm, Preset, Study

LASSO = "group_lasso"


def _rate(*rates: float) -> Arm:
    axes = {"learning_rate": rates, **FREE}
    return Arm(name="control_rate", family="regularization", axes=axes, about=("learning_rate",))


def _arms(alphas: tuple[float, ...]) -> tuple[Arm, ...]:
    plain = neuron(alphas, LASSO, FREE, name="plain")
    return (plain, _rate(3e-5, 1e-4, 1e-3, 3e-2, 1e-1, 1.0), control_neuron(FREE))


ALPHAS = (0.0, 0.0003, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03)
ALPHAS_FEW_STEPS = (0.0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3)

STUDY = Study(
    name="group_lasso_study",
    question="Does plain group lasso first raise and then lower the robust accuracy of ResNet18?",
    reproduces=("A.fig12",),
    covers=("A13",),
    figures=("robustness", "compressibility"),
    claims=("A-D2-tug", "A-D2-falls"),
    presets={
        "smoke": Preset(
            arms=(neuron((0.0, 0.03), LASSO, FREE, name="plain"),),
            seeds=TWO_SEEDS,
            model="resnet18",
            settings=SMOKE_CONV,
        ),
        "laptop": Preset(
            arms=_arms(ALPHAS_FEW_STEPS),
            seeds=SEEDS,
            model="resnet18",
            settings=CONV_DIGITS | {"epochs": 40, "eps_linf": (16 / 255,)},
            by_data={"*": CONV_CIFAR | {"alpha": ALPHAS}},
        ),
        "paper": Preset(
            arms=_arms(ALPHAS),
            seeds=SEEDS,
            data="cifar10",
            model="resnet18",
            settings=PUBLISHED,
            gpus_per_trial=0.25,
            instance="g5.xlarge",
        ),
    },
)
