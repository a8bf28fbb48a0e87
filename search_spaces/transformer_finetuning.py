"""Does fine-tuning a pretrained transformer towards sparsity make it vulnerable?

Paper A, appendix D.7 and Tables 2 to 4, row A5 of the protocol: ViT-B/8 (ImageNet-21k, fine-tuned on ImageNet-1k) on
CIFAR-10 and Swin-T (ImageNet-1k) on SVHN, fine-tuned under group lasso of strength alpha on every linear layer of their
blocks; the scale-invariant form, as in the paper's main part (D.7 says group lasso: `--set penalty=group_lasso`).
Expected by the paper: RA and RA/SA fall with alpha at nearly the same clean accuracy, and the gap between adversarial
and clean loss grows.

    python -m study.launch transformer_finetuning
    python -m study.launch transformer_finetuning --data mnist --data-dir DIR
    python -m study.launch transformer_finetuning --preset paper         # ViT-B/8, CIFAR-10 (Table 2)
    python -m study.launch transformer_finetuning --preset paper_swin    # Swin-T, SVHN (Tables 3, 4)

laptop: no published weights are needed: a ViT (64 wide, three blocks) is pretrained by us on one half of the training
images and fine-tuned under alpha on the other (MNIST: on 4000 of it), both on a cosine; digits enlarged to 32 x 32;
five seeds, ten minutes on two cores, MNIST fifteen.
paper, paper_swin: the published grid of alpha and a level between, the library's weights, the toolbox's attack. The
epochs are ours (10): the paper prints none.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import FREE, PUBLISHED, SEEDS, TINY, TWO_SEEDS, Axes, control_neuron, neuron
from study.spec.studies import Arm, Preset, Study

ALPHAS = (0.0, 0.001, 0.005, 0.01, 0.03, 0.05, 0.1)
ALPHAS_FEW_STEPS = (0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4)
LASSO = "group_lasso_invariant"
SMALL = {"width": 64, "depth": 3, "patch_size": 8}


TUNED: Axes = {"pretrain_data": ("other_images",), "penalised_in": ("training",), **FREE}


def _tuned(alphas: tuple[float, ...]) -> Arm:
    return Arm(name="neuron", family="transfer", axes={"alpha": alphas, "penalty": (LASSO,), **TUNED})


def _published(data: str, model: str, weights: str) -> Preset:
    return Preset(
        arms=(neuron(ALPHAS, LASSO, FREE), control_neuron(FREE)),
        seeds=SEEDS,
        data=data,
        model=model,
        settings=PUBLISHED | {"weights": weights, "epochs": 10, "attack_backend": "art"},
        gpus_per_trial=1.0,
        instance="g5.xlarge",
    )


COSINE = {"schedule": "cosine", "learning_rate": 2e-3}
TWICE = {f"{when}{name}": value for when in ("", "pretrain_") for name, value in COSINE.items()}
LAPTOP = SMALL | TWICE | {"attack_iterations": 10, "gap_iterations": 10, "test_size": 500}
JUDGED = {"eps_linf": (4 / 255, 8 / 255), "judged_linf": 8 / 255}
DIGITS = LAPTOP | JUDGED | {"epochs": 30, "pretrain_epochs": 40, "test_size": 200, "eps_l2": (0.25,), "judged_l2": 0.25}
MNIST = LAPTOP | JUDGED | {"epochs": 8, "pretrain_epochs": 8, "train_size": 4000, "eps_l2": (0.5,), "judged_l2": 0.5}
CIFAR = LAPTOP | {"epochs": 20, "pretrain_epochs": 30, "train_size": 10000, "eps_l2": (0.125,), "judged_l2": 0.125}

STUDY = Study(
    name="transformer_finetuning",
    question="Does fine-tuning a pretrained transformer towards sparsity lower its robust accuracy?",
    reproduces=("A.tab2", "A.tab3", "A.tab4"),
    covers=("A5",),
    figures=("robustness", "compressibility"),
    claims=("A-D7-finetuned", "A-D7-loss"),
    presets={
        "smoke": Preset(
            arms=(_tuned((0.0, 0.02)),),
            seeds=TWO_SEEDS,
            model="vit",
            settings=TINY
            | {"width": 32, "depth": 1, "patch_size": 8, "epochs": 1, "pretrain_epochs": 1, "test_size": 20},
        ),
        "laptop": Preset(
            arms=(_tuned(ALPHAS_FEW_STEPS), control_neuron(TUNED, "transfer")),
            seeds=SEEDS,
            model="vit",
            settings=DIGITS,
            by_data={"mnist": MNIST, "*": CIFAR | {"eps_linf": (0.5 / 255, 2 / 255), "judged_linf": 0.5 / 255}},
        ),
        "paper": _published("cifar10", "vit_b8", "augreg_in21k_ft_in1k"),
        "paper_swin": _published("svhn", "swin_t", "IMAGENET1K_V1"),
    },
)
