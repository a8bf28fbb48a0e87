"""Do the features of robust nets stay where they are under attack, and those of compressed nets after fine-tuning?

Paper C, section 6 and Figure 2, row C6 of the protocol: feature maps of the images of one class and of their
adversarial versions, of the pixels and of layers 6, 7 and 8 of an 8-layer CNN, on t-SNE planes, for three pairs of
nets: standard and robust; quantized to 8 bits and fine-tuned on clean or on adversarial images; pruned by 80 % and
fine-tuned likewise, the compressed ones all from standard nets. Expected by the paper: features of standard nets
scatter in the later layers, those of robust and of adversarially fine-tuned nets stay together.

    python -m study.launch feature_map_study

Beside the pictures, which judge nothing, stand two numbers of each layer: how far the attack moves the features, as a
share of the mean distance of two images of the class, and how far clean and adversarial features mix among nearest
neighbours. The paper shows both nets of a pair on one plane; a plane of ours has one net, for distances between the
features of two nets say nothing. Layer 8 of 8 is the head: `last-1`, layer 7, is the last hidden one. Claims are judged
there. The class is 8: "bag" in Fashion-MNIST; digits and MNIST have no bags, and theirs is the digit 8.

laptop: scikit-learn's digits (some 35 test images of the class), five seeds that share ten trained bases; minutes on
two cores. With another data set 4000 training and 1000 test images. paper: Fashion-MNIST, three seeds, PGD of 20 steps
at the printed budget; `--set train_eps=0.05 --set judged_linf=0.05` is that of the paper's code. smoke: seconds; it
judges nothing.
"""

from search_spaces._paper_c import (
    BOTH,
    BY_DATA,
    COMMON,
    DIGITS,
    FASHION,
    PUBLISHED_ATTACK,
    SEEDS,
    SMOKE,
    STANDARD,
    THREE_SEEDS,
    TWO_SEEDS,
    on_fashion,
    tuned_arms,
)
from study.spec.studies import Arm, Preset, Study

FINETUNED = ("_standard", "_adversarial")
MAPS = {"feature_maps": 1, "feature_class": 8}


def _arms(epochs: int = 3) -> tuple[Arm, ...]:
    """The three pairs of Figure 2."""
    base = {"adversarial_ratio": (STANDARD,)}
    return (
        Arm(name="none", family="compressed", axes=BOTH, about=("adversarial_ratio",)),
        *tuned_arms("quantized", {"bits": (8,), **base}, FINETUNED, epochs),
        *tuned_arms("pruned", {"prune_ratio": (0.8,), **base}, FINETUNED, epochs),
    )


STUDY = Study(
    name="feature_map_study",
    question="Do features of robust nets, and of compressed nets fine-tuned to be robust, stay together under attack?",
    reproduces=("C.fig2",),
    covers=("C6",),
    figures=("feature_maps",),
    claims=(
        "C-features-robust",
        "C-features-quantized",
        "C-features-pruned",
        "C-features-mix",
        "C-features-depth",
    ),
    presets={
        "smoke": Preset(arms=_arms(1), seeds=TWO_SEEDS, model="cnn8", settings=COMMON | MAPS | SMOKE),
        "laptop": Preset(
            arms=_arms(),
            seeds=SEEDS,
            model="cnn8",
            settings=COMMON | MAPS | DIGITS,
            by_data=BY_DATA,
        ),
        "paper": on_fashion(
            arms=_arms(),
            seeds=THREE_SEEDS,
            settings=COMMON | MAPS | PUBLISHED_ATTACK | FASHION,
        ),
    },
)
