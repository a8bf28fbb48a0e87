"""How far can a net that is already there be compressed before it breaks, and is it still hard to fool?

Nothing is trained: the net is taken with its weights, checked on test images, attacked, and then compressed step by
step, each time from the net itself: weights masked by magnitude, filters (rows) really removed, layers factorized,
weights and activations quantized. Of no paper: the question of whoever ships a net.

    python -m study.launch audit --model mine:net --weights net.pt --data cifar10 --data-dir DIR

`--normalization none` for a net that normalises its images itself, MEAN/STD for one that expects other numbers than the
data set's. `--set finetune=standard --set finetune_epochs=3` fine-tunes every rung, on the training images. What an
architecture cannot be given is left out, and said. `python -m study.launch export` writes a rung to a file.

Beside AutoPGD at three budgets stand AutoAttack's pair on 200 images, and Square, an attack without gradients.

laptop: 1000 test images, minutes on two cores for a small net. smoke: seconds; of the net without weights of its own.
"""

from study.spec.domains import Value
from study.spec.studies import Arm, Preset, Study

Axes = dict[str, tuple[Value, ...]]
AS_IT_IS: Axes = {"frobenius": (0.0,)}
RUNGS: dict[str, Axes] = {
    "keep_prob": {"keep_prob": (0.8, 0.6, 0.4, 0.2, 0.1)},
    "prune_ratio": {"prune_ratio": (0.1, 0.25, 0.5, 0.75)},
    "factorize_ratio": {"factorize_ratio": (0.25, 0.5, 0.75)},
    "bits": {"bits": (8, 4, 2, 1)},
}
SETTINGS = {
    "epochs": 0,
    "second_attack": "autoattack_pair",
    "second_images": 200,
    "audit_queries": 500,
    "gap_iterations": 10,
    "eps_l2": (),
}


def _arms(rungs: dict[str, Axes]) -> tuple[Arm, ...]:
    """The net itself, and one arm per way to compress it."""
    ladder = (
        Arm(name=name, family="compressed", axes={**AS_IT_IS, **axes}, optional=True) for name, axes in rungs.items()
    )
    return (Arm(name="as_it_is", family="compressed", axes=AS_IT_IS), *ladder)


STUDY = Study(
    name="audit",
    question="How far can this net be compressed before it breaks, and is it still hard to fool?",
    figures=("ladder", "layers", "bytes"),
    presets={
        "smoke": Preset(
            arms=_arms({"keep_prob": {"keep_prob": (0.5,)}, "bits": {"bits": (4,)}}),
            seeds=(0,),
            settings=SETTINGS
            | {
                "test_size": 40,
                "attack_iterations": 3,
                "gap_iterations": 3,
                "second_images": 20,
                "audit_queries": 5,
            },
        ),
        "laptop": Preset(
            arms=_arms(RUNGS),
            seeds=(0,),
            settings=SETTINGS | {"eps_linf": (4 / 255, 8 / 255, 16 / 255), "judged_linf": 16 / 255},
            by_data={
                "*": {"test_size": 1000, "eps_linf": (1 / 255, 4 / 255, 8 / 255), "judged_linf": 4 / 255},
                "mnist": {"test_size": 1000, "eps_linf": (0.05, 0.1, 0.2), "judged_linf": 0.1},
                "fashion_mnist": {"test_size": 1000, "eps_linf": (0.02, 0.05, 0.1), "judged_linf": 0.05},
            },
        ),
    },
)
