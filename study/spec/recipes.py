"""Published training recipes by name: parts of a training, for the first one and for fine-tuning alike. Literal.

What a paper leaves open is said beside the part that is ours; parts that are not named stand at the knobs' defaults.
"""

from collections.abc import Mapping
from typing import Any

PLAIN_SGD = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "batch_size": 64, "augment": "none"}

RECIPES: dict[str, dict[str, Any]] = {
    # A, C.1: AdamW, early stopping on 5 % of the training images; the most epochs and the batch size are ours.
    "paper_a": {
        "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "batch_size": 100, "schedule": "constant",
        "epochs": 100, "validation": 0.05, "patience": 10, "augment": "none",
    },
    # A, C.3: cosine to 0 over 60 epochs, crop and flip, early stopping on 10 % attacked images.
    "paper_a_adversarial": {
        "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "batch_size": 100, "schedule": "cosine",
        "epochs": 60, "validation": 0.1, "patience": 10, "augment": "crop_flip",
    },
    # B: Adam 1e-3, 30 epochs (MLP on MNIST; 100 on CIFAR-10); batch size and weight decay are ours.
    "paper_b": {
        "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 100, "schedule": "constant",
        "epochs": 30, "augment": "none",
    },
    # B: the pretrained ViT-Tiny.
    "paper_b_vit": {
        "optimizer": "adamw", "learning_rate": 5e-4, "batch_size": 100, "schedule": "constant", "epochs": 10,
        "augment": "none",
    },
    # C: SGD, .1 for four epochs, then .01; the last epoch is kept. Batch size and no weight decay as in its code.
    "paper_c": PLAIN_SGD | {
        "learning_rate": 0.1, "schedule": "multistep", "milestones": (4,), "gamma": 0.1, "epochs": 20, "patience": 0,
    },
    # C: three epochs after pruning, and those of a quantized net.
    "paper_c_finetune": PLAIN_SGD | {"learning_rate": 0.1, "schedule": "constant", "epochs": 3, "patience": 0},
    "paper_c_finetune_quantized": PLAIN_SGD | {
        "learning_rate": 0.01, "momentum": 0.9, "schedule": "constant", "epochs": 3, "patience": 0,
    },
    # C, A.1: quantization-aware training keeps one rate; 20 epochs as in its code.
    "paper_c_qat": PLAIN_SGD | {
        "learning_rate": 0.01, "momentum": 0.9, "schedule": "constant", "epochs": 20, "patience": 0,
    },
}  # fmt: skip
PREFIXES = {"recipe": "", "finetune_recipe": "finetune_", "pretrain_recipe": "pretrain_"}
OF_THE_DATA = ("validation",)  # shared by both trainings: only the recipe of the first splits the data


def parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs that the recipes among knob values set, by name; nothing where none is named."""
    named = {prefix: RECIPES[values[knob]] for knob, prefix in PREFIXES.items() if values.get(knob)}
    return {
        f"{prefix}{part}": value
        for prefix, recipe in named.items()
        for part, value in recipe.items()
        if not (prefix and part in OF_THE_DATA)
    }
