"""Figures by id: {id: (title, drawing)}, and what a sentence under one says. A user's study may bring its own.

A drawing takes the tidy table, the study (a Manifest) and the judgements of the claims that could be asked, and returns
a matplotlib figure.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims.judge import Judgement
from analysis.claims.needs import MIN_SEEDS, many
from analysis.figures import (
    ascent,
    bounds,
    choices,
    costs,
    features,
    ladder,
    layers,
    levels,
    masks,
    pareto,
    plain,
    pruning,
    representations,
    sweep,
    tuned,
    universal,
)
from study.spec.errors import UsageError, closest
from study.store.manifest import Manifest

Drawing = Callable[[pd.DataFrame, Manifest, Sequence[Judgement]], Figure]
Own = tuple[str, str, Drawing]  # a figure that is not in FIGURES: its id, title and drawing

FIGURES: dict[str, tuple[str, Drawing]] = {
    "robustness": ("Accuracy, RA/SA and compressibility along each arm", sweep.robustness),
    "compressibility": ("Robustness against measured compressibility", sweep.compressibility),
    "bounds": ("Theorem 3.1's bound against the measured loss gap", sweep.bounds),
    "prunability": ("Accuracy after row pruning", sweep.prunability),
    "pruning_curves": ("Accuracy along the pruning of the finished nets", pruning.pruning_curves),
    "gap": ("Corollary 3.3's bound against the measured gap", bounds.gap),
    "anatomy": ("Looseness, local sensitivity, alignment", bounds.anatomy),
    "universal": ("One perturbation for all images: against compressibility and against scale", universal.universal),
    "representations": ("What an attack does inside the net", representations.representations),
    "boundaries": ("Decision boundaries in input and representation space", representations.boundaries),
    "feature_maps": ("Features of clean and attacked images on t-SNE planes", features.feature_maps),
    "fronts": ("The front: robustness against cost", pareto.fronts),
    "progress": ("Hypervolume against evaluations, attainment over seeds", pareto.progress),
    "parallel": ("What the front is made of", pareto.parallel),
    "bytes": ("Accuracy against stored bytes", costs.stored_bytes),
    "tuned": ("What fine-tuning gives to compressed nets", tuned.tuned),
    "ladder": ("The net along each way of compression", ladder.figure),
    "layers": ("Where the energy sits: the hidden layers of the net as it is", layers.figure),
    "levels": ("Accuracy against the level of pruning and of quantization", levels.levels),
    "ascent": ("Both norms while one of them is pushed", ascent.ascent),
    "kept": ("Accuracy against the share of weights kept", masks.kept),
    "risk": ("Risk and fidelity of masked nets, and their bounds", masks.risk),
    "pairs": ("Attacked against clean accuracy for each way of choosing", choices.pairs),
    "risk_fidelity": ("Risk against fidelity for each way of choosing", choices.risk_fidelity),
    "chosen": ("What each layer keeps", choices.chosen),
    "plain": ("Accuracy and robustness along what the study moves", plain.plain),
}
MEANS = "{means}"
NETS = "A dot is a net; the number above is the claim's, as in the table of verdicts."
FRONT = (
    "On the front: no other mean is as good in both numbers and better in one. Hollow: another point beats it beyond "
    "seed noise, being as good in both means and better in one by the paired t test over seeds at 5 %, after "
    "Bonferroni's correction for two numbers and all other points."
)
KNEE = (
    "Knee: of each seed's front the point farthest beyond the chord between its ends (Das 1999), where it has three "
    "points or more and bulges by .05 of the normalised square"
)
CAPTIONS: dict[str, str] = {
    "robustness": MEANS,
    "compressibility": NETS + " Crosses: the control. Hollow: shown and not judged.",
    "bounds": NETS,
    "gap": NETS,
    "prunability": "Means over {seeds}, without intervals.",
    "pruning_curves": MEANS + " No intervals are drawn where there are more than five curves.",
    "plain": MEANS + " Where an arm moves several axes, a point is also the mean over the others.",
    "layers": "Energy: a layer's share of the squared weights of all hidden layers. Residual: what is lost of the "
    "rows' l1 norms (of the singular values) where a tenth of them is kept. A layer stretches a change of its input at "
    "most by its norm, and its norm is at most the bound at the end of its line, which its compressibility gives "
    "(Theorem 3.1 of paper A).",
    "tuned": MEANS + " The band reaches 5 points below the robust accuracy of the uncompressed robust net.",
    "levels": MEANS + " Gray: 8 bit, and the sparsity that validation images match to it, nearest of those tried. Nets "
    "that nothing compressed are fine-tuned as pruned ones are.",
    "kept": "Means over {seeds}, masks of a seed averaged first; bands are 95 % t intervals. A second attack is asked "
    "of fewer images, so that it may lie above a weaker one.",
    "risk": "Means over {seeds} on logarithmic scales, masks of a seed averaged first; bands are 95 % t intervals. The "
    "bounds hold on average over random masks; Proposition 1 as printed does not for all.",
    "pairs": f"Means over {{seeds}}, a point for each level, bars: 95 % t intervals of five seeds or more. {FRONT} "
    "Area: what a way's points dominate down to 0, by seed. At equal weights: less the accuracy of one share for all "
    "(where the study has none, of the first way) at as many weights, on the line between its levels, mean over the "
    f"nets compared; brackets: 95 % t intervals over seeds. {KNEE}, and its ends lie two points of accuracy apart or "
    "more in both.",
    "risk_fidelity": "Means over {seeds}, a point for each level, bars: 95 % t intervals; both better small, the whole "
    "net has zeta 0. Measured: the worst move that gradient ascent finds in the ball, averaged over images. The bounds "
    f"hold on average over random masks. {FRONT} {KNEE}.",
    "chosen": "Means over {seeds}, after the floor; bands are 95 % t intervals. lam = 1: risk alone counts; 0: "
    "fidelity alone.",
    "universal": MEANS
    + " The perturbation is made on training images and judged on test images; random: the mean over "
    "random perturbations of equal norm.",
    "representations": MEANS + " Growth is that of the encoder's output at the worst points; top / rest is the mean "
    "alignment with the first tenth of the first layer's singular directions over that with the others.",
    "boundaries": "Planes through the mean along the first two principal components of the test images and of their "
    "features, one seed; the numbers are the classes predicted on the plane. A dot is a clean image, its line leads to "
    "its worst point under the attack named above; red: misclassified there. A plane is a slice: an image's class need "
    "not be that of the cell that it is projected to.",
    "feature_maps": "Test images of one class and their worst points under the attack named below, one seed; each "
    "panel is a t-SNE plane of its own, whose distances and axes have no unit: the numbers are taken of the features "
    "themselves. Shift: how far the attack moves them, as a share of the mean distance of two clean images (noise: "
    "under random perturbations of equal norm). Overlap: 1 where both kinds mix, 0 where they are two clusters.",
}


def caption(name: str, study: Manifest) -> str:
    """What a sentence under a figure of a study says, how many seeds stand behind it included; or nothing."""
    n = len(study.seeds)
    seeds = many(n, "seed")
    means = f"Means over {seeds}; bars are 95 % t intervals." if n >= MIN_SEEDS else (
        f"Means over {seeds}, too few for intervals (they need {MIN_SEEDS}).")  # fmt: skip
    if name == "plain" and study.search:
        return "Each point is a trial."
    return CAPTIONS.get(name, "").format(means=means, seeds=seeds)


def find(entries: Iterable[str | Own]) -> list[Own]:
    """Id, title and drawing of each figure: an id of FIGURES, or the three of one's own. UsageError naming the nearest
    id for one that is not known, for an id of one's own that cannot be a file's name, and for two different figures of
    one id."""
    found: dict[str, Own] = {}
    for entry in entries:
        if isinstance(entry, str) and entry not in FIGURES:
            raise UsageError(
                f"figure {entry!r} is not known{closest(entry, FIGURES)} Known: {', '.join(FIGURES)}. A figure of a "
                "study of your own is given as (id, title, function)."
            )
        if not isinstance(entry, str) and not (isinstance(entry, tuple) and len(entry) == 3 and callable(entry[2])):
            raise UsageError(f"a figure is an id ({', '.join(FIGURES)}) or (id, title, function), got {entry!r}")
        figure = (entry, *FIGURES[entry]) if isinstance(entry, str) else entry
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", figure[0]):
            raise UsageError(f"figure {figure[0]!r}: an id is a file's name of letters, digits and _ . -")
        if found.setdefault(figure[0], figure) != figure:
            raise UsageError(f"two different figures have the id {figure[0]!r}; give one of them another id")
    return list(found.values())
