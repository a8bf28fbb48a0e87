"""Does a larger learning rate make nets compressible, and does robustness rise first and then fall?

Paper A, appendix D.4 and Figure 11 right, row A12 of the protocol: the net of its section B (two classes, two hidden
layers of 300), no penalty, the initial learning rate of AdamW raised step by step. Expected by the paper: robust
accuracy under l_inf rises with the rate, and falls as soon as the rows become compressible. The paper does not say
whether the Frobenius norm is held: it runs free in one arm, held in the other.

    python -m study.launch learning_rate_study

laptop: scikit-learn's digits, nine rates, five seeds, three minutes on two cores. The control of the rise and fall is
the accuracy of held nets on their training images, which a rate can miss on either side; that of the rows' order is the
concentration of trained nets' rows by hand.
paper: MNIST, all training images, early stopping on 5 % validation with patience 10. The rates are ours. As in
bound_validation, two classes are hardly touched at the published budgets (.125 and 2/255): they stand in the table, and
the claims are judged at eight times the published budgets.
smoke: seconds, two seeds of two rates; it judges nothing.
"""

from search_spaces._paper_a import (
    BINARY,
    BINARY_FEW,
    BINARY_OTHER,
    BINARY_PUBLISHED,
    FREE,
    HELD,
    SEEDS,
    TINY,
    TWO_SEEDS,
    control_neuron,
)
from study.spec.studies import Arm, Preset, Study

RATES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 6e-2, 1e-1)


def _rated(name: str, rates: tuple[float, ...]) -> Arm:
    held = FREE if name == "free" else HELD
    axes = {"learning_rate": rates, **held}
    return Arm(name=name, family="regularization", axes=axes, about=("learning_rate", "frobenius"))


def _arms(rates: tuple[float, ...]) -> tuple[Arm, ...]:
    return (_rated("free", rates), _rated("held", rates), control_neuron(HELD))


STUDY = Study(
    name="learning_rate_study",
    question="Does a larger learning rate first raise and then lower robust accuracy, as rows become compressible?",
    reproduces=("A.fig11.right",),
    covers=("A12",),
    figures=("plain", "robustness"),
    claims=("A-D4-free", "A-D4-held", "A-D4-rows-free", "A-D4-rows-held"),
    baseline={"learning_rate": 1e-3},
    presets={
        "smoke": Preset(
            arms=(_rated("free", (1e-4, 1e-2)),),
            seeds=TWO_SEEDS,
            settings=BINARY | TINY | {"width": 32},
        ),
        "laptop": Preset(
            arms=_arms(RATES),
            seeds=SEEDS,
            settings=BINARY | {"epochs": 30, "eps_linf": (8 / 255, 16 / 255)},
            by_data={"mnist": BINARY_FEW, "*": BINARY_OTHER},
        ),
        "paper": Preset(
            arms=_arms(RATES),
            seeds=SEEDS,
            data="mnist",
            settings=BINARY_PUBLISHED,
            instance="g5.xlarge",
        ),
    },
)
