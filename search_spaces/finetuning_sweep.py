"""Does adversarial fine-tuning of a compressed net give what adversarial training gives, and in which part of the time?

Paper C, section 6, Tables 2, 3, 4 and 7, rows C1, C3 and C7 of the protocol: a net is trained on clean images
(standard) or on adversarial ones alone (robust); then left as it is, pruned (filters of least l_1 norm, really removed),
quantized after training (8 bits), or factorized (Tucker factors at half of the weights; dense layers by SVD); then left
so, fine-tuned on clean images, or on adversarial ones, for three epochs against twenty. Expected by the paper:
compressed standard nets come within 5 points of the robust accuracy of the robust net, in a small part of its training
time; standard fine-tuning of robust nets destroys what they had; pruning needs fine-tuning, quantization hardly.

    python -m study.launch finetuning_sweep

A base is trained once and shared; what it took counts in full in `training_seconds`, fine-tuning alone stands in
`finetune_seconds`. Beside every quantized net stands Square, which needs no gradients. Paper C attacks with PGD of 20
steps from the image itself; laptop presets attack with AutoPGD, which is stronger.

laptop: scikit-learn's digits, the CNN of 8 layers at its full width, five seeds, adversaries of 10 steps; minutes on
two cores. With another data set 4000 training and 1000 test images and three seeds: `--data mnist --data-dir DIR
--seeds 0,1,2` takes an hour. paper: Fashion-MNIST; paper_cifar: ResNet18 on CIFAR-10. smoke: seconds; it judges nothing.
"""

from search_spaces._paper_c import (
    AUDITED,
    CIFAR,
    COMMON,
    FASHION,
    HELD,
    PUBLISHED_ATTACK,
    ROBUST,
    SEEDS,
    SMOKE,
    THREE_SEEDS,
    TWO_SEEDS,
    Axes,
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


def _arms(epochs: int = 3, held: Axes = NONE, **levels: Axes) -> tuple[Arm, ...]:
    """Uncompressed and compressed nets, each left as it is, and fine-tuned in both ways."""
    grid = {"none": NONE, **LEVELS, **levels}
    return tuple(arm for name, axes in grid.items() for arm in tuned_arms(name, {**axes, **held}, epochs=epochs))


STUDY = Study(
    name="finetuning_sweep",
    question="Does adversarial fine-tuning of a compressed net give what adversarial training gives, in less time?",
    reproduces=("C.tab2", "C.tab3", "C.tab4", "C.tab7"),
    covers=("C1", "C3", "C7"),
    figures=("bytes",),
    claims=(),
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
            settings=COMMON
            | {"train_eps": 16 / 255, "eps_linf": (8 / 255, 16 / 255), "judged_linf": 16 / 255, "gap_iterations": 10},
            by_data={
                "*": {
                    "train_size": 4000,
                    "test_size": 1000,
                    "train_eps": 0.1,
                    "eps_linf": (0.05, 0.1),
                    "judged_linf": 0.1,
                }
            },
        ),
    },
)
