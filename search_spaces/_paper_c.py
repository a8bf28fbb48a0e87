"""What the studies of paper C share: its published settings, its budgets, three ways to compress, three to fine-tune.

Paper C trains with SGD (.1 for four epochs, then .01; 20 epochs), against PGD on whole batches where a net is to be
robust, compresses what is trained, and fine-tunes for three epochs. Its code has the budget in images scaled to
[-1, 1], which in pixels is half of what it prints: the paper presets attack at both. They train at what is printed;
`--set train_eps=0.05 --set judged_linf=0.05` (4/255 on CIFAR-10) is the experiment of the code.
"""

from collections.abc import Mapping
from functools import partial

from study.spec.domains import Value
from study.spec.studies import Arm, Preset

Axes = Mapping[str, tuple[Value, ...]]
SEEDS, THREE_SEEDS, TWO_SEEDS = (0, 1, 2, 3, 4), (0, 1, 2), (0, 1)
HELD: Axes = {"frobenius": (0.0,)}
STANDARD, ROBUST = 0.0, 1.0  # the share of each batch that the adversary replaces in the training of a base
ABOUT = ("adversarial_ratio",)  # claims compare standard with robust nets
BOTH: Axes = {**HELD, "adversarial_ratio": (STANDARD, ROBUST)}

# The recipes leave to us: PGD of 10 steps at laptop scale (20 published), the gradient-free queries beside bits.
RECIPE = {"recipe": "paper_c", "finetune_recipe": "paper_c_finetune", "finetune_ratio": 1.0}
LINF_ALONE = {"eps_l2": ()}
AUDITED = {"audit_queries": 100, "audit_on": "quantized"}
COMMON = RECIPE | LINF_ALONE | AUDITED
QUANTIZED_RECIPE = {"finetune_recipe": ("paper_c_finetune_quantized",)}

# Fashion-MNIST and CIFAR-10 at the printed budget and at that of the code.
PUBLISHED_ATTACK = {"attack": "pgd", "attack_iterations": 20, "train_steps": 20, "gap_iterations": 20}
FASHION = {"train_eps": 0.1, "eps_linf": (0.05, 0.1), "judged_linf": 0.1}
CIFAR = {"train_eps": 8 / 255, "eps_linf": (4 / 255, 8 / 255), "judged_linf": 8 / 255}

# The two published settings, but for arms, seeds and settings.
on_fashion = partial(Preset, data="fashion_mnist", model="cnn8", gpus_per_trial=0.25, instance="g5.xlarge")
on_cifar = partial(Preset, data="cifar10", model="resnet18", gpus_per_trial=0.5, instance="g5.xlarge")

# At laptop scale. On a few thousand images a net trained against the adversary alone stays at chance (seeds differ): in
# smaller batches, with a radius that grows over the first epochs, it does not. On digits a net trained on clean images
# keeps three quarters of them at 16/255, and there is little to be won.
GROWING = {"train_warmup": 3, "gap_iterations": 10}
DIGITS = GROWING | {
    "batch_size": 16, "finetune_batch_size": 16, "train_eps": 24 / 255, "eps_linf": (24 / 255,),
    "judged_linf": 24 / 255,
}  # fmt: skip
OTHERS = FASHION | GROWING | {
    "eps_linf": (0.1,), "train_size": 4000, "test_size": 1000, "batch_size": 32, "finetune_batch_size": 32,
    "audit_images": 200,
}  # fmt: skip
# of photographs: 8/255 as published
PHOTOGRAPHS = OTHERS | {"train_eps": 8 / 255, "eps_linf": (8 / 255,), "judged_linf": 8 / 255}
BY_DATA = {"*": OTHERS} | dict.fromkeys(("cifar10", "cifar10-jpeg", "cifar100", "svhn"), PHOTOGRAPHS)

# Of presets that judge nothing: seconds.
SMOKE = {
    "epochs": 1, "width_multiplier": 0.25, "train_size": 60, "test_size": 20, "train_steps": 2, "attack_iterations": 3,
    "gap_iterations": 3, "audit_queries": 5,
}  # fmt: skip

TUNED: Mapping[str, Axes] = {
    "": {},
    "_standard": {"finetune": ("standard",)},
    "_adversarial": {"finetune": ("adversarial",)},
}


def tuned_arms(name: str, axes: Axes, suffixes: tuple[str, ...] = tuple(TUNED), epochs: int = 3) -> tuple[Arm, ...]:
    """One arm per kind of fine-tuning of nets that are compressed alike: NAME, NAME_standard, NAME_adversarial.

    Nets with bits are fine-tuned by a recipe of their own, as published.
    """
    more: Axes = {"finetune_epochs": (epochs,), **(QUANTIZED_RECIPE if "bits" in axes else {})}
    kinds = {suffix: {**TUNED[suffix], **(more if suffix else {})} for suffix in suffixes}
    return tuple(
        Arm(name=f"{name}{suffix}", family="compressed", axes={**BOTH, **axes, **kind}, about=ABOUT)
        for suffix, kind in kinds.items()
    )
