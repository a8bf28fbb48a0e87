"""Ways of choosing what a net keeps, as points of two objectives: which points no other beats, knees, areas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis import pareto
from analysis.arms import differing
from analysis.knees import knee
from analysis.tables import arm_trials, attack_of, per_trial
from study.spec.knobs import by_strength
from study.store.manifest import Manifest

AXES = ("lam", "keep_prob", "prune_ratio")  # along which a way of choosing moves, the first that an arm moves
PLAIN = "one share for all"
LEVEL = 0.05
TWO_POINTS = 0.02  # of accuracy: what the ends of a front must differ by to have a knee between them


@dataclass(frozen=True, kw_only=True)
class Space:
    """Two objectives of a net: their numbers per trial, which way is better, and what ends of a front must differ by to
    be more than noise."""

    x: pd.Series
    y: pd.Series
    maximise: tuple[bool, bool]
    least: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Way:
    """An arm that chooses: its nets, the axis that it moves, and (of a trade-off) its rule and the kind of choice."""

    label: str
    axis: str
    table: pd.DataFrame
    rule: str = ""
    layers: str = ""

    def levels(self) -> list[float]:
        """The values of its axis, towards the compressed end."""
        return [float(v) for v in by_strength(self.axis, self.table[self.axis])]

    def by_seed(self, column: pd.Series) -> pd.DataFrame:
        """A number per trial as a table of its levels by seeds, the draws of a seed averaged first."""
        part = pd.DataFrame({"level": self.table[self.axis], "seed": self.table["seed"]})
        part["value"] = column.reindex(part.index)
        return part.groupby(["level", "seed"])["value"].mean().unstack("seed").reindex(self.levels())


def ways(frame: pd.DataFrame, study: Manifest) -> list[Way]:
    """The arms of a study that choose by degrees what nets keep, each depth for itself where the study moves it."""
    found: list[Way] = []
    chosen = any("lam" in arm.axes for arm in study.arms)
    for arm in study.arms:
        axis = next((a for a in AXES if len(set(arm.axes.get(a, ()))) > 1), "")
        if not axis:
            continue
        table = arm_trials(frame, arm, study.axes_off)
        table = table[table["status"] == "ok"]
        if axis == "lam":
            rule, layers = (str(arm.axes[name][0]) for name in ("lam_rule", "lam_layers"))
            found.append(Way(label=f"{rule}, {layers}", axis=axis, table=table, rule=rule, layers=layers))
        elif "depth" in differing(study):
            parts = table.groupby("depth")
            found += [Way(label=f"{arm.name}, {depth + 1} layers", axis=axis, table=part) for depth, part in parts]
        else:
            found.append(Way(label=PLAIN if chosen else arm.name, axis=axis, table=table))
    return [way for way in found if len(way.table)]


def accuracies(frame: pd.DataFrame, study: Manifest, attack: str = "configured") -> Space:
    """Clean accuracy and that under an attack at the judged l_inf budget, on test images."""
    at = {"attack": attack_of(study, attack), "norm": "linf", "eps": float(study.settings["judged_linf"])}
    robust = per_trial(frame, "robust_accuracy", split="test", **at)
    clean = per_trial(frame, "clean_accuracy", split="test")
    return Space(x=clean, y=robust, maximise=(True, True), least=(TWO_POINTS, TWO_POINTS))


def risk_and_fidelity(frame: pd.DataFrame, study: Manifest, bounds: bool) -> Space:
    """gamma and zeta, both better small: measured (the worst move found in the judged l_2 ball, the distance to the
    whole net), or their `bounds` by each weight's probability. The whole net has zeta 0."""
    at = {"norm": "l2", "split": "test"}
    ends = ("risk_bound_tight", "fidelity_bound") if bounds else ("risk_worst", "fidelity")
    gamma = per_trial(frame, ends[0], eps=float(study.settings["judged_l2"]), **at)
    zeta = per_trial(frame, ends[1], **at)
    whole = gamma.index.difference(per_trial(frame, "fidelity", **at).index)
    return Space(x=gamma, y=pd.concat([zeta, pd.Series(0.0, index=whole)]), maximise=(False, False))


@dataclass(frozen=True, kw_only=True)
class Points:
    """The levels of some ways in a space: x and y (N, S) by seeds (NaN: not there), whose way and level each is,
    whether its means are `on` the front of all means, and whether no other point beats it beyond seed noise."""

    x: np.ndarray
    y: np.ndarray
    way: np.ndarray
    level: np.ndarray
    on: np.ndarray
    unbeaten: np.ndarray


def points(found: Sequence[Way], space: Space) -> Points:
    """The points of all ways that have both numbers at a seed or more."""
    tables = [(way.by_seed(space.x), way.by_seed(space.y)) for way in found]
    seeds = sorted({seed for pair in tables for table in pair for seed in table.columns})
    x, y = (np.concatenate([np.zeros((0, len(seeds)))] + [pair[i].reindex(columns=seeds) for pair in tables])
            for i in (0, 1))  # fmt: skip
    way = np.repeat(np.arange(len(found)), [len(pair[0]) for pair in tables])
    level = np.concatenate([np.zeros(0), *(pair[0].index.to_numpy(dtype=float) for pair in tables)])
    both = ~np.isnan(x) & ~np.isnan(y)
    kept = both.any(axis=1)
    x, y = np.where(both, x, np.nan)[kept], np.where(both, y, np.nan)[kept]
    means = np.column_stack([np.nanmean(x, axis=1), np.nanmean(y, axis=1)]) if len(x) else np.zeros((0, 2))
    signs = np.where(space.maximise, 1.0, -1.0)
    return Points(
        x=x, y=y, way=way[kept], level=level[kept], on=pareto.front(means, space.maximise),
        unbeaten=~beaten(signs[0] * x, signs[1] * y),
    )  # fmt: skip


def beaten(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which of N points (x and y are (N, S) by seeds, better being larger) another beats beyond seed noise, (N,).

    a beats b where in the mean over the seeds of both a is not worse in either objective, and better in one by more
    than the paired t test allows at 5 %, corrected (Bonferroni) for the two objectives and the N - 1 others. Equal
    points beat no one; nor does anything below five seeds. Differences that are the same at every seed leave no doubt.
    """
    count = len(x)
    ahead = np.ones((count, count), dtype=bool)
    sure = np.zeros((count, count), dtype=bool)
    for values in (x, y):
        apart = values[:, None] - values[None]  # of a over b
        n = (~np.isnan(apart)).sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.nansum(apart, axis=2) / n
            error = np.sqrt(np.nansum((apart - mean[..., None]) ** 2, axis=2) / (n - 1) / n)
            p = 2 * stats.t.sf(np.abs(mean) / error, n - 1)
        p = np.where(error <= 1e-12 * np.abs(mean), np.where(mean == 0, 1.0, 0.0), p)
        ahead &= mean >= -1e-12
        sure |= (mean > 0) & (p * 2 * max(1, count - 1) <= LEVEL) & (n >= 5)
    beats: np.ndarray = ahead & sure
    return np.asarray(beats.any(axis=0))


def knees(way: Way, space: Space) -> list[tuple[float, float, float]]:
    """Level, x and y of the knee of each seed's front of a way, of the seeds that have one."""
    x, y = way.by_seed(space.x), way.by_seed(space.y)
    found = []
    for seed in x.columns.intersection(y.columns):
        at = np.column_stack([x[seed], y[seed]])
        place = knee(at, space.maximise, space.least)
        if place is not None:
            found.append((float(x.index[place]), float(at[place, 0]), float(at[place, 1])))
    return found


def areas(way: Way, space: Space) -> pd.Series:
    """By seed, what the points of a way dominate down to 0 in both objectives, which are better large."""
    x, y = way.by_seed(space.x), way.by_seed(space.y)
    seeds = x.columns.intersection(y.columns)
    found = {s: pareto.hypervolume(np.column_stack([x[s], y[s]]), (0.0, 0.0), space.maximise) for s in seeds}
    return pd.Series(found, dtype=float)


def at_equal_weights(way: Way, other: Way, weights: pd.Series, column: pd.Series) -> tuple[pd.Series, int]:
    """By seed, how far a number of a way's nets lies above that of another way's nets of as many weights, the mean over
    its nets (levels that choose the same number of weights of a seed are one net); and how many nets that is of.
    Between two levels of the other the number is taken on the line between them; beyond its ends nothing is
    compared."""
    mine, theirs = (w.by_seed(weights) for w in (way, other))
    own, their = (w.by_seed(column) for w in (way, other))
    found, count = {}, 0
    for seed in mine.columns.intersection(theirs.columns):
        there = pd.DataFrame({"weights": theirs[seed], "value": their[seed]}).dropna().sort_values("weights")
        if len(there):
            ends = {"left": np.nan, "right": np.nan}
            apart = own[seed] - np.interp(mine[seed], there["weights"], there["value"], **ends)
            apart = apart[~mine[seed].duplicated()]
            found[seed], count = apart.mean(), max(count, int(apart.notna().sum()))
    return pd.Series(found, dtype=float).dropna(), count
