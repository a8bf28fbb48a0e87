"""What MLflow shows of a folder of results: pure functions from the tables to names, notes, tags, params, metrics."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.spec.knobs import KNOBS, SETTINGS
from study.spec.names import metric_name, point_name, table_of_meanings
from study.spec.recipes import PREFIXES, RECIPES, parts
from study.spec.values import shown
from study.store import layout, results
from study.store.arms import Arms
from study.store.manifest import Manifest

PARAMS = ("width", "depth", "epochs", "batch_size", "learning_rate", "train_size", "test_size")
STATUS = {"ok": "FINISHED", "diverged": "FINISHED", "failed": "FAILED"}
LONGEST_TAG = 5000  # what every server since MLflow 2 takes
FIRST = ("robust_accuracy", "clean_accuracy")
NET_LEVEL = (None, "mean", "product")


@dataclass(frozen=True)
class TrialView:
    """A trial as a run of MLflow; times in milliseconds, metrics as (name, value, time, step)."""

    name: str
    status: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[tuple[str, float, int, int]]


def moving(manifest: Manifest) -> list[str]:
    """The axes that the sweep's arms, or the search's knobs, move."""
    knobs = manifest.search.get("knobs", {})
    return list(dict.fromkeys([*(a for arm in manifest.arms for a in arm.axes), *(k for k in knobs if k in KNOBS)]))


def settings(manifest: Manifest) -> dict[str, Any]:
    """The settings worth a parameter: the usual ones of a net, or those that a study without data names, and any other
    that is not at its default. Those that the study moves, or that a recipe which it moves sets, are no setting of the
    whole."""
    usual = PARAMS if manifest.data else manifest.parameters
    moved = moving(manifest)
    of_recipes = {part for name in moved if name in PREFIXES for recipe in RECIPES for part in parts({name: recipe})}
    wanted = [k for k in dict.fromkeys([*usual, *changed(manifest)]) if k in manifest.settings]
    return {k: manifest.settings[k] for k in wanted if k not in {*moved, *of_recipes}}


def changed(manifest: Manifest) -> list[str]:
    """The settings that are not at their default."""
    return [k for k, v in manifest.settings.items() if k in SETTINGS and told(v) != told(SETTINGS[k].default)]


def told(value: Any) -> str:
    """A setting as a parameter: numbers to six digits, several values with commas."""
    return ", ".join(map(shown, value)) if isinstance(value, list | tuple) else shown(value)


def shared_tags(folder: Path, manifest: Manifest) -> dict[str, str]:
    """The tags that a sweep's run and its trials have in common: what to search and group by. `study.sweep` reads like
    the folder; `study.id` stays where that is moved."""
    tags = {
        "study.name": manifest.name,
        "study.sweep": folder.name,
        "study.id": sweep_id(manifest),
        "study.preset": manifest.preset,
        "study.data": manifest.data,
        "study.model": manifest.model,
        "study.commit": manifest.commit,
        "mlflow.source.name": "study.launch",
        "mlflow.source.type": "LOCAL",
    }
    tags |= {f"study.setting.{key}": told(value) for key, value in settings(manifest).items()}
    return tags | ({"mlflow.source.git.commit": commit.removesuffix("-dirty")} if (commit := manifest.commit) else {})


def sweep_id(manifest: Manifest) -> str:
    """What ties the runs of a folder together, for good; ValueError where study.json does not say it."""
    if not manifest.sweep:
        raise ValueError("study.json has no name of its sweep")
    return manifest.sweep


def experiment_note(manifest: Manifest) -> str:
    """What the experiment is about and how to read it; Markdown."""
    return (
        f"{manifest.question}{f' ({manifest.figure})' if manifest.figure else ''}\n\n"
        "One run per sweep; its trials, one net each, stand one level below it. Parameters are the axes and settings; "
        "a metric's coordinates follow a slash (norm, budget, share kept, split when it is not `test`). "
        "Each trial's note lists its metrics with unit and range. `system/...` are of the worker that ran the trial."
    )


def sweep_note(manifest: Manifest, good: str = "") -> str:
    """What a sweep varies, `good`: how good it is, and what its metrics mean; Markdown."""
    arms = "\n".join(
        f"- **{arm.name}** ({arm.family}): "
        + "; ".join(f"{axis} {', '.join(map(shown, values))}" for axis, values in arm.axes.items())
        for arm in manifest.arms
    )
    if manifest.search:
        arms = _search_note(manifest.search)
    axes = "\n".join(f"- `{axis}`: {KNOBS[axis].help}" for axis in moving(manifest) if axis in KNOBS)
    seeds = f"Seeds {', '.join(map(str, manifest.seeds))}."
    last = "Verdicts and figures: Artifacts, `report.html` and `figures`."
    return "\n\n".join(p for p in (good, experiment_note(manifest), arms, seeds, axes, last) if p)[:LONGEST_TAG]


def _search_note(search: Mapping[str, Any]) -> str:
    """What a search seeks, how, and over which knobs; Markdown."""
    better = {True: "more is better", False: "less is better"}
    aims = " against ".join(f"{o['name']} ({better[o['maximise']]})" for o in search["objectives"])
    floor = f", clean accuracy from {search['floor']:g}" if search["floor"] else ""
    values = {k: d.get("values") or (f"{d['low']:g} to {d['high']:g}",) for k, d in search["knobs"].items()}
    knobs = "; ".join(f"{name} {', '.join(map(shown, found))}" for name, found in values.items())
    return (
        f"**search** ({search['family']}): {aims}{floor}; {search['evaluations']} evaluations by {search['sampler']} "
        f"(seed {search['sampler_seed']}){_chosen(search)}. Knobs: {knobs}. The front's nets are logged as models."
    )


def _chosen(search: Mapping[str, Any]) -> str:
    """How a search chose; in folders from before it had a seed of its own, by what it reports."""
    if "search_seed" not in search:
        return " at the first seed, then the front's points at every seed"
    attacks = ", ".join(search["final_attacks"])
    return (
        f" at seed {search['search_seed']} on validation images, then finalists trained anew at every seed of the "
        f"front and attacked on test images by {attacks}: the lowest robust accuracy counts"
    )


def trial_note(identity: Mapping[str, Any], manifest: Manifest, measures: Iterable[str], cause: str = "") -> str:
    """What was done in a trial, and meaning, unit and range of each of its metrics; Markdown."""
    point = ", ".join(f"{axis} {shown(identity[axis])}" for axis in moving(manifest))
    head = f"One trial of {identity['study']} (family {identity['family']}): {point}, seed {identity['seed']}."
    if cause:
        head += f"\n\nIt failed: {cause}"
    return f"{head}\n\n{table_of_meanings(measures)}"[:LONGEST_TAG]


def failure(folder: Path, trial: str) -> dict[str, Any] | None:
    """A trial's failure note, where it has one and no result."""
    if layout.trial_path(folder, trial).exists():
        return None
    return results.failures(folder, trial).get(trial)


def trial_view(folder: Path, manifest: Manifest, trial: str, parent: str, arms: Arms) -> TrialView | None:
    """A trial's run from its table, or from its failure note; None where the folder has neither. `arms` are the
    study's."""
    note = failure(folder, trial)
    if note is not None:
        written = int((folder / layout.note_name(trial)).stat().st_mtime * 1000)
        identity = note["identity"] | {"status": "failed"}
        return _view(folder, manifest, identity, [], written, written, parent, arms, note)
    path = layout.trial_path(folder, trial)
    if not path.exists():
        return None
    found = results.read_trial(path)
    end = int(found.provenance.get("finished", time.time()) * 1000)
    start = int(end - found.provenance.get("wall_seconds", 0.0) * 1000)
    return _view(folder, manifest, found.rows[0], found.rows, start, end, parent, arms, {})


def _view(
    folder: Path,
    manifest: Manifest,
    identity: Mapping[str, Any],
    rows: list[dict[str, Any]],
    start: int,
    end: int,
    parent: str,
    arms: Arms,
    note: Mapping[str, Any],
) -> TrialView:
    identity = arms.base | dict(identity)  # a trial from before a resumed sweep moved an axis does not name it
    rows = sorted((r for r in rows if r["layer"] in NET_LEVEL), key=_rank)
    cause = str(note.get("cause", ""))
    tags = shared_tags(folder, manifest) | {
        "mlflow.parentRunId": parent,
        "mlflow.note.content": trial_note(identity, manifest, (r["measure"] for r in rows), cause),
        "study.level": "trial",
        "study.family": identity["family"],
        "study.fingerprint": identity["trial"],
        "study.seed": str(identity["seed"]),
        "study.status": identity["status"],
        "study.attempts": str(note.get("attempts", 1)),
    }
    own = {"study.arm": arms.text(identity), "study.cause": cause[:LONGEST_TAG]}
    params = {axis: str(identity[axis]) for axis in moving(manifest)} | {"seed": str(identity["seed"])}
    params |= {key: told(value) for key, value in settings(manifest).items()}
    return TrialView(
        name=point_name(identity, identity["seed"]),
        status=STATUS[identity["status"]],
        start=start,
        end=end,
        tags=tags | {key: text for key, text in own.items() if text},
        params=params,
        metrics=[(metric_name(r), r["value"], _stamp(r, start), int(r["step"] or 0)) for r in rows],
    )


def _rank(r: Mapping[str, Any]) -> tuple[bool, bool]:
    """What people look for first: robust and clean accuracy, then what a net has one number of, then the curves."""
    return r["step"] is not None, r["measure"] not in FIRST


def _stamp(r: Mapping[str, Any], start: int) -> int:
    """A row's time stamp in milliseconds: a system metric's own second, else the trial's start."""
    return start + int(r["step"] * 1000) if r["measure"].startswith("system/") else start
