"""Axes, levels and arms in words, for labels, legends and tables."""

from collections.abc import Sequence

import pandas as pd

from analysis.claims.needs import many
from study.spec.domains import Value
from study.spec.knobs import AXES, KNOBS, named
from study.store.manifest import ArmRecord

AXIS = {
    "alpha": "strength of the penalty α",
    "rank": "rank of the hidden layers",
    "plant_rows": "planted row concentration",
    "plant_spectrum": "planted spectral concentration",
    "prune_ratio": "share of rows removed",
    "keep_prob": "share of weights kept",
    "layer_keep_prob": "share of weights kept by layer",
    "factorize_ratio": "share of weights saved by factors",
    "lam": "trade-off λ",
    "frobenius": "Frobenius norm held",
    "adversarial_ratio": "adversarial share of a batch",
    "l1": "strength of l1",
    "alignment_penalty": "strength of the alignment penalty",
    "spread_control": "spread control",
    "learning_rate": "learning rate",
    "ascended_norm": "norm pushed",
    "finetune": "fine-tuning",
    "finetune_epochs": "epochs of fine-tuning",
}
ARMS = {
    "prune_ratio": "rows removed",
    "keep_prob": "weights masked",
    "factorize_ratio": "factorized",
    "bits": "quantized",
}
TUNED = {"standard": "fine-tuned", "adversarial": "fine-tuned adversarially"}


def axis_words(axis: str) -> str:
    """An axis as a label reads."""
    return AXIS.get(axis, axis.replace("_", " "))


def short(axis: str, value: Value) -> str:
    """A level beside a point: 50 %, 4 bit, rank 8."""
    if axis in ("prune_ratio", "keep_prob", "factorize_ratio") and isinstance(value, float):
        return f"{100 * value:g} %"
    if axis == "bits":
        return f"{value} bit" if value else "float32"
    return named(axis, value)


def said(axis: str, value: Value) -> str:
    """A level that is not off, by itself: `50 % of rows removed`, `fine-tuned`, `3 epochs`."""
    if axis == "prune_ratio":
        return f"{short(axis, value)} of rows removed"
    if axis == "keep_prob":
        return f"{short(axis, value)} of weights kept"
    if axis == "factorize_ratio":
        return f"{short(axis, value)} of weights saved by factors"
    if axis == "bits":
        return short(axis, value)
    if axis == "finetune":
        return TUNED.get(str(value), str(value))
    if axis == "finetune_epochs":
        return many(int(value), "epoch")
    return f"{axis.replace('_', ' ')} {named(axis, value)}"


def arm_words(arm: ArmRecord) -> str:
    """An arm as a legend names it: what compresses and how it is fine-tuned where its name says no more than that."""
    axis = next((a for a in ARMS if a in arm.axes and arm.name.startswith(a)), None)
    if axis is None:
        return arm.name.replace("_", " ")
    tuned = TUNED.get(str(arm.axes.get("finetune", ("",))[0]), "")
    return ", ".join(filter(None, (ARMS[axis], tuned)))


def told_apart(arms: Sequence[ArmRecord]) -> dict[str, str]:
    """Arms in words, by name, with the values that each holds and others hold differently: `both (l1 0.0003)`. Only
    axes that all of them hold at one value each are asked."""
    shared = [a for a in (arms[0].axes if arms else ()) if all(len(arm.axes.get(a, ())) == 1 for arm in arms)]
    differing = [a for a in shared if len({arm.axes[a][0] for arm in arms}) > 1]
    out = {}
    for arm in arms:
        held = ", ".join(said(axis, arm.axes[axis][0]).replace("_", " ") for axis in differing)
        out[arm.name] = f"{arm_words(arm)} ({held})" if held else arm_words(arm)
    return out


def without_idle(table: pd.DataFrame) -> pd.DataFrame:
    """A table of trials where a word that does nothing is `none`: a net without a penalty has no kind of penalty."""
    out = table.copy()
    for axis, knob in AXES.items():
        needs = [name for name in knob.only_with if name in table]
        if axis in table and knob.kind is str and needs:
            idle = (table[needs] == [KNOBS[name].default for name in needs]).all(axis=1)
            out[axis] = out[axis].astype(object).mask(idle, "none")
    return out
