"""A folder's few numbers and words for whoever compares sweeps: summary.json, which MLflow shows of a sweep."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import finalists, pareto
from analysis.arms import baseline, held, moved, slices
from analysis.claims.judge import Judgement
from analysis.figures.pareto import LOGARITHMIC, log_costs
from analysis.tables import attack_of, per_trial
from study.spec.names import eps_text
from study.spec.values import shown
from study.store.manifest import Manifest

PLANTED = ("plant_rows", "plant_spectrum")  # concentrated by hand: a control, and no net to choose
CLEAN = "clean_accuracy"


def of(frame: pd.DataFrame, study: Manifest, judgements: Sequence[Judgement]) -> bytes:
    """summary.json: `metrics` (name to number) and `words` (name to text) of a folder; what is not finite is left out.

    A grid has `baseline/...` and `best/...`: means over seeds of clean accuracy, and of robust accuracy at the judged
    budgets, of the net with everything off and of the point of the largest robust accuracy in the first of the norms.
    A search has the front's size, its best of each objective, and the front's hypervolume (`volume`). Both have each
    claim's statistic and p after Holm's correction.
    """
    metrics, words = _search(frame, study) if study.search else _grid(frame, study)
    for j in judgements:
        name = f"{j.claim.id}{_at(j.at)}"
        metrics |= {f"verdict/{name}": j.statistic.value, f"p_holm/{name}": j.p_holm}
        words[f"verdict.{name}"] = j.verdict
    found = {name: float(f"{value:.6g}") for name, value in metrics.items() if math.isfinite(value)}
    return json.dumps({"metrics": found, "words": words}, indent=1).encode()


def _at(label: str) -> str:
    return f"/{label.replace(',', '')}" if label else ""


def _numbers(frame: pd.DataFrame, study: Manifest) -> pd.DataFrame:
    """A column per headline number of a grid's finished trials, robust accuracy at the judged budgets."""
    found = {CLEAN: per_trial(frame, CLEAN, split="test")}
    for norm in ("linf", "l2"):
        if eps := study.settings.get(f"judged_{norm}"):
            where = {"attack": attack_of(study, "configured"), "norm": norm, "eps": eps, "split": "test"}
            found[f"robust_accuracy/{norm}_{eps_text(eps, norm)}"] = per_trial(frame, "robust_accuracy", **where)
    return pd.DataFrame(found).dropna(axis="columns", how="all").dropna()


def _grid(frame: pd.DataFrame, study: Manifest) -> tuple[dict[str, float], dict[str, str]]:
    metrics: dict[str, float] = {}
    words: dict[str, str] = {}
    numbers = _numbers(frame, study)
    if CLEAN not in numbers or len(numbers) == 0:
        return metrics, words
    axes = [a for a in dict.fromkeys([*study.axes_off, *moved(study), *held(study)]) if a in frame]
    table = numbers.join(frame.drop_duplicates("trial").set_index("trial")[axes])
    for at, part in slices(study):
        fixed = {a: arm.axes[a][0] for arm in part.arms for a in held(study) if a in arm.axes}
        here = table[_equal(table, fixed)]
        off = here[_equal(here, {a: baseline(study, a) for a in moved(study)})]
        means = here[_equal(here, {a: 0.0 for a in PLANTED if a in axes})].groupby(axes)[list(numbers)].mean()
        if len(off):
            metrics |= {f"baseline/{name}{_at(at)}": value for name, value in off[list(numbers)].mean().items()}
        if len(means) and len(numbers.columns) > 1:
            best = means.sort_values(numbers.columns[1], kind="stable").iloc[-1]
            metrics |= {f"best/{name}{_at(at)}": value for name, value in best.items()}
            point = dict(zip(axes, best.name, strict=True))
            told = [f"{a} {shown(point[a])}" for a in moved(study) if point[a] != baseline(study, a)]
            words[f"best{_at(at)}"] = ", ".join(told) or "the baseline"
    return metrics, words


def _equal(table: pd.DataFrame, wanted: dict[str, Any]) -> pd.Series:
    """The rows at these values of axes."""
    return (table[list(wanted)] == list(wanted.values())).all(axis=1)


def _search(frame: pd.DataFrame, study: Manifest) -> tuple[dict[str, float], dict[str, str]]:
    points = finalists.points(frame, study)
    on = points[points["front"]] if len(points) else points
    metrics = {"front_models": float(len(on))}
    if len(on) == 0:
        return metrics, {}
    names, ways = [o["name"] for o in finalists.objectives(study)], finalists.directions(study)
    for name, up in zip(names, ways, strict=True):
        metrics[f"best/{name}"] = on[name].max() if up else on[name].min()
    tried = finalists.evaluations(frame, study)[names].dropna()
    volume, reference = _volume(on[names], tried, names, ways)
    metrics |= {"hypervolume": volume} | {f"hypervolume_reference/{n}": r for n, r in reference.items()}
    return metrics, {"front": " ".join(" ".join(on["trials"]).split())}


def _volume(
    on: pd.DataFrame, tried: pd.DataFrame, names: Sequence[str], ways: Iterable[bool]
) -> tuple[float, dict[str, float]]:
    """The hypervolume of a front, costs that span decades in powers of ten, down to a reference that does not move with
    the front: 0 of what is to be large, the costliest point tried of what is to be small. Two searches compare where
    their references are equal."""
    both = pd.concat([on, tried])
    reference = {n: 0.0 if up else float(both[n].max()) for n, up in zip(names, ways, strict=True)}
    at = [math.log10(r) if n in LOGARITHMIC else r for n, r in reference.items()]
    return pareto.hypervolume(np.asarray(log_costs(on, list(names))), at, list(ways)), reference
