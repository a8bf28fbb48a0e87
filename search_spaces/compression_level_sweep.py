"""What does each level of pruning and of quantization cost, and which levels of the two may be compared?

Paper C, section 4 and Figures 1 and 3, rows C2 and C8 of the protocol: a net trained on clean images (standard) or on
adversarial ones alone (robust) loses a share of its filters (those of least l_1 norm, really removed), or is
quantized after training to 16, 8, 4, 2 or 1 bits; it is then left so (Figure 3), or fine-tuned on adversarial images
for three epochs (Figure 1). Each level begins at the trained net. Expected by the paper: after adversarial fine-tuning
80 % of the filters gone cost as much accuracy as 8 bits on Fashion-MNIST, 50 % on CIFAR-10; without it pruned nets lose
their accuracy, and only nets that were trained adversarially are robust.

    python -m study.launch compression_level_sweep

The report chooses the sparsity whose accuracy is nearest to that of 8 bits on validation images, which no training
sees, and says what both then have on test images (docs/compression.md, Level matching). A base is trained once and
shared. Beside every quantized net stands Square, which needs no gradients. Paper C attacks with PGD of 20 steps from
the image itself; laptop presets attack with AutoPGD, which is stronger.

laptop: scikit-learn's digits, the CNN of 8 layers at its full width, six shares of filters beside none, five seeds,
adversaries of 10 steps; minutes on two cores. With another data set 4000 training and 1000 test images:
`--data mnist --data-dir DIR --seeds 0,1,2`. paper: Fashion-MNIST at all nine shares; paper_cifar: ResNet18 on
CIFAR-10; both on the published three seeds, which show points and are too few for verdicts (`--seeds 5` has them).
smoke: seconds; it judges nothing.
"""

from search_spaces._paper_a import control_neuron
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

KINDS = ("", "_adversarial")
BITS = (16, 8, 4, 2, 1)
RATIOS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
PUBLISHED_RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CHOSEN = {"validation": 0.1, "validation_rows": 1}  # the images that the level is chosen by
QUICK = {"attack_iterations": 10}  # as in all laptop presets of convolutional nets
# Robust nets whose rows are concentrated by hand.
PLANTED = control_neuron({**HELD, "adversarial_ratio": (ROBUST,)})


def _arms(ratios: tuple[float, ...], bits: tuple[int, ...], epochs: int = 3) -> tuple[Arm, ...]:
    """Uncompressed, pruned and quantized nets, each left as it is and fine-tuned adversarially. The uncompressed ones
    are the pruned ones of which nothing is removed, too."""
    levels: dict[str, Axes] = {"none": {}, "pruned": {"prune_ratio": ratios}, "quantized": {"bits": bits}}
    return tuple(arm for name, axes in levels.items() for arm in tuned_arms(name, axes, KINDS, epochs))


STUDY = Study(
    name="compression_level_sweep",
    question="What does each level of pruning and of quantization cost, and which levels of the two may be compared?",
    reproduces=("C.fig1", "C.fig3"),
    covers=("C2", "C8"),
    figures=("levels",),
    claims=("C-fig1-pruned", "C-fig3-pruned", "C-B1-pruned", "C-B1-quantized", "C-4-fashion", "C-4-cifar"),
    presets={
        "smoke": Preset(
            arms=_arms((0.0, 0.2, 0.5), (8,), epochs=1),
            seeds=TWO_SEEDS,
            model="cnn8",
            settings=COMMON | SMOKE | CHOSEN | {"validation": 0.25},
        ),
        "laptop": Preset(
            arms=(*_arms(RATIOS, BITS), PLANTED),
            seeds=SEEDS,
            model="cnn8",
            settings=COMMON | DIGITS | CHOSEN | QUICK,
            by_data=BY_DATA,
        ),
        "paper": on_fashion(
            arms=(*_arms(PUBLISHED_RATIOS, BITS), PLANTED),
            seeds=THREE_SEEDS,
            settings=COMMON | PUBLISHED_ATTACK | FASHION | CHOSEN,
        ),
        "paper_cifar": on_cifar(
            arms=(*_arms(PUBLISHED_RATIOS, BITS), PLANTED),
            seeds=THREE_SEEDS,
            settings=COMMON | PUBLISHED_ATTACK | CIFAR | CHOSEN,
        ),
    },
)
