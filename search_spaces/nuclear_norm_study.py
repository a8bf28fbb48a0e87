"""Does spectral compressibility bring prunability, and cost robustness through the directions that it makes strong?

Paper A, section 4.1 and Figures 2 and 4, row A1 of the protocol: a fully connected net of one hidden layer of 400
without bias, a nuclear norm of growing strength alpha, the hidden layer held at its initial Frobenius norm. Expected by
the paper: as alpha grows the spectrum becomes more compressible, the net keeps its accuracy under stronger pruning,
robust accuracy falls, the attack aligns with the dominant singular directions, and the representation moves farther
under it. Figure 2 shows the decision boundaries of the baseline and of a compressible net in the plane of the first two
principal components, of the images and of their representations.

    python -m study.launch nuclear_norm_study
    python -m study.launch nuclear_norm_study --data mnist --data-dir DIR

Pruning is by rows, as in the paper, to a fifth of them, where the curve bends; rank truncation to a tenth of each
spectrum, which is what a compressible spectrum promises, is ours. Their controls are nets that prune well by
construction: under group lasso the smallest rows hold next to nothing, and of a net trained at a small rank nothing is
cut off.

laptop: scikit-learn's digits, nine strengths, five seeds, four minutes on two cores. Strengths past the turning point
of compressibility (here .1) are shown and not judged.
paper: MNIST, all training images, early stopping on 5 % validation with patience 10; the paper prints no grid of alpha.
The budgets of C.3 (2/255 and .125) stand in the table; as on mnist at laptop scale, claims are judged at 8/255 and 1.0,
four times the published budgets under l_inf and eight times the published budgets under l_2.
smoke: seconds, two seeds of two strengths; it judges nothing.
"""

from search_spaces._paper_a import (
    HELD,
    PUBLISHED_ATTACK,
    SEEDS,
    TINY,
    TWO_SEEDS,
    control_spectral,
    neuron,
)
from study.spec.studies import Arm, Preset, Study

PENALTY = {"penalty": ("nuclear_norm",)}
SETTINGS = {
    "width": 400,
    "depth": 1,
    "representations": 1,
    "pruning": ("rows", "low_rank"),
    "pruning_kept": (0.5, 0.2, 0.1, 0.05, 0.02),
}


def _arms(alphas: tuple[float, ...]) -> tuple[Arm, ...]:
    return (
        Arm(name="spectral", family="regularization", axes={"alpha": alphas, **PENALTY, **HELD}),
        control_spectral(HELD),
        Arm(name="control_rank", family="low_rank", axes={"rank": (0, 40, 20, 10, 6), **HELD}),
        neuron((0.0, 0.003, 0.01, 0.02, 0.03), "group_lasso", HELD, name="control_rows"),
    )


MNIST_ALPHAS = (0.0, 0.0002, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.02)
MNIST = {
    "epochs": 10,
    "train_size": 5000,
    "test_size": 1000,
    "alpha": MNIST_ALPHAS,
    "eps_linf": (8 / 255,),
    "judged_linf": 8 / 255,
    "eps_l2": (0.5, 1.0),
    "judged_l2": 1.0,
}

STUDY = Study(
    name="nuclear_norm_study",
    question="Does a compressible spectrum make nets prunable, and attacks stronger along its dominant directions?",
    reproduces=("A.fig2", "A.fig4"),
    covers=("A1",),
    figures=("representations", "boundaries", "pruning_curves", "compressibility"),
    claims=("A-i-nuclear", "A-nuclear-prunes", "A-nuclear-truncates", "A-growth", "A-directions"),
    presets={
        "smoke": Preset(
            arms=(Arm(name="spectral", family="regularization", axes={"alpha": (0.0, 0.03), **PENALTY, **HELD}),),
            seeds=TWO_SEEDS,
            settings=SETTINGS | TINY | {"width": 32, "pruning_kept": (0.5, 0.1), "boundaries": 1},
        ),
        "laptop": Preset(
            arms=_arms((0.0, 0.001, 0.002, 0.004, 0.007, 0.012, 0.02, 0.03, 0.1)),
            seeds=SEEDS,
            settings=SETTINGS | {"epochs": 30, "eps_linf": (16 / 255,), "eps_l2": (0.25, 0.5), "boundaries": 1},
            by_data={"mnist": MNIST, "*": MNIST | {"eps_linf": (2 / 255,), "judged_linf": 2 / 255}},
        ),
        "paper": Preset(
            arms=_arms(MNIST_ALPHAS),
            seeds=SEEDS,
            data="mnist",
            settings=SETTINGS
            | PUBLISHED_ATTACK
            | {"epochs": 100, "validation": 0.05, "patience": 10, "boundaries": 1}
            | {"eps_linf": (2 / 255, 8 / 255), "judged_linf": 8 / 255, "eps_l2": (0.125, 1.0), "judged_l2": 1.0},
            instance="g5.xlarge",
        ),
    },
)
