"""How far above the measured risk of a masked net does paper B's bound lie, and does it follow it?

Paper B, appendix H.6 and Figures 15 and 16, row B6 of the protocol: Theorem 2's bound of the risk (times the budget,
which it leaves out) beside the mean and the largest move of the logits over random points of the l_2 ball (K = 200),
and the worst that an attack finds, for an MLP without biases whose weights are kept at random with one probability. The
bound is of the expectation over masks: five masks of each seed. Beside it the form that uses each weight's own
probability.

    python -m study.launch tightness_study
    python -m study.launch tightness_study --preset laptop_block
    python -m study.launch tightness_study --preset laptop_vit

Figure 16: one transformer block without LayerNorm, its five matrices masked, beside Theorem 1, corrected and as
printed; its tokens are 4 x 4 pixels with a learned vector for each place, of which the paper says nothing. The proof
has gaps, so that this bound is a heuristic. ViT-Tiny's blocks, their linear layers masked, have two more: the first
block's tokens beside Theorem 1's bound of that block, and the logits beside the product of the bounds of all blocks,
which the paper says the bound of several is (section 4.2). LayerNorm without its eps has no Lipschitz constant: as
printed d / (d - 1) is taken for one, in the corrected form max |gain| / sqrt(eps), about 1000. Expected by the paper: a
gap, and a bound that falls as the risk does.

laptop, laptop_block, laptop_vit: scikit-learn's digits, two layers of an MLP, a block of 64 features, a ViT of two
blocks of 64 features, five seeds; five minutes on two cores each, the ViT ten. paper, paper_block: MNIST, 400 units,
64 features, 30 epochs. paper_vit: ViT-Tiny on CIFAR-10, 10 epochs (`--set weights=augreg_in21k_ft_in1k`). smoke:
seconds; it judges nothing.
"""

from typing import Any

from search_spaces._paper_b import SMALL_VIT, laptop, masked, paper, smoke
from study.spec.studies import Arm, Study

SHARES, DRAWS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), (0, 1, 2, 3, 4)
OF_A_VIT = (1.0, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.4, 0.2)  # below .8 of its weights it tells few digits apart
BLOCK: dict[str, Any] = {"width": 64, "mask_on": "hidden"}  # Theorem 1 is of the block alone
VIT: dict[str, Any] = {"mask_on": "hidden", "recipe": "paper_b_vit"}
ALONE: dict[str, Any] = {"more_attacks": (), "risk_points": 200}


def _arms(shares: tuple[float, ...], draws: tuple[int, ...]) -> tuple[Arm, ...]:
    return (masked("bernoulli", shares, mask=("bernoulli",), mask_draw=draws),)


WHOLE = _arms(SHARES, DRAWS)
STUDY = Study(
    name="tightness_study",
    question="Does the bound of a masked net's risk follow it, and how far above it does it lie?",
    reproduces=("B.fig15", "B.fig16"),
    covers=("B6",),
    figures=("risk",),
    claims=("B-risk-bernoulli", "B-bound-follows", "B-block-follows", "B-first-block-follows", "B-blocks-follow"),
    presets={
        "smoke": smoke(_arms((1.0, 0.5), (0, 1))),
        "laptop": laptop(WHOLE, **ALONE),
        "laptop_block": laptop(WHOLE, "attention_block", **ALONE, **BLOCK, patch_size=4, epochs=60),
        "laptop_vit": laptop(_arms(OF_A_VIT, (0, 1, 2)), "vit", **ALONE | SMALL_VIT | VIT),
        "paper": paper(WHOLE, **ALONE, width=400, depth=1),
        "paper_block": paper(WHOLE, "attention_block", **ALONE, **BLOCK, patch_size=4),
        "paper_vit": paper(WHOLE, "vit_tiny", "cifar10", 0.5, **ALONE, **VIT, epochs=10),
    },
)
