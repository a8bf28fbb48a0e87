"""What a search tried and what came of those it chose, as tables: evaluations, finalists, the front among them.

The search tries points at its own seed on validation images; finalists are trained anew at the front's seeds and judged
on test images by the lowest number of several attacks. Folders from before that (study.json names no search_seed)
selected by what they report; their tables are what they were: one attack, the first seed among those averaged.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import pareto
from analysis.intervals import mean_t
from analysis.tables import attack_of, per_trial
from study.spec.objectives import SELECTING
from study.store import layout
from study.store.manifest import Manifest, PointRecord

ROBUST, CLEAN = "robust_accuracy", "clean_accuracy"


def objectives(study: Manifest) -> list[dict[str, Any]]:
    """The objectives of a search as study.json has them; one that names no attack (0.1.0) means the folder's own."""
    own = attack_of(study, "configured")
    return [{"attack": own if o["norm"] else None} | o for o in study.search["objectives"]]


def directions(study: Manifest) -> list[bool]:
    """Which of them are to be made large."""
    return [bool(o["maximise"]) for o in objectives(study)]


def names(study: Manifest) -> list[str]:
    """The columns of numbers: the objectives, and clean accuracy."""
    return list(dict.fromkeys([*(o["name"] for o in objectives(study)), CLEAN]))


def own_seed(study: Manifest) -> int:
    """The seed that the search trained at; in old folders the first of the front's."""
    return study.search.get("search_seed", study.seeds[0])


def is_apart(study: Manifest) -> bool:
    """Whether what selected is apart from what is reported: other seeds, other images."""
    return "search_seed" in study.search


def attacks(study: Manifest) -> list[str]:
    """The attacks on finalists as rows name them, the study's own first."""
    return list(study.search.get("final_attacks") or [attack_of(study, "configured")])


def _table(frame: pd.DataFrame, study: Manifest, split: str) -> pd.DataFrame:
    """One row per finished trial, in the order asked: seed, axes, and the numbers on the images of a split."""
    axes = list(study.axes_off)
    table = frame.loc[frame["status"] == "ok", ["trial", "seed", *axes]].drop_duplicates("trial").set_index("trial")
    table = table.reindex([p.trial for p in study.points if p.trial in table.index])
    table[CLEAN] = per_trial(frame, CLEAN, split=split)
    for o in objectives(study):
        where = {key: o[key] for key in ("attack", "norm", "eps")} | {"split": o["split"] and split}
        table[o["name"]] = per_trial(frame, o["measure"], **where)
    return table


def evaluations(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """What the search was told: one row per finished trial at its own seed, in the order asked, `acceptable` by the
    floor.

    The frame must hold the rows that are not deterministic where such an objective was asked for.
    """
    table = _table(frame, study, SELECTING if is_apart(study) else "test")
    table = table[table["seed"] == own_seed(study)]
    return table.assign(acceptable=table[CLEAN] >= study.search["floor"])


def by_attack(name: str) -> str:
    """The column of a finalist's robust accuracy under one attack."""
    return f"{ROBUST}/{name.replace('/', '-').replace('@', '-r')}"


def finals(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """One row per finished trial of a finalist, on test images: seed, axes, and the numbers; robust accuracy is the
    lowest of its attacks' (NaN where one of them is missing), each of which has a column by_attack of its own."""
    table = _table(frame, study, "test").rename(columns={ROBUST: by_attack(attacks(study)[0])})
    table = table.loc[[p.trial for found in asked(study).values() for p in found if p.trial in table.index]]
    for o in objectives(study):
        if o["name"] == ROBUST:
            for name in attacks(study)[1:]:
                where = {"attack": name, "norm": o["norm"], "eps": o["eps"], "split": "test"}
                table[by_attack(name)] = per_trial(frame, ROBUST, **where)
            table[ROBUST] = table[[by_attack(name) for name in attacks(study)]].min(axis=1, skipna=False)
    return table


def asked(study: Manifest) -> dict[tuple[Any, ...], list[PointRecord]]:
    """The trials asked for of every finalist, by its axes, those of the first seed first."""
    own, order = own_seed(study), {seed: i for i, seed in enumerate(study.seeds)}
    groups: dict[tuple[Any, ...], list[PointRecord]] = {}
    for p in study.points:
        if p.seed != own or not is_apart(study):
            groups.setdefault(_key(study, p), []).append(p)
    most = 1 if is_apart(study) else max(map(len, groups.values()), default=0)
    return {
        axes: sorted(found, key=lambda p: order.get(p.seed, len(order)))
        for axes, found in groups.items()
        if len(found) >= most
    }


def _key(study: Manifest, p: PointRecord) -> tuple[Any, ...]:
    return tuple({**study.axes_off, **p.axes}.values())


def points(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """One row per finalist (index: its first trial that finished): axes; means over the seeds that it has with 95 %
    intervals; n of them, and `missing` with what became of the others; `floor`; `acceptable`; `front`.

    A finalist that lacks a seed stays, marked, and competes by the mean over those it has. `acceptable` goes by the
    mean clean accuracy; `floor` is kept where the lower end of its interval is not below, else not shown (or missed).
    """
    table, numbers = finals(frame, study), names(study)
    status = frame.drop_duplicates("trial").set_index("trial")["status"]
    tried = evaluations(frame, study).set_index(list(study.axes_off)) if is_apart(study) else None
    rows = {}
    for axes, found in asked(study).items():
        there = [p.trial for p in found if p.trial in table.index and table.loc[p.trial, numbers].notna().all()]
        row: dict[str, Any] = dict(zip(study.axes_off, axes, strict=True))
        row |= {"trials": " ".join(there), "n": len(there)}
        row["missing"] = ", ".join(_fate(p, status) for p in found if p.trial not in there)
        for name in numbers:
            interval = mean_t(table.loc[there, name].to_numpy())
            row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
            if name == ROBUST and len(attacks(study)) > 1:
                row |= {by_attack(a): table.loc[there, by_attack(a)].mean() for a in attacks(study)}
            if name in (ROBUST, CLEAN) and tried is not None:
                row[f"{name}/{SELECTING}"] = float(tried[name].get(axes, np.nan))
        row["floor"] = _floor(row, study)
        rows[there[0] if there else found[0].trial] = row
    out = pd.DataFrame.from_dict(rows, orient="index")
    if out.empty:
        return out
    out["acceptable"] = out[CLEAN] >= study.search["floor"]
    out["front"] = out["acceptable"] & pareto.front(
        out[[o["name"] for o in objectives(study)]].where(out["acceptable"]).to_numpy(), directions(study)
    )
    return out


def _fate(p: PointRecord, status: Mapping[str, str]) -> str:
    """What became of a trial without its numbers."""
    found = status.get(p.trial, "not run yet")
    return f"seed {p.seed} {'without a number' if found == 'ok' else found}"


def _floor(row: Mapping[str, Any], study: Manifest) -> str:
    """Whether a model keeps the floor; empty where there is none."""
    if not (floor := study.search["floor"]):
        return ""
    if row[f"{CLEAN}_low"] >= floor:
        return "kept"
    return "not shown" if row[CLEAN] >= floor else "missed"


def kind(axes: Mapping[str, Any]) -> str:
    """What compressed a point, bits aside."""
    kinds = {
        "low rank": axes["rank"] > 0,
        "trade-off": axes["lam"] > 0,
        "mask": axes["keep_prob"] < 1 or bool(axes.get("layer_keep_prob")),
        "removal": axes["prune_ratio"] > 0,
    }
    return next((name for name, on in kinds.items() if on), "dense")


def knobs_moved(table: pd.DataFrame, study: Manifest) -> list[str]:
    """The axes that differ from their defaults in at least one row."""
    off = study.axes_off
    return [axis for axis in off if axis in table and (table[axis] != off[axis]).any()]


def columns(study: Manifest) -> list[str]:
    """The numbers of a finalist as front.csv has them: each with its interval, robust accuracy by each attack and, of
    what selected, on the images that did."""
    out: list[str] = []
    for name in names(study):
        out += [name, f"{name}_low", f"{name}_high"]
        out += [by_attack(a) for a in attacks(study)] if name == ROBUST and len(attacks(study)) > 1 else []
        out += [f"{name}/{SELECTING}"] if name in (ROBUST, CLEAN) and is_apart(study) else []
    return out


def models(folder: Path, frame: pd.DataFrame, study: Manifest, address: str = "", data_dir: str = "") -> pd.DataFrame:
    """The front of a search as front.csv has it, best of the first objective first.

    Columns: trial (at the first seed), the moved axes, each objective and clean_accuracy with _low and _high (95 % over
    n seeds; empty below five), robust accuracy by each attack and on the images that selected after a slash, floor, n,
    what is missing, trials (one per seed), weights, and the command that measures the model again. That names the
    results by `address` (default: the folder) and the data by `data_dir`, if it is given. A front without a model has
    the same columns, but those of moved axes.
    """
    last = ["floor", "n", "missing", "trials"]
    table = points(frame, study)
    if not len(table) or not table["front"].any():
        return pd.DataFrame(columns=["trial", *columns(study), *last, "weights", "command"])
    first = objectives(study)[0]
    chosen = table[table["front"]].sort_values(first["name"], ascending=not first["maximise"], kind="stable")
    chosen = chosen[[*knobs_moved(chosen, study), *columns(study), *last]]
    chosen.insert(0, "trial", chosen.index)
    kept = [layout.weights_name(name) for name in chosen["trial"]]
    chosen["weights"] = [name if (folder / name).exists() else "" for name in kept]
    words = ["python", "-m", "study.launch", "evaluate", address or str(folder)]
    data = ["--data-dir", data_dir] if data_dir else []
    chosen["command"] = [shlex.join([*words, name, *data]) for name in chosen["trial"]]
    return chosen


def why_none(frame: pd.DataFrame, study: Manifest) -> str:
    """Why a search has no model on its front: the floor and the best that was reached, or what came of the trials;
    nothing where it has one."""
    table, floor = points(frame, study), study.search["floor"]
    if len(table) and table["front"].any():
        return ""
    tried = evaluations(frame, study)
    finals = f"of {len(table)} finalists {int((table['n'] > 0).sum()) if len(table) else 0} have their numbers"
    if len(table) and table[CLEAN].notna().any():
        best = table[CLEAN].astype(float).idxmax()
        reached = f"{table.loc[best, CLEAN]:.3f}, trial {best}"
    elif tried[CLEAN].notna().any():
        best = tried[CLEAN].astype(float).idxmax()
        reached = f"{tried.loc[best, CLEAN]:.3f} on {SELECTING} images, trial {best}"
    else:
        return f"No model: no trial of this search has finished with its numbers ({_ends(frame)}); {finals}"
    if len(table) and table["acceptable"].any():
        return f"No model: no finalist above the floor has all its objectives; {finals}"
    if not len(table):
        return f"No model: no finalist is finished yet; the best mean clean accuracy so far is {reached}"
    return f"No model meets the floor: clean accuracy from {floor:g} was asked, the best that was reached is {reached}"


def _ends(frame: pd.DataFrame) -> str:
    """How the trials of a table ended: `12 diverged, 1 failed`."""
    counts = frame.drop_duplicates("trial")["status"].value_counts()
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "none has run"
