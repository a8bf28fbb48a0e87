"""Does fine-tuning a pretrained transformer towards sparsity make it vulnerable?

Paper A, appendix D.7 and Tables 2 to 4, row A5 of the protocol: ViT-B/8 (ImageNet-21k, fine-tuned on ImageNet-1k) on
CIFAR-10 and Swin-T (ImageNet-1k) on SVHN, fine-tuned under group lasso of strength alpha on every linear layer of their
blocks. Expected by the paper: RA and RA/SA fall with alpha at nearly the same clean accuracy, and the gap between
adversarial and clean loss grows.

    python -m study.launch transformer_finetuning
    python -m study.launch transformer_finetuning --preset paper         # ViT-B/8, CIFAR-10 (Table 2)
    python -m study.launch transformer_finetuning --preset paper_swin    # Swin-T, SVHN (Tables 3, 4)

laptop: no published weights are needed: a ViT (64 wide, three blocks) is pretrained by us on one half of the training
images and fine-tuned under alpha on the other; digits enlarged to 32 x 32, five seeds, fifteen minutes on two cores.
paper, paper_swin: the published grid of alpha and a level between, the library's weights, the toolbox's attack. The
epochs are ours (10): the paper prints none.
smoke: seconds, two seeds of two levels; it judges nothing.
"""

from search_spaces._paper_a import FREE, PUBLISHED, SEEDS, TINY, TWO_SEEDS, Axes, control_neuron, neuron
from study.spec.studies import Arm, Preset, Study

ALPHAS = (0.0, 0.001, 0.005, 0.01, 0.03, 0.05, 0.1)
SMALL = {"width": 64, "depth": 3, "patch_size": 8}


def _tuned(alphas: tuple[float, ...]) -> Arm:
    axes: Axes = {
        "alpha": alphas,
        "penalty": ("group_lasso",),
        "pretrain_data": ("other_images",),
        "penalised_in": ("training",),
        **FREE,
    }
    return Arm(name="neuron", family="transfer", axes=axes)


def _published(data: str, model: str, weights: str) -> Preset:
    return Preset(
        arms=(neuron(ALPHAS, "group_lasso", FREE), control_neuron(FREE)),
        seeds=SEEDS,
        data=data,
        model=model,
        settings=PUBLISHED | {"weights": weights, "epochs": 10, "attack_backend": "art"},
        gpus_per_trial=1.0,
        instance="g5.xlarge",
    )


LAPTOP = SMALL | {"epochs": 20, "test_size": 200, "attack_iterations": 10, "gap_iterations": 10, "pretrain_epochs": 30}

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
            arms=(_tuned((0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.05)), control_neuron(FREE)),
            seeds=SEEDS,
            model="vit",
            settings=LAPTOP | {"eps_linf": (4 / 255, 8 / 255), "judged_linf": 8 / 255},
            by_data={
                "*": LAPTOP
                | {"train_size": 10000, "test_size": 500, "eps_linf": (0.5 / 255, 2 / 255), "judged_linf": 0.5 / 255}
                | {"eps_l2": (0.125,), "judged_l2": 0.125}
            },
        ),
        "paper": _published("cifar10", "vit_b8", "augreg_in21k_ft_in1k"),
        "paper_swin": _published("svhn", "swin_t", "IMAGENET1K_V1"),
    },
)
