"""Does a penalty on the alignment of consecutive layers make nets more robust?

The reading notes on paper A name inter-layer alignment as a target of regularisation (row A18 of the protocol); the
paper itself has no such experiment. Four hidden layers, each held at its initial Frobenius norm; the penalty is the
main term of Theorem 3.2's A_2 at D = I of consecutive hidden layers. Asked is whether it lowers the alignment that a
search finds (paper A, B.5), and whether RA/SA under l_2 rises.

    python -m study.launch alignment_study

laptop: scikit-learn's digits, 4 x 200, five seeds, three minutes on two cores. paper: CIFAR-10, 4 x 2000.
smoke: seconds, two seeds of two strengths; it judges nothing.
"""

from search_spaces._paper_a import FEW_IMAGES, HELD, PUBLISHED, SEEDS, TINY, TWO_SEEDS, control_spectral
from study.spec.studies import Arm, Preset, Study


def _aligned(*strengths: float) -> Arm:
    return Arm(
        name="aligned",
        family="regularization",
        axes={"alignment_penalty": strengths, **HELD},
        about=("alignment_penalty",),
    )


ARMS = (_aligned(0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), control_spectral(HELD))
MNIST = FEW_IMAGES | {"width": 400, "epochs": 10, "eps_linf": (8 / 255,), "judged_linf": 8 / 255}

STUDY = Study(
    name="alignment_study",
    question="Does a penalty on the alignment of consecutive layers raise robust accuracy?",
    covers=("A18",),
    figures=("plain",),
    claims=("A-notes-aligned", "A-notes-alignment"),
    presets={
        "smoke": Preset(arms=(_aligned(0.0, 1.0),), seeds=TWO_SEEDS, settings=TINY | {"width": 32, "depth": 2}),
        "laptop": Preset(
            arms=ARMS,
            seeds=SEEDS,
            settings={"epochs": 30},
            by_data={"mnist": MNIST, "*": MNIST | {"eps_linf": (1 / 255, 2 / 255), "judged_linf": 2 / 255}},
        ),
        "paper": Preset(
            arms=ARMS,
            seeds=SEEDS,
            data="cifar10",
            settings=PUBLISHED | {"width": 2000},
            gpus_per_trial=0.25,
            instance="g5.xlarge",
        ),
    },
)
