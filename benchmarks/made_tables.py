"""Tables of results whose truth is known, for the benchmark of verdicts: seeds by levels, with and without effects."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.spec.domains import Value
from study.store import results
from study.store.manifest import ArmRecord, Manifest

ALONG = ("spearman", "pearson", "order", "peak")  # of all levels; the others compare levels that are named
LEVELS = {s: 6 for s in ("spearman", "pearson", "order")} | {"peak": 8}
TWO = 3  # levels of a table of which two are compared
PLANTED = (0.25, 0.5)
SCATTER = 0.3
WITHIN, RELABELLED, SWAPPED, NOISE = "within seeds", "levels", "arms swapped", "noise"
MARGIN = "the difference is the margin"


@dataclass(frozen=True)
class Values:
    """A table's numbers: y and x by seed and level (S, L), y of the other arm by seed and its two levels (S, 2)."""

    y: np.ndarray
    x: np.ndarray
    other: np.ndarray


def effects(statistic: str, size: float, levels: int, random: np.random.Generator) -> np.ndarray:
    """What the levels do, (L,): a line that rises by `size`, or a tent of that height, and some scatter."""
    place = np.linspace(0, 1, levels)
    shape = 1 - np.abs(2 * place - 1) if statistic == "peak" else place
    scatter = SCATTER * random.standard_normal(levels) if statistic in ALONG else 0.0
    return size * shape + scatter


def values(
    statistic: str, seeds: int, levels: int, effect: np.ndarray, random: np.random.Generator, noise: float = 1.0
) -> Values:
    """Numbers with the effects (L,) or, seed by seed, (S, L), an effect of each seed, and noise."""
    each = random.standard_normal((seeds, 1))
    y = effect + each + noise * random.standard_normal((seeds, levels))
    x = np.arange(levels) + 0.2 * random.standard_normal((seeds, levels))
    other = each + noise * random.standard_normal((seeds, 2))
    if statistic == "growth":
        y = y - each  # it is told from 0, not from another level of the same seed
    return Values(y, x, other)


def shuffled(y: np.ndarray, way: str, random: np.random.Generator) -> np.ndarray:
    """Numbers (S, L) shuffled within each seed, or by level alike for all seeds."""
    return random.permuted(y, axis=1) if way == WITHIN else y[:, random.permutation(y.shape[1])]


Draw = Callable[[str, int, int, np.random.Generator], Values]


def _within(statistic: str, seeds: int, levels: int, random: np.random.Generator) -> Values:
    made = values(statistic, seeds, levels, effects(statistic, 4.0, levels, random), random)
    whole = shuffled(np.hstack([made.y, made.other]), WITHIN, random)
    return Values(whole[:, :levels], made.x, whole[:, levels:])


def _levels(statistic: str, seeds: int, levels: int, random: np.random.Generator) -> Values:
    effect = random.permutation(effects(statistic, 4.0, levels, random))
    return values(statistic, seeds, levels, effect, random, noise=0.3)


def _swapped(statistic: str, seeds: int, levels: int, random: np.random.Generator) -> Values:
    effect = effects(statistic, 4.0, levels, random)
    coin = random.choice([-1.0, 1.0], (seeds, 1))
    return values(statistic, seeds, levels, coin * (effect - effect.mean()), random, noise=0.3)


def _noise(statistic: str, seeds: int, levels: int, random: np.random.Generator) -> Values:
    return values(statistic, seeds, levels, np.zeros(levels), random)


def _margin(statistic: str, seeds: int, levels: int, random: np.random.Generator) -> Values:
    return values(statistic, seeds, levels, np.linspace(0, 1, levels), random, noise=0.3)


NULLS: dict[str, Draw] = {
    WITHIN: _within, RELABELLED: _levels, SWAPPED: _swapped, NOISE: _noise, MARGIN: _margin,
}  # fmt: skip
COMPARED = (WITHIN, SWAPPED, NOISE)
NULLS_OF = {s: (WITHIN, RELABELLED, SWAPPED, NOISE) for s in ALONG} | {
    "difference": COMPARED, "ratio": COMPARED, "interaction": COMPARED, "growth": (SWAPPED, NOISE),
    "equivalence": (MARGIN,),
}  # fmt: skip


class Made:
    """The folder of a made table: its manifest, and a frame that takes the numbers of any draw.

    Arm `levels` moves alpha, `other` the rank; `control` plants an effect that no one can miss.
    """

    def __init__(self, statistic: str, seeds: int, levels: int) -> None:
        self.statistic = statistic
        alphas = tuple(float(i) for i in range(levels))
        arms: dict[str, dict[str, tuple[Value, ...]]] = {
            "levels": {"alpha": alphas}, "other": {"rank": (1, 2)}, "control": {"plant_rows": (0.0, *PLANTED)},
        }  # fmt: skip
        self.study = Manifest(
            name="made", data="digits", model="fcn", settings={}, seeds=tuple(range(seeds)), trials=(),
            arms=tuple(ArmRecord(name=name, family="made", axes=axes) for name, axes in arms.items()),
            axes_off={"alpha": 0.0, "rank": 0, "plant_rows": 0.0},
        )  # fmt: skip
        points = [("alpha", a) for a in alphas] + [("rank", r) for r in (1, 2)] + [("plant_rows", p) for p in PLANTED]
        nets: list[dict[str, object]] = [
            {"trial": f"{axis}{value}-{seed}", "seed": seed, **self.study.axes_off, axis: value}
            for seed in range(seeds)
            for axis, value in points
        ]
        named = {"family": "made", "status": "ok", "deterministic": True}
        rows = [net | named | {"measure": m, "value": 0.0} for m in ("outcome", "explanation") for net in nets]
        self.rows = pd.DataFrame(rows).reindex(columns=results.COLUMNS)

    def frame(self, given: Values) -> pd.DataFrame:
        """The tidy table of some numbers; a ratio and a growth are of their exponentials."""
        first = given.y[:, :1]
        planted = np.array([100.0, 0.0] if self.statistic == "peak" else [50.0, 100.0])
        planted = 0 * planted if self.statistic == "equivalence" else planted
        y = np.hstack([given.y, given.other, first + planted])
        x = np.hstack([given.x, np.zeros_like(given.other), given.x[:, :1] + [50.0, 100.0]])
        if self.statistic in ("ratio", "growth"):
            y = np.exp(y / 10)
        return self.rows.assign(value=np.concatenate([y.ravel(), x.ravel()]))
