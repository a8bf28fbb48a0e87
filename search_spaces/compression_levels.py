"""What do row removal, masks and quantization cost in robustness at each level, and what does fine-tuning give back?

Nets of four hidden layers on scikit-learn's digits, trained once per seed and then compressed at one level: rows
removed, weights masked by magnitude, or weights and activations quantized; left as they are, or fine-tuned for three
epochs on clean or on half adversarial batches. Expected by paper C (its own nets and data are another study): pruned
nets need fine-tuning more than quantized ones, and adversarial fine-tuning of a compressed standard net recovers much
of what adversarial training would have given. `--set adversarial_ratio=0,0.5` asks the same of robust nets.

    python -m study.launch compression_levels

laptop: 185 trials on five seeds that share five trained nets, minutes on two cores. smoke: seconds.
"""

from study.spec.domains import Value
from study.spec.studies import Arm, Preset, Study

HELD: dict[str, tuple[Value, ...]] = {"frobenius": (1.0,), "adversarial_ratio": (0.0,)}


def _arms(epochs: int, **levels: tuple[Value, ...]) -> tuple[Arm, ...]:
    """The uncompressed net, then one arm per compression and kind of fine-tuning."""
    tuned: dict[str, dict[str, tuple[Value, ...]]] = {
        "": {},
        "_standard": {"finetune": ("standard",), "finetune_epochs": (epochs,)},
        "_adversarial": {"finetune": ("adversarial",), "finetune_epochs": (epochs,)},
    }
    arms = [
        Arm(name=f"{axis}{suffix}", family="compressed", axes={axis: values, **more, **HELD})
        for axis, values in levels.items()
        for suffix, more in tuned.items()
    ]
    return (Arm(name="uncompressed", family="compressed", axes=HELD), *arms)


STUDY = Study(
    name="compression_levels",
    question="What does each level of compression cost in robustness, and what does fine-tuning give back?",
    figures=("bytes",),
    presets={
        "smoke": Preset(
            arms=_arms(1, prune_ratio=(0.5,), keep_prob=(0.2,), bits=(4,)),
            seeds=(0, 1),
            settings={
                "width": 32,
                "depth": 2,
                "epochs": 2,
                "test_size": 60,
                "attack_iterations": 5,
                "gap_iterations": 5,
            },
        ),
        "laptop": Preset(
            arms=_arms(3, prune_ratio=(0.25, 0.5, 0.75, 0.9), keep_prob=(0.5, 0.2, 0.1, 0.05), bits=(8, 4, 2, 1)),
            seeds=(0, 1, 2, 3, 4),
            settings={"epochs": 30, "train_eps": 16 / 255, "eps_linf": (8 / 255, 16 / 255), "gap_iterations": 20},
        ),
    },
)
