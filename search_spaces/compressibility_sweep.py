"""Does compressibility cost robustness when the scale of the weights is held fixed?

Paper A, Figure 5 (top), row A2 of the protocol: fully connected nets of four hidden layers, every hidden layer held
at its initial Frobenius norm. The neuron arm adds group lasso of growing strength alpha, the spectral arm factorizes
every hidden layer at a falling rank. Expected by the paper: robust accuracy, and its ratio to clean accuracy, fall as
the nets become more compressible, under l_inf for the neuron arm and under l_2 for the spectral arm. The two control
arms concentrate the weights of trained baselines by hand: an effect that the analysis must detect. Accuracy after
pruning is drawn and not judged: paper A's claim is about another net (row A1), and needs a control that prunes well.

    python -m study.launch compressibility_sweep

laptop: scikit-learn's digits, 4 x 200, five seeds, a few minutes on two cores; other data: 4 x 400. The l_2 budget
(0.5) was chosen by a pilot so that the baseline's robust accuracy lies between .3 and .9. Six claims of one report
ask for six levels each that can be judged, so each arm has seven: ranks above k = 10 % of the width (20, 40, 200),
below which a spectrum has no residual left, and alphas up to the turning point of compressibility. An alpha past it
(.1, where the net that keeps the fixed norm spreads again) is shown and not judged.
paper: CIFAR-10, 4 x 2000, five seeds, a quarter of the published adversarial-training budgets (2/255 and .125), as the
paper has it for nets without adversarial training, early stopping on 5 % validation with patience 10. The paper prints
no grid; this one spans the same range of compressibility.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from study.spec.studies import Arm, Preset, Study

HELD = {"frobenius": (1.0,), "adversarial_ratio": (0.0,)}
PENALTY = {"penalty": ("group_lasso",)}


def _arms(ranks: tuple[int, ...]) -> tuple[Arm, ...]:
    """Both arms and their controls; the ranks follow the width."""
    alphas = (0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.03, 0.1)
    rows, spectrum = (0.0, 0.2, 0.3, 0.4, 0.5), (0.0, 0.25, 0.5, 0.75, 1.0)
    return (
        Arm(name="neuron", family="regularization", axes={"alpha": alphas, **PENALTY, **HELD}),
        Arm(name="spectral", family="low_rank", axes={"rank": ranks, **HELD}),
        Arm(name="control_neuron", family="regularization", axes={"plant_rows": rows, **HELD}),
        Arm(name="control_spectral", family="regularization", axes={"plant_spectrum": spectrum, **HELD}),
    )


RANKS_400 = (0, 256, 160, 112, 80, 60, 48)

LAPTOP = Preset(
    arms=_arms(ranks=(0, 128, 80, 56, 40, 30, 24)),
    seeds=(0, 1, 2, 3, 4),
    settings={"epochs": 30, "eps_linf": (8 / 255, 16 / 255, 24 / 255), "eps_l2": (0.25, 0.5)},
    by_data={
        "mnist": {
            "width": 400,
            "rank": RANKS_400,
            "epochs": 10,
            "train_size": 5000,
            "test_size": 1000,
            "eps_linf": (4 / 255, 8 / 255, 16 / 255),
            "judged_linf": 8 / 255,
            "eps_l2": (0.5, 1.0),
        },
        "*": {
            "width": 400,
            "rank": RANKS_400,
            "epochs": 20,
            "train_size": 5000,
            "test_size": 1000,
            "eps_linf": (1 / 255, 2 / 255, 4 / 255),
            "judged_linf": 2 / 255,
            "eps_l2": (0.125, 0.25),
            "judged_l2": 0.125,
        },
    },
)

SMOKE = Preset(
    arms=(
        Arm(name="neuron", family="regularization", axes={"alpha": (0.0, 0.03), **PENALTY, **HELD}),
        Arm(name="spectral", family="low_rank", axes={"rank": (0, 8), **HELD}),
    ),
    seeds=(0, 1),
    settings={"width": 32, "depth": 2, "epochs": 2, "test_size": 60, "attack_iterations": 5, "gap_iterations": 5},
)

PAPER = Preset(
    arms=_arms(ranks=(0, 1280, 800, 560, 400, 300, 240)),
    seeds=(0, 1, 2, 3, 4),
    data="cifar10",
    settings={
        "width": 2000,
        "epochs": 100,
        "validation": 0.05,
        "patience": 10,
        "eps_linf": (2 / 255, 8 / 255),
        "judged_linf": 2 / 255,
        "eps_l2": (0.125, 0.5),
        "judged_l2": 0.125,
        "attack_iterations": 100,
        "attack_restarts": 5,
    },
    gpus_per_trial=0.25,
    instance="g5.xlarge",
)

STUDY = Study(
    name="compressibility_sweep",
    question="Does compressibility lower robust accuracy when every hidden layer keeps its Frobenius norm?",
    reproduces=("A.fig5.top",),
    covers=("A2",),
    figures=("robustness", "compressibility", "bounds", "prunability"),
    claims=(
        "A-i-neuron",
        "A-i-spectral",
        "A-cross-neuron",
        "A-cross-spectral",
        "A-bound-neuron",
        "A-bound-spectral",
    ),
    presets={"smoke": SMOKE, "laptop": LAPTOP, "paper": PAPER},
)
