"""Fronts, hypervolume and attainment (the moocore room), and the front of a search as a table.

moocore takes a NaN for a value better than any, drops all but the first of equal points, and lets a point beyond the
reference add nothing without a word: every function here says what it does about these.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pandas as pd

from analysis.intervals import mean_t
from analysis.tables import attack_of, per_trial
from study.store import layout
from study.store.manifest import Manifest


def front(points: np.ndarray, maximise: Sequence[bool]) -> np.ndarray:
    """Which of the points (N, d) no other dominates, as a mask (N,). Equal points stand or fall together; a point with
    a NaN is never on the front and dominates nothing."""
    points = np.asarray(points, dtype=float)
    finite = ~np.isnan(points).any(axis=1)
    out = np.zeros(len(points), dtype=bool)
    if finite.any():
        out[finite] = moocore.is_nondominated(points[finite], maximise=list(maximise), keep_weakly=True)
    return out


def hypervolume(points: np.ndarray, reference: Sequence[float], maximise: Sequence[bool]) -> float:
    """Volume that the points (N, d) dominate down to the reference (d,), exact. Points with a NaN are left out; one
    that is not better than the reference in every objective adds nothing."""
    points = np.asarray(points, dtype=float)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points):
        return 0.0
    return float(moocore.hypervolume(points, ref=np.asarray(reference, dtype=float), maximise=list(maximise)))


def reference(points: np.ndarray, maximise: Sequence[bool], margin: float = 0.05) -> list[float]:
    """A reference behind every point: its worst value in each objective, and `margin` of the range beyond."""
    points = np.asarray(points, dtype=float)
    points = points[~np.isnan(points).any(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    reach = margin * np.where(high > low, high - low, 1.0)
    return [float(lo - r if up else hi + r) for lo, hi, r, up in zip(low, high, reach, maximise, strict=True)]


def history(points: np.ndarray, at: Sequence[float], maximise: Sequence[bool]) -> np.ndarray:
    """Hypervolume of the first 1, 2, ..., N points against the reference `at`, (N,)."""
    return np.array([hypervolume(points[: i + 1], at, maximise) for i in range(len(points))])


def attainment(sets: Sequence[np.ndarray], maximise: Sequence[bool], share: float) -> np.ndarray:
    """The surface that at least `share` of the sets, each (N_i, 2), attain: its corners (M, 2), by the first objective.

    The empirical attainment function (Grunert da Fonseca et al. 2001); share in (0, 1], rounded up to whole sets.
    """
    signs = np.where(maximise, -1.0, 1.0)
    clean = [np.asarray(s, dtype=float)[~np.isnan(s).any(axis=1)] * signs for s in sets]
    labels = np.concatenate([np.full(len(s), i) for i, s in enumerate(clean)])
    level = int(np.ceil(share * len(clean) - 1e-9))
    found = moocore.eaf(np.concatenate(clean), labels, percentiles=[100 * level / len(clean)])
    corners = found[:, :2] * signs
    return corners[np.argsort(corners[:, 0])]


def objectives(study: Manifest) -> list[dict[str, Any]]:
    """The objectives of a search as study.json has them; one that names no attack (0.1.0) means the folder's own."""
    own = attack_of(study, "configured")
    return [{"attack": own if o["norm"] else None} | o for o in study.search["objectives"]]


def directions(study: Manifest) -> list[bool]:
    """Which of them are to be made large."""
    return [bool(o["maximise"]) for o in objectives(study)]


def evaluations(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """One row per finished trial, in the order asked: seed, axes, clean_accuracy, the objectives, `acceptable`.

    The frame must hold the rows that are not deterministic where such an objective was asked for.
    """
    axes = list(study.axes_off)
    table = frame.loc[frame["status"] == "ok", ["trial", "seed", *axes]].drop_duplicates("trial").set_index("trial")
    table = table.reindex([p.trial for p in study.points if p.trial in table.index])
    table["clean_accuracy"] = per_trial(frame, "clean_accuracy", split="test")
    for o in objectives(study):
        where = {key: o[key] for key in ("attack", "norm", "eps", "split")}
        table[o["name"]] = per_trial(frame, o["measure"], **where)
    table["acceptable"] = table["clean_accuracy"] >= study.search["floor"]
    return table


def points(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """One row per point (index: its trial at the first seed): axes, means over seeds with 95 % t intervals and n,
    `acceptable` by the mean clean accuracy, and `front`: not dominated among the acceptable points of the most seeds.
    """
    table = evaluations(frame, study)
    axes = list(study.axes_off)
    rows = {}
    for _, group in table.groupby(axes, sort=False):
        first = group.sort_values("seed", key=lambda s: s.map(list(study.seeds).index)).iloc[0]
        row: dict[str, Any] = {axis: first[axis] for axis in axes} | {"trials": " ".join(group.index), "n": len(group)}
        for name in dict.fromkeys([*(o["name"] for o in objectives(study)), "clean_accuracy"]):
            interval = mean_t(group[name].to_numpy())
            row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows[first.name] = row
    out = pd.DataFrame.from_dict(rows, orient="index")
    if out.empty:
        return out
    out["acceptable"] = out["clean_accuracy"] >= study.search["floor"]
    out["front"] = False
    chosen = out["acceptable"] & (out["n"] == out["n"].max())
    values = out.loc[chosen, [o["name"] for o in objectives(study)]].to_numpy()
    out.loc[chosen, "front"] = front(values, directions(study))
    return out


def kind(axes: Mapping[str, Any]) -> str:
    """What compressed a point, bits aside."""
    kinds = {
        "low rank": axes["rank"] > 0,
        "trade-off": axes["lam"] > 0,
        "mask": axes["keep_prob"] < 1,
        "removal": axes["prune_ratio"] > 0,
    }
    return next((name for name, on in kinds.items() if on), "dense")


def knobs_moved(table: pd.DataFrame, study: Manifest) -> list[str]:
    """The axes that differ from their defaults in at least one row."""
    off = study.axes_off
    return [axis for axis in off if axis in table and (table[axis] != off[axis]).any()]


def models(folder: Path, frame: pd.DataFrame, study: Manifest, address: str = "", data_dir: str = "") -> pd.DataFrame:
    """The front of a search as front.csv has it, best of the first objective first.

    Columns: trial (at the first seed), the moved axes, each objective and clean_accuracy with _low and _high (95 % over
    n seeds; empty below five), n, trials (one per seed), weights, and the command that measures the model again. That
    names the results by `address` (default: the folder) and the data by `data_dir`, if it is given.
    """
    table = points(frame, study)
    chosen = table[table["front"]] if len(table) else table
    if len(chosen):
        first = objectives(study)[0]
        chosen = chosen.sort_values(first["name"], ascending=not first["maximise"])
        moved = knobs_moved(chosen, study)
        numbers = [c for c in chosen.columns if c not in study.axes_off and c not in ("front", "acceptable")]
        chosen = chosen[[*moved, *[c for c in numbers if c not in ("n", "trials")], "n", "trials"]]
        chosen.insert(0, "trial", chosen.index)
        kept = [layout.weights_name(name) for name in chosen["trial"]]
        chosen["weights"] = [name if (folder / name).exists() else "" for name in kept]
        words = ["python", "-m", "study.launch", "evaluate", address or str(folder)]
        data = ["--data-dir", data_dir] if data_dir else []
        chosen["command"] = [shlex.join([*words, name, *data]) for name in chosen["trial"]]
    return chosen
