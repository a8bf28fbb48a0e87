"""Does masking a part of a trained net's weights make it harder to fool, and is there a best share to keep?

Paper B, sections 4 to 6.3 and Figures 1 to 3 and 6 to 14, rows B1, B2 and B5 of the protocol: weights of a trained net
are kept by size (`magnitude`), by what the loss would lose (`taylor`: |w dL/dw|, mean of 20 batches), at random with
one probability (`bernoulli`) or with 1 - exp(-a |w|) (`smooth`), and the masked net is attacked. Beside them, at the
same shares, whole rows are really removed by their l_1 norm (`removed`: neurons, filters, attention heads and units of
MLPs), which the paper does not do. Expected by the paper: as fewer are kept attacked accuracy first rises (to a peak at
about .85 to .9) and then falls; with Taylor scores that comes at smaller shares; the risk (how far logits move in an
l_2 ball) falls, the distance to the net before grows.

    python -m study.launch pruning_probability_sweep
    python -m study.launch pruning_probability_sweep --preset laptop_vit
    python -m study.launch pruning_probability_sweep --preset paper_vit --set weights=augreg_in21k_ft_in1k

Every base is trained once per seed, and shared. Random masks are drawn three times per seed (`mask_draw`), so that what
is said of their mean has an interval. The paper calls its estimate of the risk unbiased; the mean over random points of
a ball lies below the largest move: three columns say both, and what an attack finds. Widths and batch sizes, the steps
of PGD and the budget of CW are not in the paper: ours are 200 (digits; 400 published preset), 100, a quarter of the
budget, 4/255. The 4-layer CNN is the project's own `cnn`. AutoAttack takes seconds a net (8 on 200 images of MNIST,
where AutoPGD takes .1): the laptop preset asks it of the nets masked by size alone, on 200 images (MNIST: 100) at the
judged budget. That CNN has BatchNorm, whose running statistics are those of the whole net: once weights go they are
taken anew on the training images (`recalibrate`), of the whole net too; the arm `stale` keeps the old ones. The paper
does not say which it has.

laptop: scikit-learn's digits, an MLP of two layers, five seeds; ten minutes on two cores. laptop_cnn, laptop_vit: the
same digits enlarged, a CNN of a quarter of the channels (by size and at random; AutoAttack on 50 images) and a ViT of
two blocks from random weights (without AutoAttack), one random mask per seed. paper: MNIST, the same MLP, 30 epochs.
paper_mlp: CIFAR-10, 8192-4096-2048-1024, 100 epochs. paper_cnn: CIFAR-10 (or CIFAR-100), 100 epochs. paper_vit:
ViT-Tiny, 10 epochs, Taylor scores (ImageNet-100: `--data imagefolder:PATH`). smoke: seconds; it judges nothing.
"""

from search_spaces._paper_b import (
    DRAWS,
    FEWER,
    KEPT,
    SMALL_CNN,
    SMALL_VIT,
    Axes,
    control_rate,
    laptop,
    masked,
    paper,
    removed,
    smoke,
)
from study.spec.studies import Arm, Study

CNN_HAS = ("magnitude", "bernoulli", "control_rate")  # paper B masks its CNN by size alone
AUTOATTACK: Axes = {"second_attack": ("autoattack",)}


def _arms(
    kept: tuple[float, ...], drawn: tuple[float, ...], draws: tuple[int, ...] = DRAWS, by_size: Axes | None = None
) -> tuple[Arm, ...]:
    random = {name: masked(name, drawn, mask=(name,), mask_draw=draws) for name in ("bernoulli", "smooth")}
    magnitude = masked("magnitude", kept, mask=("magnitude",), **(by_size or {}))
    taylor = masked("taylor", kept, mask=("taylor",))
    return (magnitude, taylor, *random.values(), removed("removed", kept), control_rate())


STALE = masked("stale", (1.0, 0.9, 0.8, 0.6, 0.4), mask=("magnitude",), recalibrate=(0,))
OF_A_CNN = (*(a for a in _arms(KEPT, FEWER, (0,), AUTOATTACK) if a.name in CNN_HAS), STALE)
WHOLE = _arms(KEPT, FEWER)
STUDY = Study(
    name="pruning_probability_sweep",
    question="Does masking a part of a net's weights make it harder to fool, and which part?",
    reproduces=tuple(f"B.fig{n}" for n in (1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14)),
    covers=("B1", "B2", "B5"),
    figures=("kept", "risk", "pairs", "risk_fidelity"),
    claims=(
        "B-peak-magnitude", "B-peak-taylor", "B-peak-fgsm", "B-peak-pgd", "B-peak-cw",
        "B-peak-autoattack", "B-peak-removed", "B-taylor-later",
        "B-risk-magnitude", "B-risk-bernoulli", "B-fidelity",
    ),
    presets={
        "smoke": smoke(_arms((1.0, 0.5), (1.0, 0.5), (0, 1), AUTOATTACK)[:-1]),
        "laptop": laptop(_arms(KEPT, FEWER, by_size=AUTOATTACK)),
        "laptop_cnn": laptop(OF_A_CNN, "cnn", **SMALL_CNN),
        "laptop_vit": laptop(_arms(KEPT, FEWER, (0,)), "vit", **SMALL_VIT),
        "paper": paper(WHOLE, width=400, depth=1),
        "paper_mlp": paper(WHOLE, "fcn", "cifar10", 0.5, epochs=100, width=8192, depth=4, width_taper=0.5),
        "paper_cnn": paper((*WHOLE, STALE), "cnn", "cifar10", epochs=100, recalibrate=1),
        "paper_vit": paper(WHOLE, "vit_tiny", "cifar10", 0.5, recipe="paper_b_vit", epochs=10),
    },
)  # fmt: skip
