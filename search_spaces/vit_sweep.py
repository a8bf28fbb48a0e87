"""Does row compressibility cost a vision transformer its robustness, and what share of adversarial examples helps?

Paper A, Figure 6 (left), Table 1 and appendix D.6, rows A5 and A16 of the protocol: a ViT with 8 x 8 patches trained on
CIFAR-10 under the scale-invariant group lasso (which the paper says its main part has, D.2) on every linear layer of
its blocks (q, k and v as three matrices); and, without a penalty, with a share rho of adversarial examples in training,
attacked at several budgets (the same net at all of them). Expected by the paper: RA/SA falls as rows become
compressible; robust accuracy rises with rho at every budget where there is any.

    python -m study.launch vit_sweep

A does not say which rho its Figure 6 has; here 0 (`--set adversarial_ratio=0.5` trains every arm at .5).

laptop: 64 wide, three blocks, patches of 8 x 8 on digits enlarged to 32 x 32, five seeds, twenty minutes on two cores.
The plain form moved compressibility little there before it cost clean accuracy (`--set penalty=group_lasso`).
paper: ViT-B/8 from random weights on CIFAR-10 enlarged to 224 x 224, a quarter of the budgets for the alphas; for rho
all four of Table 1, and the recipe of adversarial training (cosine, crops) at each.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import (
    FREE,
    PUBLISHED,
    SEEDS,
    TINY,
    TWO_SEEDS,
    Axes,
    control_neuron,
    neuron,
)
from study.spec.studies import Arm, Preset, Study

ALPHAS = (0.0, 0.003, 0.006, 0.01, 0.02, 0.04, 0.1)
LASSO = "group_lasso_invariant"
SMALL = {"width": 64, "depth": 3, "patch_size": 8}


def _arms(**recipe: tuple[str, ...]) -> tuple[Arm, ...]:
    ratios: Axes = {"adversarial_ratio": (0.0, 0.05, 0.1, 0.25, 0.5, 1.0), "frobenius": (0.0,)}
    trained = Arm(name="trained", family="regularization", axes={**ratios, **recipe}, about=("adversarial_ratio",))
    return (neuron(ALPHAS, LASSO, FREE), trained, control_neuron(FREE))


TRAINED = {"epochs": 30, "learning_rate": 2e-3, "schedule": "cosine", "train_steps": 3}
LAPTOP = SMALL | TRAINED | {"test_size": 200, "attack_iterations": 10, "gap_iterations": 10}
BUDGETS = {"eps_linf": (4 / 255, 8 / 255, 16 / 255), "judged_linf": 8 / 255, "eps_l2": (0.25,), "judged_l2": 0.25}

STUDY = Study(
    name="vit_sweep",
    question="Does row compressibility cost a vision transformer its robust accuracy?",
    reproduces=("A.fig6", "A.tab1"),
    covers=("A5", "A16"),
    figures=("robustness", "compressibility"),
    claims=("A-i-vit", "A-D6-ratio"),
    presets={
        "smoke": Preset(
            arms=(neuron((0.0, 0.02), LASSO, FREE),),
            seeds=TWO_SEEDS,
            model="vit",
            settings=TINY | {"width": 32, "depth": 1, "patch_size": 8, "epochs": 1, "train_size": 60, "test_size": 20},
        ),
        "laptop": Preset(
            arms=_arms(),
            seeds=SEEDS,
            model="vit",
            settings=LAPTOP | {"train_eps": 16 / 255} | BUDGETS,
            by_data={
                "*": LAPTOP
                | {"train_size": 5000, "test_size": 500, "eps_linf": (0.5 / 255, 2 / 255), "judged_linf": 0.5 / 255}
                | {"eps_l2": (0.125,), "judged_l2": 0.125}
            },
        ),
        "paper": Preset(
            arms=_arms(recipe=("paper_a_adversarial",)),
            seeds=SEEDS,
            data="cifar10",
            model="vit_b8",
            settings=PUBLISHED | {"eps_linf": (2 / 255, 4 / 255, 8 / 255, 16 / 255)},
            gpus_per_trial=1.0,
            instance="g5.xlarge",
        ),
    },
)
