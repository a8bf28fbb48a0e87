"""Level matching: the sparsity at which pruned nets are as accurate as quantized ones (paper C, section 4; row C8).

Validation images choose the level, once for all seeds; what it is worth is said by test images (analysis.matched).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from analysis.arms import slices
from analysis.tables import arm_trials, per_trial
from study.spec.knobs import AXES
from study.store.manifest import Manifest

PRUNED, QUANTIZED, BITS = "prune_ratio", "bits", 8
COMPRESSING = tuple(name for name, knob in AXES.items() if knob.compressed or knob.shares)
EQUAL = 1e-9  # two distances that differ by less are equal
MISSING = "there are no validation rows (--set validation=0.1 --set validation_rows=1)"


def nearest(levels: Mapping[float, float], target: float) -> float:
    """The level whose number is nearest to the target, of equally near ones the lowest. ValueError without a level."""
    if not levels:
        raise ValueError("there is no level to choose from")
    least = min(abs(value - target) for value in levels.values())
    return min(level for level, value in levels.items() if abs(value - target) <= least + EQUAL)


@dataclass(frozen=True, kw_only=True)
class Match:
    """The sparsity that is matched to 8 bits (None: none could be, and `why`), at one value of the axes that a study
    only holds (`at`).

    `levels` are the mean validation accuracies that it was chosen by, `target` that of 8 bits, over so many `seeds`;
    `left_out` the levels that lack a seed of the quantized nets.
    """

    at: str = ""
    level: float | None = None
    target: float = math.nan
    levels: Mapping[float, float] = field(default_factory=dict)
    left_out: tuple[float, ...] = ()
    seeds: int = 0
    why: str = ""


def matches(frame: pd.DataFrame, study: Manifest) -> list[Match]:
    """One match per value of the held axes; none where a study has not both kinds of net (pruned ones, of two shares or
    more, and those on 8 bits, of standard training and adversarially fine-tuned), and none of a search."""
    return [] if study.search else [m for at, part in slices(study) if (m := _match(frame, part, at))]


def nets(frame: pd.DataFrame, study: Manifest, axis: str) -> pd.DataFrame:
    """The finished trials of a study's arms that nothing but `axis` compresses, uncompressed ones included: index
    trial, columns seed and the axes."""
    tables = [arm_trials(frame, arm, study.axes_off) for arm in study.arms]
    whole = pd.concat(tables).groupby(level=0).first() if tables else pd.DataFrame()
    if whole.empty or axis not in whole:
        return pd.DataFrame()
    others = [name for name in COMPRESSING if name in whole and name != axis]
    plain = (whole[others] == [AXES[name].default for name in others]).all(axis=1)
    return whole[plain & (whole["status"] == "ok")]


def sides(frame: pd.DataFrame, study: Manifest) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The nets that are compared, of standard training and adversarially fine-tuned: pruned at any share, and on 8
    bits."""
    found = []
    for table in (nets(frame, study, PRUNED), nets(frame, study, QUANTIZED)):
        tuned = (
            table if table.empty else table[(table["adversarial_ratio"] == 0) & (table["finetune"] == "adversarial")]
        )
        found.append(tuned)
    pruned, quantized = found
    return (
        pruned if pruned.empty else pruned[pruned[PRUNED] > 0],
        quantized if quantized.empty else quantized[quantized[QUANTIZED] == BITS],
    )


def _match(frame: pd.DataFrame, study: Manifest, at: str) -> Match | None:
    pruned, quantized = sides(frame, study)
    if pruned.empty or quantized.empty or pruned[PRUNED].nunique() < 2:
        return None
    seen = per_trial(frame, "clean_accuracy", split="validation")
    target = by_seed(seen, quantized)
    found = {float(ratio): by_seed(seen, rows) for ratio, rows in pruned.groupby(PRUNED)}
    if target.empty or all(values.empty for values in found.values()):
        return Match(at=at, why=MISSING)
    whole = {ratio: values for ratio, values in found.items() if set(target.index) <= set(values.index)}
    left_out = tuple(ratio for ratio in found if ratio not in whole)
    if not whole:
        return Match(at=at, left_out=left_out, why="no level has all of their seeds")
    means = {ratio: float(values.reindex(target.index).mean()) for ratio, values in whole.items()}
    goal = float(target.mean())
    return Match(
        at=at, level=nearest(means, goal), target=goal, levels=means, left_out=left_out, seeds=len(target)
    )  # fmt: skip


def by_seed(values: pd.Series, rows: pd.DataFrame) -> pd.Series:
    """A number of some nets by their seed (its mean where a seed has several)."""
    return values.reindex(rows.index).groupby(rows["seed"]).mean().dropna()
