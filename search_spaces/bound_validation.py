"""Does Corollary 3.3's bound follow the robustness gap that attacks really open?

Paper A, section 3 and appendix B.4, Figures 3 and 10, row A4 of the protocol: two classes (digits 0-4 against 5-9), a
fully connected net of two hidden layers of 300, the rank of both varied by factorization. Expected by the paper: the
l_2 bound and the empirical gap are closely correlated (rho = 0.947; it does not say which coefficient); the maximal and
the mean local sensitivity rise together; the product of spectral norms rises with compressibility while alignment shows
no consistent pattern.

    python -m study.launch bound_validation
    python -m study.launch bound_validation --preset paper --data-dir DIR --download

The gap (`loss_gap`) is taken twice: at the worst point that AutoPGD on the loss sees, and as the toolbox returns it
(attack `art/...`, the random start where the attack failed). Local sensitivity is ||phi(x') - phi(x)|| / ||x' - x||
at the worst points of the test images (paper: 1000 of them). The paper does not say whether the Frobenius norm is held;
here it is, as in its other low-rank nets (`--set frobenius=0` frees it).

Budgets: the paper attacks nets without adversarial training at .125 and 2/255 (C.3). Two classes of MNIST are hardly
touched there: trained on all images the baseline's robust accuracy is .97 (a pilot; .91 and .92 at four times that),
and no claim is judged above .9. So the preset `paper` judges at eight times the published budgets, 1.0 and 16/255
(.65 and .74), and measures at the published ones beside them; `--set judged_l2=0.125 --set judged_linf=2/255` judges
there. Digits are judged at 16/255 and .5, 5000 images of MNIST at 8/255 and .5, other data as published.

laptop: scikit-learn's digits, minutes on two cores; seven of its eleven ranks lie above k = 10 % of the width (30),
the others go on to where two directions of the spectrum are left. paper: MNIST, all training and 1000 test images.
smoke: seconds, two seeds of two ranks; it judges nothing.
"""

from study.spec.studies import Arm, Preset, Study

SETTINGS = {"width": 300, "depth": 2, "binary": 1, "sensitivity": 1, "attack_backend": "art"}  # for its loss gap
FROBENIUS = {"frobenius": (1.0,)}
SPECTRUM = (0.0, 0.25, 0.5, 0.75, 1.0)


def _arms(ranks: tuple[int, ...], spectrum: tuple[float, ...] = SPECTRUM) -> tuple[Arm, ...]:
    return (
        Arm(name="spectral", family="low_rank", axes={"rank": ranks, **FROBENIUS}),
        Arm(name="control_spectral", family="regularization", axes={"plant_spectrum": spectrum, **FROBENIUS}),
    )


RANKS = (0, 160, 112, 80, 60, 45, 36, 16, 8, 4, 2)
MNIST = {
    "epochs": 10,
    "train_size": 5000,
    "test_size": 1000,
    "eps_linf": (4 / 255, 8 / 255),
    "judged_linf": 8 / 255,
    "eps_l2": (0.25, 0.5),
    "judged_l2": 0.5,
}

PUBLISHED = {
    "eps_linf": (1 / 255, 2 / 255, 4 / 255),
    "judged_linf": 2 / 255,
    "eps_l2": (0.125, 0.25),
    "judged_l2": 0.125,
}

STUDY = Study(
    name="bound_validation",
    question="Does the bound of Corollary 3.3 follow the measured robustness gap as the rank falls?",
    reproduces=("A.fig3", "A.fig10"),
    covers=("A4",),
    figures=("gap", "anatomy", "robustness"),
    claims=("A-gap-l2", "A-gap-l2-art", "A-gap-linf", "A-sensitivity", "A-norms-rise"),
    presets={
        "smoke": Preset(
            arms=_arms((0, 8), (0.0, 0.5, 1.0)),
            seeds=(0, 1),
            settings=SETTINGS
            | {"width": 32, "epochs": 2, "test_size": 60, "attack_iterations": 5, "gap_iterations": 5},
        ),
        "laptop": Preset(
            arms=_arms(RANKS),
            seeds=(0, 1, 2, 3, 4),
            settings=SETTINGS | {"epochs": 30, "eps_linf": (8 / 255, 16 / 255), "eps_l2": (0.25, 0.5)},
            by_data={"mnist": MNIST, "*": MNIST | PUBLISHED},
        ),
        "paper": Preset(
            arms=_arms(RANKS),
            seeds=(0, 1, 2, 3, 4),
            data="mnist",
            settings=SETTINGS
            | MNIST
            | {
                "epochs": 100,
                "train_size": 0,
                "test_size": 1000,
                "eps_linf": (2 / 255, 16 / 255),
                "judged_linf": 16 / 255,
                "eps_l2": (0.125, 1.0),
                "judged_l2": 1.0,
                "validation": 0.05,
                "patience": 10,
                "attack_iterations": 100,
                "attack_restarts": 5,
            },
            instance="g5.xlarge",
        ),
    },
)
