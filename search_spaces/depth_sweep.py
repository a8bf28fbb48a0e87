"""Do deeper nets gain more from having their weights masked?

Paper B, section 6.4 and Figure 4, row B3 of the protocol: MLPs of two, three and four layers, masked by size and
attacked. Its bound of the risk shrinks as keep_prob to the power of half the number of layers (Theorem 2), so that it
expects a larger share to go in deeper nets before clean and attacked accuracy balance.

    python -m study.launch depth_sweep

laptop: scikit-learn's digits, 200 units a layer, five seeds, random masks (three draws per seed) beside those by size;
six minutes on two cores. paper: MNIST, 400 units (the paper does not say), 30 epochs. smoke: seconds; it judges
nothing.
"""

from search_spaces._paper_b import DRAWS, FEWER, KEPT, laptop, masked, paper, smoke
from study.spec.studies import Arm, Study

DEPTHS = (1, 2, 3)  # hidden layers: two, three and four with the head


def _arms(kept: tuple[float, ...], drawn: tuple[float, ...], draws: tuple[int, ...] = DRAWS) -> tuple[Arm, ...]:
    random = masked("bernoulli", drawn, mask=("bernoulli",), depth=DEPTHS, mask_draw=draws)
    return masked("magnitude", kept, mask=("magnitude",), depth=DEPTHS), random


STUDY = Study(
    name="depth_sweep",
    question="Do deeper nets gain more robust accuracy from masked weights?",
    reproduces=("B.fig4",),
    covers=("B3",),
    figures=("kept", "risk"),
    claims=("B-depth-magnitude", "B-depth-fgsm", "B-depth-bernoulli"),
    presets={
        "smoke": smoke(_arms((1.0, 0.5), (1.0, 0.5), (0,))),
        "laptop": laptop(_arms(KEPT, FEWER)),
        "paper": paper(_arms(KEPT, FEWER), width=400),
    },
)
