"""Does the search find better fronts than chance, and do earlier sweeps help it? Measured without training.

    python -m benchmarks.pareto             # 60 evaluations, 20 paired seeds, from the table: a minute
    python -m benchmarks.pareto --quick     # 30 evaluations, 5 seeds
    python -m benchmarks.pareto --table benchmarks/data/pareto_digits.csv    # train the table again: 15 minutes

The table holds every point of a grid over the knobs of the compressed family on scikit-learn's digits (fully connected,
2 x 64, seed 0), trained and attacked once. A search asks for points of the grid and reads the table. Its score is the
hypervolume of robust accuracy against the logarithm of stored bytes over the points with clean accuracy of FLOOR or
more, as a share of what the whole grid reaches. Samplers are compared seed by seed: at the end, at a third of the
evaluations, and in the mean over all of them (what is there whenever one stops). Warm searches know an earlier sweep,
which counts neither to their evaluations nor to their score: 60 points drawn at random over the same knobs, or what a
sweep of one compression at a time on nets of standard training has of the grid (31 points).
"""

import csv
import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
from cyclopts import Parameter
from optuna.storages import InMemoryStorage

from analysis import pareto
from analysis.intervals import mean_t
from benchmarks.common import Figure, figure, show
from study.spec.config import Accuracy, Cost, Robustness, Train, Trial
from study.spec.domains import Choice, Domain, Value, asked
from study.spec.expand import axes_of
from study.spec.identity import base_key
from study.spec.knobs import AXES, SETTINGS
from study.spec.studies import Search
from study.sweep.search.asking import NEAR_MISS, asked_first
from study.sweep.search.view import View

TABLE = Path(__file__).parent / "data" / "pareto_digits.csv"
FLOOR = 0.7
COMPRESSED = ({"compression": ("low_rank", "mask", "trade_off", "removal")}, {"bits": (8, 4, 2, 1)})
KNOBS: Mapping[str, Domain] = {
    "penalised": Choice(values=("no", "yes")),
    "alpha": Choice(values=(0.003,), when=({"penalised": ("yes",)},)),
    "frobenius": Choice(values=(0.0, 1.0)),
    "adversarial_ratio": Choice(values=(0.0, 0.5)),
    "compression": Choice(values=("none", "low_rank", "mask", "trade_off", "removal")),
    "rank": Choice(values=(8, 16, 32), when=({"compression": ("low_rank",)},)),
    "keep_prob": Choice(values=(0.5, 0.2, 0.1), when=({"compression": ("mask",)},)),
    "lam": Choice(values=(0.3, 0.6), when=({"compression": ("trade_off",)},)),
    "prune_ratio": Choice(values=(0.25, 0.5, 0.75), when=({"compression": ("removal",)},)),
    "bits": Choice(values=(0, 8, 4, 2, 1)),
    "finetune": Choice(values=("none", "standard", "adversarial"), when=COMPRESSED),
    "finetune_epochs": Choice(values=(3,), when=({"finetune": ("standard", "adversarial")},)),
}
POINT = {
    "model": "fcn", "width": 64, "depth": 2, "epochs": 15, "train_eps": 16 / 255, "train_steps": 5,
    "data": "digits", "data_digest": "", "data_dir": "", "model_digest": "", "sources": {}, "seed": 0,
}  # fmt: skip
MEASURES = (Accuracy(), Robustness(norm="linf", eps=(16 / 255,), backend="native"), Cost())
COLUMNS = (*KNOBS, "robust_accuracy", "clean_accuracy", "stored_bytes")


def grid(left: Mapping[str, Domain] = KNOBS, chosen: Mapping[str, Value] | None = None) -> Iterator[dict[str, Value]]:
    """Every point of the grid as chosen knobs."""
    chosen = dict(chosen or {})
    if not left:
        yield chosen
        return
    name = next(iter(left))
    rest = {k: d for k, d in left.items() if k != name}
    domain = left[name]
    assert isinstance(domain, Choice)
    for value in domain.values if asked(domain, chosen) else (None,):
        yield from grid(rest, chosen if value is None else {**chosen, name: value})


def trial_of(chosen: Mapping[str, Value]) -> Trial:
    """The trial of a grid point, with the three measures that are tabulated."""
    from study.spec.families import FAMILIES

    settings = {name: knob.default for name, knob in SETTINGS.items()}
    return replace(FAMILIES["compressed"](settings | axes_of(chosen) | POINT), measures=MEASURES)


def evaluate(trial: Trial, bases: dict[Any, Any]) -> dict[str, float]:
    """The tabulated numbers of a trial; what its first training ended with is kept in `bases` and used again."""
    from study.trial import stages
    from study.trial.run import run

    key = base_key(trial)
    if key not in bases:
        at = next(i for i, s in enumerate(trial.stages) if isinstance(s, Train))
        *_, outcome = run(replace(trial, stages=trial.stages[: at + 1], measures=()))
        bases[key] = stages.snapshot(outcome.state)
    *_, outcome = run(trial, resume=bases[key])
    rows = {r["measure"]: r["value"] for r in outcome.rows if r.get("split") in (None, "test")}
    return {name: rows.get(name, math.nan) for name in ("robust_accuracy", "clean_accuracy", "stored_bytes")}


def evaluate_all(points: Sequence[Mapping[str, Value]]) -> list[dict[str, float]]:
    """The tabulated numbers of points that share a trained base, in one thread."""
    import torch

    torch.set_num_threads(1)
    bases: dict[Any, Any] = {}
    return [evaluate(trial_of(chosen), bases) for chosen in points]


def make(path: Path, processes: int) -> None:
    """Train and attack every point of the grid once and write the table."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    groups: dict[Any, list[dict[str, Value]]] = {}
    for chosen in grid():
        groups.setdefault(base_key(trial_of(chosen)), []).append(chosen)
    numbers: dict[Key, dict[str, float]] = {}
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for points, found in zip(groups.values(), pool.map(evaluate_all, groups.values()), strict=True):
            numbers |= {key_of(p): n for p, n in zip(points, found, strict=True)}
            print(f"{len(numbers)} of {sum(map(len, groups.values()))} points", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(COLUMNS)
        for chosen in grid():
            robust, clean, size = numbers[key_of(chosen)].values()
            out.writerow([*(chosen.get(name, "") for name in KNOBS), f"{robust:.6g}", f"{clean:.6g}", int(size)])


Key = tuple[tuple[str, Value], ...]


def key_of(chosen: Mapping[str, Value]) -> Key:
    """A point as a key."""
    return tuple(sorted(chosen.items()))


def read(path: Path = TABLE) -> dict[Key, tuple[float, float, float]]:
    """robust_accuracy, log10 stored_bytes and slack (clean accuracy less FLOOR) of every point."""
    out = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            chosen: dict[str, Value] = {}
            for name in KNOBS:
                if row[name]:
                    kind = AXES[name].kind if name in AXES else str
                    chosen[name] = row[name] if kind is str else int(row[name]) if kind is int else float(row[name])
            out[key_of(chosen)] = (
                float(row["robust_accuracy"]),
                math.log10(float(row["stored_bytes"])),
                float(row["clean_accuracy"]) - FLOOR,
            )
    return out


def search(
    table: Mapping[Key, tuple[float, float, float]], sampler: str, seed: int, evaluations: int, warm: Sequence[Key] = ()
) -> list[Key]:
    """The points that a search asks for, in order."""
    wanted = Search(
        family="compressed", knobs=KNOBS, options={"sampler": sampler, "sampler_seed": seed, "evaluations": evaluations}
    )
    view = View(wanted, InMemoryStorage(), name="benchmark", maximise=(True, False), key="")
    for point in warm:
        robust, size, slack = table[point]
        view.add(str(point), dict(point), (robust, size), slack + NEAR_MISS)
    names = {str(point): point for point in warm}
    first = asked_first({n: (table[p][:2], table[p][2]) for n, p in names.items()}, (True, False), evaluations)
    tried: list[Key] = []
    stream = random.Random(seed)
    while len(tried) < evaluations:
        if first:
            ticket, chosen = view.ask(dict(names[first.pop(0)]))
        else:
            found = view.propose(lambda chosen: key_of(chosen) in tried, stream)
            assert found is not None
            ticket, chosen = found
        tried.append(key_of(chosen))
        robust, size, slack = table[tried[-1]]
        view.tell(ticket, (robust, size), slack + NEAR_MISS)
    return tried


def one_at_a_time(chosen: Mapping[str, Value]) -> bool:
    """Whether a point has one compression at most, standard training at a fixed Frobenius norm, whatever its
    fine-tuning."""
    standard = (chosen["penalised"], chosen["frobenius"], chosen["adversarial_ratio"]) == ("no", 1.0, 0.0)
    compressions = (chosen["compression"] != "none") + (chosen["bits"] != 0)
    return standard and compressions <= 1 and chosen["compression"] in ("none", "mask", "removal")


def volume(table: Mapping[Key, tuple[float, float, float]], points: Sequence[Key], at: Sequence[float]) -> float:
    """Hypervolume of the acceptable ones of the points."""
    good = np.array([table[p][:2] for p in points if table[p][2] >= 0]).reshape(-1, 2)
    return pareto.hypervolume(good, at, (True, False))


def difference(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Mean paired difference with its 95 % t interval (in place of the range)."""
    found = mean_t(np.array(ours) - np.array(theirs))
    return Figure(f"{name} (mean, 95 %)", found.value, found.low, found.high, found.n, 0.0, "% of the grid")


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="30 evaluations, 5 seeds.")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
    table: Annotated[Path | None, Parameter(help="Train the grid and write its table here, then stop.")] = None,
    processes: Annotated[int, Parameter(help="Processes that train it.")] = 2,
) -> None:
    """Compare samplers, and warm with cold starts, on the tabulated grid."""
    if table:
        make(table, processes)
        return
    found = read()
    seeds, evaluations = (range(5), 30) if quick else (range(20), 60)
    at = pareto.reference(np.array([v[:2] for v in found.values()]), (True, False))
    whole = volume(found, list(found), at)
    levels = [point for point in found if one_at_a_time(dict(point))]
    runs: dict[tuple[str, str], list[float]] = {}
    moments: dict[str, Sequence[int]] = {
        f"after {evaluations // 3}": [evaluations // 3],
        f"after {evaluations}": [evaluations],
    }
    moments |= {f"mean of 1 to {evaluations}": range(1, evaluations + 1)}
    earlier: dict[str, Callable[[int], Sequence[Key]]] = {
        "warm by an earlier search": lambda seed: search(found, "tpe", 10_000 + seed, evaluations),
        "warm by 60 random points": lambda seed: random.Random(10_000 + seed).sample(list(found), 60),
        "warm by one compression at a time": lambda seed: levels,
    }
    for name, sampler, known in (
        *((s, s, lambda seed: ()) for s in ("random", "tpe", "nsga2", "qmc")),
        *((f"tpe, {name}", "tpe", points) for name, points in earlier.items()),
    ):
        tried = [search(found, sampler, seed, evaluations, known(seed)) for seed in seeds]
        for moment, counts in moments.items():
            volumes = [[volume(found, points[:n], at) for n in counts] for points in tried]
            runs[name, moment] = [100 * statistics.mean(v) / whole for v in volumes]
    show(
        [
            figure("points of the grid", [len(found)], "points"),
            *(figure(f"{name}, {moment}", values, "% of the grid") for (name, moment), values in runs.items()),
            *(
                difference(f"{ours} over {theirs}, {moment}", runs[ours, moment], runs[theirs, moment])
                for ours, theirs in (
                    *((s, "random") for s in ("tpe", "nsga2", "qmc")),
                    *((f"tpe, {name}", "tpe") for name in earlier),
                )
                for moment in moments
            ),
        ],
        json_,
    )


if __name__ == "__main__":
    cyclopts.run(main)
