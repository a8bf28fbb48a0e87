"""Does adversarial fine-tuning of a compressed net give what adversarial training gives, and in which part of the time?

Paper C, section 6, Tables 2, 3, 4 and 7, rows C1, C3 and C7 of the protocol: a net is trained on clean images
(standard) or on adversarial ones alone (robust); then left as it is, pruned (filters of least l_1 norm, really
removed), quantized after training (8 bits), or factorized (half of the weights; dense layers by SVD); then left so,
fine-tuned on clean images, or on adversarial ones, for three epochs against twenty. Expected by the paper: compressed
standard nets come within 5 points of the robust accuracy of the robust net, in a small part of its training time;
standard fine-tuning of robust nets destroys what they had; pruning needs fine-tuning, quantization hardly.

    python -m study.launch finetuning_sweep

A base is trained once and shared; what it took counts in full in `training_seconds`, fine-tuning alone stands in
`finetune_seconds`. Beside every quantized net stands Square, which needs no gradients. Paper C attacks with PGD of 20
steps from the image itself; laptop presets attack with AutoPGD, which is stronger.

laptop: scikit-learn's digits, the CNN of 8 layers at its full width, five seeds, adversaries of 10 steps; nine minutes
on two cores. With another data set 4000 training and 1000 test images: `--data mnist --data-dir DIR --seeds 0,1,2`
takes about an hour. paper: Fashion-MNIST; paper_cifar: ResNet18 on CIFAR-10. smoke: seconds; it judges nothing.
"""

from search_spaces._paper_c import (
    BY_DATA,
    CIFAR,
    COMMON,
    DIGITS,
    FASHION,
    HELD,
    PUBLISHED_ATTACK,
    ROBUST,
    SEEDS,
    SMOKE,
    THREE_SEEDS,
    TWO_SEEDS,
    Axes,
    on_cifar,
    on_fashion,
    tuned_arms,
)
from study.spec.studies import Arm, Preset, Study

NONE: Axes = {}
LEVELS: dict[str, Axes] = {
    "pruned": {"prune_ratio": (0.8,)},
    "quantized": {"bits": (8,)},
    "factorized": {"factorize_ratio": (0.5,), "factorization": ("tucker",)},
}
# the robust net on 65536 levels: as robust as it was, which the pipeline must be able to say
SAME = Arm(name="control_same", family="compressed", axes={**HELD, "adversarial_ratio": (ROBUST,), "bits": (16,)})


def _arms(epochs: int = 3, **levels: Axes) -> tuple[Arm, ...]:
    """Uncompressed and compressed nets, each left as it is, and fine-tuned in both ways."""
    grid = {"none": NONE, **LEVELS, **levels}
    return tuple(arm for name, axes in grid.items() for arm in tuned_arms(name, axes, epochs=epochs))


STUDY = Study(
    name="finetuning_sweep",
    question="Does adversarial fine-tuning of a compressed net give what adversarial training gives, in less time?",
    reproduces=("C.tab2", "C.tab3", "C.tab4", "C.tab7"),
    covers=("C1", "C3", "C7"),
    figures=("tuned",),
    claims=(
        *(f"C-{what}-{kind}" for what in ("within", "raises", "destroys") for kind in ("none", *LEVELS)),
        *("C-needs", "C-time", "C-time-pruned", "C-time-total"),
    ),
    presets={
        "smoke": Preset(
            arms=_arms(epochs=1),
            seeds=TWO_SEEDS,
            model="cnn8",
            settings=COMMON | SMOKE,
        ),
        "laptop": Preset(
            arms=(*_arms(), SAME),
            seeds=SEEDS,
            model="cnn8",
            settings=COMMON | DIGITS,
            by_data=BY_DATA,
        ),
        "paper": on_fashion(
            arms=(*_arms(), SAME),
            seeds=THREE_SEEDS,
            settings=COMMON | PUBLISHED_ATTACK | FASHION,
        ),
        "paper_cifar": on_cifar(
            arms=(*_arms(pruned={"prune_ratio": (0.5,)}), SAME),
            seeds=THREE_SEEDS,
            settings=COMMON | PUBLISHED_ATTACK | CIFAR,
        ),
    },
)
