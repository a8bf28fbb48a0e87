"""Does unstructured sparsity make up for what structured compressibility costs?

Paper A, appendix D.5 and Figure 14, row A15 of the protocol: the net of its section B (two classes, two hidden layers
of 300), trained with l1 alone, with a structured penalty alone, or with both; group lasso under l_inf attacks, the
nuclear norm under l_2 attacks. Expected by the paper: l1 makes up for group lasso under l_inf, and does nothing for the
nuclear norm under l_2, as its Theorem 3.2 has unstructured compressibility in the l_inf bound alone.

    python -m study.launch unstructured_sweep

The paper raises l1 along with the structured penalty and prints neither strength. Here l1 is on at one strength beside
every alpha, the Frobenius norm is held, and the claim is judged at one alpha, named beforehand (.02), where group lasso
has lowered robustness well.

laptop: scikit-learn's digits, five seeds, four minutes on two cores. paper: MNIST, all training images; as in
bound_validation, two classes are hardly touched at the published budgets (.125 and 2/255): they stand in the table, and
the claims are judged at eight times the published budgets.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import (
    BINARY,
    BINARY_FEW,
    BINARY_OTHER,
    BINARY_PUBLISHED,
    HELD,
    SEEDS,
    TINY,
    TWO_SEEDS,
    control_neuron,
    control_spectral,
)
from study.spec.studies import Arm, Preset, Study

ALPHAS = (0.0, 0.003, 0.006, 0.01, 0.02, 0.03)
L1 = (0.0003,)


def _penalised(name: str, penalty: str, l1: tuple[float, ...], alphas: tuple[float, ...] = ALPHAS) -> Arm:
    return Arm(name=name, family="regularization", axes={"alpha": alphas, "l1": l1, "penalty": (penalty,), **HELD})


ARMS = (
    _penalised("structured", "group_lasso", (0.0,)),
    _penalised("both", "group_lasso", L1),
    Arm(name="unstructured", family="regularization", axes={"l1": (0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3), **HELD}),
    _penalised("spectral_structured", "nuclear_norm", (0.0,)),
    _penalised("spectral_both", "nuclear_norm", L1),
    control_neuron(HELD),
    control_spectral(HELD),
)
STUDY = Study(
    name="unstructured_sweep",
    question="Does unstructured sparsity make up for the robustness that structured compressibility costs?",
    reproduces=("A.fig14",),
    covers=("A15",),
    figures=("plain",),
    claims=("A-D5-neuron", "A-D5-interaction"),
    presets={
        "smoke": Preset(
            arms=(
                _penalised("structured", "group_lasso", (0.0,), (0.0, 0.02)),
                _penalised("both", "group_lasso", L1, (0.0, 0.02)),
            ),
            seeds=TWO_SEEDS,
            settings=BINARY | TINY | {"width": 32},
        ),
        "laptop": Preset(
            arms=ARMS,
            seeds=SEEDS,
            settings=BINARY | {"epochs": 30, "eps_linf": (8 / 255, 16 / 255)},
            by_data={"mnist": BINARY_FEW, "*": BINARY_OTHER},
        ),
        "paper": Preset(
            arms=ARMS,
            seeds=SEEDS,
            data="mnist",
            settings=BINARY_PUBLISHED,
            instance="g5.xlarge",
        ),
    },
)
