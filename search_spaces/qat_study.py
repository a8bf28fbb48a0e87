"""Is quantization-aware training worth its time beside quantization after training, where a net is to be robust?

Paper C, Tables 8 and 9 and Figure 4, row C5 of the protocol: an adversarially trained net quantized after its training
(`ptq`), and one trained adversarially on levels from the start (`qat`: SGD .01 with momentum .9, 20 epochs), each left
as it is (Figure 4) and adversarially fine-tuned for three epochs (Tables 8 and 9; `robust` is the net without levels).
Expected by the paper: at 8 bits, fine-tuned, quantization after training is at least as robust; at 4 bits, left as they
are, quantization-aware ResNet18 is the better one, and the CNN of 8 layers does not learn on 4 bits.

    python -m study.launch qat_study
    python -m study.launch qat_study --preset paper_cifar --set weights=file:PATH

No two quantization-aware nets share a base: every level and seed is a whole adversarial training. The paper says
neither whether its fine-tuned QAT nets had more than their 20 epochs (here they have three more, as all others of these
tables) nor, of ResNet18, how it was trained for the 300 epochs before: `paper_cifar` begins at random weights, and with
`weights=file:PATH` every net begins at those of yours (docs/operations.md), the quantization-aware ones too. The pruned
and the standard nets of Tables 8 and 9 stand in `finetuning_sweep`.

laptop: scikit-learn's digits, the CNN of 8 layers at half of its width, 15 epochs of Adam in place of 20 of SGD (of
which there are too few steps here), quantization-aware at 8 and 4 bits alone, five seeds, adversaries of 10 steps; ten
minutes on two cores. With another data set the whole net, 4000 training images, 20 epochs: hours. paper: Fashion-MNIST,
the CNN of 8 layers. paper_cifar: CIFAR-10, ResNet18. Both have five seeds, where the paper has three, so that they can
be judged. smoke: seconds; it judges nothing.
"""

from search_spaces._paper_c import (
    BY_DATA,
    CIFAR,
    COMMON,
    FASHION,
    HELD,
    PUBLISHED_ATTACK,
    QUANTIZED_RECIPE,
    ROBUST,
    SEEDS,
    SMOKE,
    TWO_SEEDS,
    Axes,
    on_cifar,
    on_fashion,
)
from study.spec.studies import Arm, Preset, Study

TRAINED: Axes = {**HELD, "adversarial_ratio": (ROBUST,)}
AWARE: Axes = {"qat": (1,), "recipe": ("paper_c_qat",)}
# Every quantization-aware net is trained anew: ten minutes on two cores leave so much.
# By SGD these few steps leave the loss where it was.
SMALL = {
    "width_multiplier": 0.5, "optimizer": "adam", "learning_rate": 1e-3, "schedule": "constant", "batch_size": 32,
    "finetune_batch_size": 32, "epochs": 15, "train_eps": 16 / 255, "eps_linf": (16 / 255,), "judged_linf": 16 / 255,
    "audit_queries": 100, "gap_iterations": 10,
}  # fmt: skip
WHOLE = {"width_multiplier": 1.0, "epochs": 20, "audit_queries": 200}
ALL, FEW = (16, 8, 4, 2, 1), (8, 4)


def _arms(aware: tuple[int, ...] = ALL, after: tuple[int, ...] = ALL, epochs: int = 3) -> tuple[Arm, ...]:
    """The robust net; quantized after training and while it trains; each left as it is, and fine-tuned."""
    tuned: Axes = {"finetune": ("adversarial",), "finetune_epochs": (epochs,), **QUANTIZED_RECIPE}
    axes: dict[str, Axes] = {
        "robust": {},
        "ptq": {"bits": after},
        "ptq_adversarial": {"bits": FEW, **tuned},
        "qat": {"bits": aware, **AWARE},
        "qat_adversarial": {"bits": FEW, **AWARE, **tuned},
    }
    return tuple(Arm(name=name, family="compressed", axes={**TRAINED, **more}) for name, more in axes.items())


STUDY = Study(
    name="qat_study",
    question="Is quantization-aware training of a robust net worth its time beside quantization after training?",
    reproduces=("C.tab8", "C.tab9", "C.fig4"),
    covers=("C5",),
    figures=("bytes",),
    claims=("C-B3-ptq", "C-B3-int4", "C-B2-test"),
    presets={
        "smoke": Preset(
            arms=_arms(aware=FEW, after=FEW, epochs=1),
            seeds=TWO_SEEDS,
            model="cnn8",
            settings=COMMON | SMOKE,
        ),
        "laptop": Preset(
            arms=_arms(aware=FEW),
            seeds=SEEDS,
            model="cnn8",
            settings=COMMON | SMALL,
            by_data={name: part | WHOLE for name, part in BY_DATA.items()},
        ),
        "paper": on_fashion(
            arms=_arms(),
            seeds=SEEDS,
            settings=COMMON | PUBLISHED_ATTACK | FASHION,
        ),
        "paper_cifar": on_cifar(
            arms=_arms(),
            seeds=SEEDS,
            settings=COMMON | PUBLISHED_ATTACK | CIFAR,
        ),
    },
)
