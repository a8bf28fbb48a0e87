"""What does each way of compressing a net keep of its accuracy and robustness, and what does it save, on one net?

One level of everything that the family `compressed` can do, from a net trained on clean images, then fine-tuned on
adversarial ones as in paper C: filters, heads or units removed, weights masked, 16, 8, 4, 2 and 1 bits by tensor and by
channel, quantization-aware training, factors of every kind, and learning from the uncompressed net. No paper has this
table; it is there to be rehearsed, so that it is known of every net of paper C that every compression of it trains, is
attacked, measured, saved and loaded, within 24 GB:

    python -m study.launch every_compression --rehearse                               # Wide ResNet 50-2
    python -m study.launch every_compression --rehearse --preset paper_resnet18       # paper_cnn8, paper_vit

Tucker, tensor train and CP are of convolutions, so that the transformer has none. CP of kernels of 1024 channels takes
hours of alternating least squares, and is left out of Wide ResNet 50-2 (a rehearsal takes one sweep of its 50).

laptop: the CNN of 8 layers on scikit-learn's digits, five seeds. smoke: seconds.
"""

from search_spaces._paper_c import (
    CIFAR,
    COMMON,
    DIGITS,
    FASHION,
    HELD,
    PUBLISHED_ATTACK,
    QUANTIZED_RECIPE,
    SEEDS,
    SMOKE,
    STANDARD,
    TWO_SEEDS,
    Axes,
)
from study.spec.studies import Arm, Preset, Study

BITS = (16, 8, 4, 2, 1)
CHANNEL: Axes = {"bits_granularity": ("channel",)}
AWARE: Axes = {"qat": (1,), "recipe": ("paper_c_qat",)}
TAUGHT: Axes = {"distillation": (0.5,)}
METHODS = ("svd", "tucker", "tt", "cp")


def _arms(methods: tuple[str, ...] = METHODS, bits: tuple[int, ...] = BITS, epochs: int = 3) -> tuple[Arm, ...]:
    """The net as it is, and one arm per compression, each fine-tuned on adversarial images."""
    half: Axes = {"factorize_ratio": (0.5,)}
    axes: dict[str, Axes] = {
        "none": {},
        "removed": {"prune_ratio": (0.5,)},
        "masked": {"keep_prob": (0.5,)},
        "bits_tensor": {"bits": bits},
        "bits_channel": {"bits": bits, **CHANNEL},
        "qat_tensor": {"bits": bits, **AWARE},
        "qat_channel": {"bits": bits, **AWARE, **CHANNEL},
        **{name: {**half, "factorization": (name,)} for name in methods},
        "removed_taught": {"prune_ratio": (0.5,), **TAUGHT},
        "bits_taught": {"bits": (8,), **TAUGHT},
        "svd_taught": {**half, "factorization": ("svd",), **TAUGHT},
    }
    tuned: Axes = {**HELD, "adversarial_ratio": (STANDARD,), "finetune": ("adversarial",), "finetune_epochs": (epochs,)}
    quantized = {name: QUANTIZED_RECIPE if "bits" in more else {} for name, more in axes.items()}
    return tuple(
        Arm(name=name, family="compressed", axes={**tuned, **quantized[name], **more}) for name, more in axes.items()
    )


def _published(model: str, methods: tuple[str, ...], gpus: float = 1.0, data: str = "cifar10", **more: int) -> Preset:
    budgets = FASHION if data == "fashion_mnist" else CIFAR
    return Preset(
        arms=_arms(methods),
        seeds=SEEDS,
        data=data,
        model=model,
        settings=COMMON | PUBLISHED_ATTACK | budgets | more,
        gpus_per_trial=gpus,
        instance="g5.xlarge",
    )


STUDY = Study(
    name="every_compression",
    question="What does each way of compressing a net keep, and what does it save, on one net?",
    figures=("bytes",),
    presets={
        "smoke": Preset(
            arms=_arms(("svd", "cp"), bits=(8,), epochs=1),
            seeds=TWO_SEEDS[:1],
            model="cnn8",
            settings=COMMON | SMOKE,
        ),
        "laptop": Preset(
            arms=_arms(),
            seeds=SEEDS,
            model="cnn8",
            settings=COMMON | DIGITS,
        ),
        "paper": _published("wrn50_2", ("svd", "tucker", "tt")),
        "paper_resnet18": _published("resnet18", METHODS, 0.5),
        "paper_cnn8": _published("cnn8", METHODS, 0.25, "fashion_mnist"),
        "paper_vit": _published("vit", ("svd",), width=384, depth=12),
    },
)
