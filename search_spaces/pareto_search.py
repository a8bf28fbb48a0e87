"""Which compressed nets are the most robust for their size?

Row P of the protocol: a search by Optuna over the knobs of every family for the front of robustness against cost. One
evaluation is one point at the search's own seed, measured on validation images; when the evaluations are used up, the
finalists (whole layers of non-dominated points, until there are enough) are trained anew at every seed of the front and
attacked on test images, by AutoAttack and Square too: the front is taken over the means of the lowest numbers. What
selects sees neither the images nor the nets that are reported. Expected: no single kind of compression holds the whole
front; quantized nets hold its small end, adversarially trained dense ones its large end.

    python -m study.launch pareto_search
    python -m study.launch pareto_search --set objectives=robust_accuracy,clean_accuracy,macs --set evaluations=120

KNOBS is read in order: `compression` and `penalised` are switches, which only decide what is asked after them.
Validation: a fifth of digits' 1437 training images, the same 287 in all trials and in no test split. A robust accuracy
of .8 has a standard error of 2.4 points there; a tenth would make it 3.3, and every image that selects is one less to
train on. CIFAR-10: a tenth, 5000 images, standard error .7 points.
laptop: scikit-learn's digits, 4 x 200, a quarter of an hour on two cores. paper: CIFAR-10, 4 x 2000, one GPU.
"""

from collections.abc import Mapping

from study.spec.domains import Choice, Domain, LogUniform, Uniform
from study.spec.studies import Preset, Search, Study

COMPRESSED = ({"compression": ("low_rank", "mask", "trade_off", "removal")}, {"bits": (8, 4, 2, 1)})
FINETUNED = ({"finetune": ("standard", "adversarial")},)


def knobs(rank: tuple[int, int], ratios: tuple[float, ...], epochs: tuple[int, ...]) -> Mapping[str, Domain]:
    """Every knob of the compressed family on a fully connected net; ranges that depend on the width are given."""
    return {
        "penalised": Choice(values=("no", "yes")),
        "penalty": Choice(values=("group_lasso", "nuclear_norm"), when=({"penalised": ("yes",)},)),
        "alpha": LogUniform(low=1e-4, high=0.03, when=({"penalised": ("yes",)},)),
        "frobenius": Choice(values=(0.0, 1.0)),
        "adversarial_ratio": Choice(values=ratios),
        "compression": Choice(values=("none", "low_rank", "mask", "trade_off", "removal")),
        "rank": LogUniform(low=rank[0], high=rank[1], when=({"compression": ("low_rank",)},)),
        "keep_prob": Uniform(low=0.05, high=0.9, when=({"compression": ("mask",)},)),
        "lam": Uniform(low=0.05, high=0.95, when=({"compression": ("trade_off",)},)),
        "mask": Choice(values=("magnitude", "bernoulli"), when=({"compression": ("mask", "trade_off")},)),
        "prune_ratio": Uniform(low=0.1, high=0.9, when=({"compression": ("removal",)},)),
        "bits": Choice(values=(0, 8, 4, 2, 1)),
        "finetune": Choice(values=("none", "standard", "adversarial"), when=COMPRESSED),
        "finetune_epochs": Choice(values=epochs, when=FINETUNED),
    }


HELD_OUT = {"validation": 0.2, "validation_seed": 0}
SMOKE = HELD_OUT | {"width": 32, "depth": 2, "epochs": 2, "test_size": 60, "attack_iterations": 5, "gap_iterations": 5}
ADVERSARY = {"train_eps": 16 / 255, "train_steps": 5}

STUDY = Study(
    name="pareto_search",
    question="Which compressed nets are the most robust for their size?",
    covers=("P",),
    figures=("fronts", "progress", "parallel"),
    presets={
        "smoke": Preset(
            seeds=(0, 1),
            search=Search(
                family="compressed",
                knobs=knobs((2, 16), (0.0, 0.5), (1,)),
                options={"evaluations": 8, "finalists": 3, "floor": 0.2, "final_iterations": 5, "final_queries": 50},
            ),
            settings=SMOKE | {"train_steps": 2},
        ),
        "laptop": Preset(
            seeds=(0, 1, 2, 3, 4),
            search=Search(
                family="compressed",
                knobs=knobs((4, 64), (0.0, 0.25, 0.5, 1.0), (2, 5)),
                options={"evaluations": 80, "finalists": 16, "floor": 0.8},
            ),
            settings=HELD_OUT | {"epochs": 20} | ADVERSARY,
        ),
        "paper": Preset(
            seeds=(0, 1, 2, 3, 4),
            data="cifar10",
            search=Search(
                family="compressed",
                knobs=knobs((16, 512), (0.0, 0.05, 0.1, 0.25, 0.5), (3, 10)),
                options={"evaluations": 300, "finalists": 30, "floor": 0.4, "final_iterations": 100},
            ),
            settings={
                "width": 2000,
                "validation": 0.1,
                "validation_seed": 0,
                "epochs": 60,
                "schedule": "cosine",
                "augment": "crop_flip",
                "train_eps": 8 / 255,
                "eps_linf": (2 / 255, 8 / 255),
                "judged_linf": 8 / 255,
                "eps_l2": (0.125, 0.5),
                "judged_l2": 0.5,
                "attack_iterations": 100,
            },
            gpus_per_trial=0.25,
            instance="g5.xlarge",
        ),
    },
)
