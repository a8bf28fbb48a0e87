"""Names where there are no columns (MLflow, Tune): the measure, then its coordinates after a slash."""

import re
from collections.abc import Iterable, Mapping
from itertools import starmap
from typing import Any

from study.spec.attack_names import current
from study.spec.errors import UsageError
from study.spec.knobs import KNOBS, WHOLE
from study.spec.values import shown

# The native attack that a flat name leaves out, of any other measure apgd: what there is one of needs no name. An
# earlier revision of it is said.
UNSAID = {"loss_monotone": "pgd", "audit_flag": "square"}


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The net-level numbers of a trial under flat names, a coordinate after a slash: robust_accuracy/linf_16_255."""
    out = {}
    for r in rows:
        if r.get("step") is None and r["deterministic"] and r.get("layer") in (None, "mean", "product"):
            out[metric_name(r)] = r["value"]
    return out


def eps_text(eps: float, norm: str) -> str:
    """A budget as it stands in names: 16_255 for l_inf 16/255, 0.5_255 for half a level, else its digits (0.5)."""
    return f"{whole:g}_255" if (whole := levels(eps, norm)) else f"{eps:g}"


def levels(eps: float, norm: str) -> float:
    """An l_inf budget in levels of 255, where that is how people give it: whole ones, quarters below one. Else 0."""
    of_one = eps * 255 if norm == "linf" else 0.0
    parts = 4 if of_one < 1 else 1
    near = round(parts * of_one) / parts
    return near if abs(of_one - near) < 1e-9 else 0.0


def metric_name(r: Mapping[str, Any]) -> str:
    """The name of a row where there are no columns (MLflow, Tune)."""
    parts = [r["layer"] if r.get("layer") not in (None, "mean", "product") else None]
    parts.append(r.get("norm"))
    parts.append(eps_text(r["eps"], r["norm"]) if r.get("eps") is not None else None)
    parts.append(r.get("pruning"))
    parts.append(f"kept_{r['kept']:g}" if r.get("kept") is not None else None)
    parts += [f"{name}_{r[name]}" if r.get(name) is not None else None for name in ("k", "draw", "on")]
    parts.append(r["split"] if r.get("split") not in (None, "test") else None)
    if r.get("attack") != current("native", UNSAID.get(r["measure"], "apgd")):
        parts.append((r.get("attack") or "").replace("/", "-").replace("@", "-r"))  # MLflow takes no @
    coordinate = "_".join(str(p) for p in parts if p)
    return f"{r['measure']}/{coordinate}" if coordinate else str(r["measure"])


# What each measure means, its unit and its range, for people who meet it in MLflow.
MEANINGS: dict[str, tuple[str, str]] = {
    "clean_accuracy": ("share of images classified correctly", "0 to 1"),
    "clean_loss": ("mean cross-entropy on clean images", "nats, from 0"),
    "robust_accuracy": ("share of images still classified correctly under the attack (native-apgd unless the name "
                        "ends with another; native-square needs no gradients)", "0 to 1"),
    "relative_robust_accuracy": ("robust accuracy over clean accuracy (RA/SA)", "0 to 1"),
    "loss_gap": ("mean cross-entropy at the worst points found minus at the clean ones (by native-apgd on the loss "
                 "unless the name ends with another; art-...: at the points that the toolbox returns)", "nats"),
    "audit_flag": ("the attack without gradients fooled too many images that the one with them had left: a sign of "
                   "gradient masking", "0 or 1"),
    "robust_accuracy_half": ("robust accuracy when half of the attack's passes were spent; more than a point above "
                             "robust_accuracy: not converged", "0 to 1"),
    "late_falls": ("share of images first fooled in the last quarter of the attack's passes", "0 to 1"),
    "unconfirmed_share": ("share of images whose adversarial point does not hold in a second look", "0 to 1"),
    "zero_gradient_share": ("share of images without any gradient at the clean point", "0 to 1"),
    "loss_monotone": ("the worst loss grows with the budget", "0 or 1"),
    "zero_eps_agrees": ("at budget 0 the attack gives clean accuracy", "0 or 1"),
    "local_sensitivity_max": ("largest move of the encoder's output per move of the input", "from 0"),
    "local_sensitivity_mean": ("its mean", "from 0"),
    "gap_bound": ("bound on the loss gap (Corollary 3.3), from the encoder's Lipschitz bound", "nats, from 0"),
    "gap_bound_product": ("the same from the product of the operator norms", "nats, from 0"),
    "compress_eps_nu": ("residual of the rows beside the largest ones; lower is more compressible", "0 to 1"),
    "compress_eps_sigma": ("residual of the spectrum beside the largest values; lower is more compressible",
                           "0 to 1"),
    "spread_nu": ("spread of the largest row norms", "from 0"),
    "spread_sigma": ("spread of the largest singular values", "from 0"),
    "frobenius_norm": ("Frobenius norm of a hidden layer", "from 0"),
    "operator_norm": ("operator norm of a layer (dense: largest row l1 norm, largest singular value; convolution, on "
                      "the images that it meets: linf exact, l2 estimated from below)", "from 0"),
    "operator_norm_certified": ("upper bound of a layer's l2 operator norm, from the Fourier transform", "from 0"),
    "operator_norm_matricised": ("the same norms of the kernel as a matrix, no operator's in l2", "from 0"),
    "operator_norm_bound": ("its upper bound from compressibility (Theorem 3.1)", "from 0"),
    "operator_norm_bound_tight": ("the tighter form of that bound", "from 0"),
    "operator_norm_lower": ("its lower bound", "from 0"),
    "operator_norm_growth": ("operator norm after the ascent over before it", "from 0"),
    "ascent_operator_norm": ("operator norm along the ascent", "from 0"),
    "largest_row_energy": ("share of the squared Frobenius norm in the largest row", "0 to 1"),
    "largest_singular_energy": ("share of the squared Frobenius norm in the largest singular value", "0 to 1"),
    "alignment": ("alignment of consecutive layers, remainder included: a certified upper bound", "0 to 1"),
    "alignment_greedy": ("its main term as a search finds it (paper A, B.5): not certified, a lower value", "0 to 1"),
    "lipschitz_bound": ("Lipschitz bound of the whole encoder", "from 0"),
    "lipschitz_bound_tight": ("the tighter form of that bound", "from 0"),
    "fooling_rate": ("share of test predictions that one perturbation for all images changes; made on training images "
                     "by the attack that the name ends with (random: mean over random ones of equal norm)", "0 to 1"),
    "fooling_excess": ("fooling rate minus that of random perturbations of equal norm", "-1 to 1"),
    "universal_accuracy": ("share of test images classified correctly under that perturbation", "0 to 1"),
    "universal_share": ("of the test images that a perturbation of their own fools (native-apgd), the share that the "
                        "one for all fools too", "0 to 1"),
    "representation_growth": ("mean of ||z_adv - z|| / ||z||, z the encoder's output, at the worst points found "
                              "(random: at random perturbations of equal norm)", "from 0"),
    "direction_alignment": ("mean of |v' a| / ||a||, v a right singular vector of the first layer (number k, or the "
                            "mean over the top and the rest of them), a the perturbation as that layer is given it",
                            "0 to 1"),
    "direction_ratio": ("that mean over the top directions divided by that over the rest", "from 0"),
    "boundary_class": ("class on a plane of principal components (layer: input, representation), from cell k of the "
                       "grid on until the next row's, line by line", "number of the class"),
    "boundary_extent": ("the grid's ends: k 0 to 3 are left, right, bottom, top", "units of the plane"),
    "boundary_point": ("an image on that plane, with attack its worst point; draw: its number; k 0, 1: across, up",
                       "units of the plane"),
    "boundary_label": ("the true class of an image on that plane (attack absent) or the class predicted there",
                       "number of the class"),
    "feature_shift": ("mean of ||h(x_adv) - h(x)|| over the mean distance of two different clean images' features, at "
                      "the worst points found of the test images of a class (random: at random perturbations of equal "
                      "norm); layer: input, or a layer from the end, last being the head", "from 0"),
    "feature_overlap": ("of a point's nearest neighbours among the features of clean and attacked images, its own "
                        "partner left out, the share of the other kind over that of a random mixing", "0 to 2"),
    "feature_point": ("an image's place on the t-SNE plane of a layer, with attack its worst point's; draw: its "
                      "number; k 0, 1: across, up", "units of the plane"),
    "feature_perplexity": ("perplexity of the t-SNE planes: 30, of few images less", "from 1"),
    "pruned_accuracy": ("clean accuracy after keeping a share of the rows of every hidden layer, or of what "
                        "the named way of pruning keeps", "0 to 1"),
    "relative_pruned_accuracy": ("the same over the accuracy of the net that is not pruned", "from 0"),
    "pruned_robust_accuracy": ("robust accuracy of the net pruned to a share", "0 to 1"),
    "pruned_kept": ("share of the hidden weights, rows or ranks that the pruning really keeps", "0 to 1"),
    "parameters": ("weights and biases of the net", "count"),
    "macs": ("multiply-adds of one forward pass of one image", "count"),
    "stored_bytes": ("size of the stored net", "bytes"),
    "said_keep_prob": ("share of a layer's weights that the rule of a trade-off says, before its floor", "0 to 1"),
    "risk_mean": ("how far logits move within the l_2 ball: mean over random points (paper B's estimate)", "from 0"),
    "risk_max": ("the same at the random point that moves them most", "from 0"),
    "risk_worst": ("the same at the worst point that gradient ascent finds", "from 0"),
    "risk_bound": ("bound on it (paper B, Theorem 2, times the budget)", "from 0"),
    "risk_bound_tight": ("the same by the probability of each weight", "from 0"),
    "risk_tightness": ("risk_bound over risk_worst", "from 1 on average over masks"),
    "risk_block_bound": ("heuristic bound on it for one transformer block (paper B, Theorem 1, corrected)", "from 0"),
    "risk_block_bound_printed": ("the same as printed", "from 0"),
    "risk_blocks_bound": ("heuristic bound on it for a vision transformer's first block or the product of all blocks "
                          "(Theorem 1 corrected, LayerNorm taken to stretch by max |gain| / sqrt(eps))", "from 0"),
    "risk_blocks_bound_printed": ("the same as printed, LayerNorm taken to stretch by d / (d - 1), which is no "
                                  "constant of it", "from 0"),
    "fidelity": ("how far logits lie from those of the net before its compression (paper B's zeta)", "from 0"),
    "fidelity_bound": ("bound on it that holds for all probabilities", "from 0"),
    "fidelity_bound_printed": ("the same as printed (Proposition 1)", "from 0"),
    "kept_share": ("share of a layer's weights that its mask or its factors keep", "0 to 1"),
    "training_passes": ("forward and backward passes over single images in all trainings", "count"),
    "latency_seconds": ("wall time of one forward pass", "seconds"),
    "integer_latency_seconds": ("the same on kernels of 8-bit integers, of a net quantized to 8 bits", "seconds"),
    "inference_bytes": ("largest sum of bytes of the tensors that live at once in a forward pass of one image, weights "
                        "left out", "bytes"),
    "integer_inference_bytes": ("the same on kernels of 8-bit integers", "bytes"),
    "inference_allocated_bytes": ("the same as a GPU's allocator sees it, scratch of operations included", "bytes"),
    "inference_joules": ("energy of the whole processor, or GPU, in a forward pass of 64 images (fewer where there are "
                         "fewer test images)", "joules"),
    "integer_inference_joules": ("the same on kernels of 8-bit integers", "joules"),
    "train_loss": ("mean training loss of an epoch, penalty included; step = epoch", "nats, from 0"),
    "validation_loss": ("mean cross-entropy on the validation split; step = epoch", "nats, from 0"),
    "validation_accuracy": ("accuracy on the validation split; step = epoch", "0 to 1"),
    "validation_adversarial_loss": ("the same under the training attack; step = epoch", "nats, from 0"),
    "validation_adversarial_accuracy": ("the same under the training attack; step = epoch", "0 to 1"),
}  # fmt: skip


def meaning(measure: str) -> tuple[str, str]:
    """What a measure means, and its unit or range; ("", "") for one that is not known."""
    if measure.startswith("system/"):
        words = measure.removeprefix("system/").split("_")
        return f"{' '.join(words[:-1])} of the worker, sampled every second", words[-1]
    if measure.endswith("_seconds") and measure not in MEANINGS:
        return f"wall time of {measure.removesuffix('_seconds')}", "seconds, from 0"
    return MEANINGS.get(measure, ("", ""))


def table_of_meanings(measures: Iterable[str]) -> str:
    """A Markdown table: measure, meaning, unit or range; system metrics and wall times in one line each."""
    names = list(dict.fromkeys(measures))
    single = [n for n in names if not n.startswith("system/") and (n in MEANINGS or not n.endswith("_seconds"))]
    lines = ["| metric | meaning | unit or range |", "|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(meaning(name))} |" for name in single]
    if any(name.endswith("_seconds") and name not in MEANINGS for name in names):
        lines.append("| `..._seconds` | wall time of a stage or measure | seconds |")
    if any(name.startswith("system/") for name in names):
        lines.append("| `system/...` | processor, memory and GPU of the worker, every second | percent or megabytes |")
    return "\n".join(lines)


def point_name(axes: Mapping[str, Any], seed: int) -> str:
    """A point by its axes that differ from their defaults, and the seed; further keys are let pass."""
    here = {axis: KNOBS[axis].default for axis in axes if axis in KNOBS and axis not in WHOLE}
    set_axes = [f"{axis} {shown(axes[axis])}" for axis, default in here.items() if axes[axis] != default]
    return " ".join([*(set_axes or ["baseline"]), f"seed {seed}"])


SOURCES = {"fig": "Figure", "tab": "Table", "alg": "Algorithm"}


def source_name(source: str) -> str:
    """A figure or table of a paper in words: A.fig5.top -> `paper A, Figure 5 top`; UsageError for any other form."""
    if not (found := re.fullmatch(r"([ABC])\.(fig|tab|alg)(\d+)(?:\.(\w+))?", source)):
        raise UsageError(f"{source!r} names no figure or table of a paper; write A.fig5, B.tab2 or A.fig5.top")
    paper, kind, number, part = found.groups()
    return f"paper {paper}, {SOURCES[kind]} {number}{f' {part}' if part else ''}"


def reproduced(sources: Iterable[str]) -> str:
    """Several of them: `paper A, Figure 3; paper A, Figure 10`."""
    return "; ".join(map(source_name, sources))


def gathered(sources: str) -> str:
    """What `reproduced` says in fewer words: `paper A, Figures 3 and 10`; any other text as it is."""
    papers: dict[str, dict[str, list[str]]] = {}
    for source in sources.split("; "):
        if not (found := re.fullmatch(r"(paper \w), (Figure|Table|Algorithm) (.+)", source)):
            return sources
        papers.setdefault(found[1], {}).setdefault(found[2], []).append(found[3])
    return "; ".join(f"{paper}, {' and '.join(starmap(_numbered, kinds.items()))}" for paper, kinds in papers.items())


def _numbered(kind: str, numbers: list[str]) -> str:
    *rest, last = numbers
    return f"{kind}s {', '.join(rest)} and {last}" if rest else f"{kind} {last}"
