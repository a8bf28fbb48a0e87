"""What MLflow shows of whole sweeps, so that two of them compare: pure functions from study.json and summary.json."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from study.spec.knobs import KNOBS, SEARCH, named
from study.spec.names import eps_text
from study.spec.values import shown
from study.store import layout, shapes
from study.store.manifest import Manifest
from study.tracking import content
from study.tracking.stores import VIEW

LONGEST_PARAM = 6000
VIEW_TAG, PRIMARY_TAG = f"mlflow.sharedViewState.{VIEW}", "mlflow.experiment.primaryMetric.name"
# Columns of the view, in this order.
FIRST = ("best/robust_accuracy", "baseline/robust_accuracy", "hypervolume", "best/", "baseline/", "verdict/")
MOST_COLUMNS = 14
OBJECTIVES = "objectives"

log = logging.getLogger(__name__)


def params(manifest: Manifest) -> dict[str, str]:
    """What tells two sweeps of a study apart: data, model, preset, seeds, each axis with its levels (a search: each
    knob with its range, and what it seeks), and every setting that is a usual one or not at its default."""
    found = {"preset": manifest.preset, "data": manifest.data, "model": manifest.model}
    found |= {axis: ", ".join(levels) for axis, levels in _levels(manifest).items()}
    found |= {"seeds": ", ".join(map(str, manifest.seeds))}
    found |= {
        name: content.told(manifest.search[name]) for name in SEARCH if name in manifest.search and name != OBJECTIVES
    }
    if manifest.search:
        found[OBJECTIVES] = ", ".join(o["name"] for o in manifest.search[OBJECTIVES])
    found |= {name: content.told(value) for name, value in content.settings(manifest).items()}
    return {name: value[:LONGEST_PARAM] for name, value in found.items() if value}


def _levels(manifest: Manifest) -> dict[str, list[str]]:
    """Every level of each axis, or a knob's range."""
    out: dict[str, list[str]] = {}
    for arm in manifest.arms:
        for axis, values in arm.axes.items():
            out.setdefault(axis, []).extend(v for v in (named(axis, x) for x in values) if v not in out.get(axis, []))
    for name, domain in manifest.search.get("knobs", {}).items():
        if name in KNOBS:
            given = [named(name, v) for v in domain.get("values", ())]
            out[name] = given or [f"{shown(domain['low'])} to {shown(domain['high'])}"]
    return out


def summary(folder: Path | None) -> tuple[dict[str, float], dict[str, str]]:
    """The metrics and words of a folder's summary.json; nothing where there is none."""
    path = (folder or Path()) / layout.SUMMARY
    if folder is None or not path.is_file():
        return {}, {}
    try:
        found = shapes.parsed(path.read_text())
        metrics = {str(name): float(value) for name, value in found["metrics"].items()}
        return metrics, {str(name): str(word) for name, word in found["words"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is damaged and not used: %s; `report` writes it again", path, error)
        return {}, {}


def primary(manifest: Manifest) -> str:
    """The metric that MLflow's charts begin with; none in a study without data."""
    eps = manifest.settings.get("judged_linf")
    return f"robust_accuracy/linf_{eps_text(eps, 'linf')}" if manifest.data and eps else ""


def view(manifest: Manifest, metrics: Iterable[str], before: str, now: int) -> str:
    """A saved view of MLflow's table of runs: one row per sweep, with how good it is and what it varied and set.

    `before` is the one that stands there, whose columns stay; `now` in milliseconds."""
    ranked = [next((m for m in metrics if m.startswith(first)), "") for first in FIRST]
    axes = [axis for axis, levels in _levels(manifest).items() if len(levels) > 1]
    own = sorted(content.settings(manifest), key=lambda name: name not in content.changed(manifest))
    wanted = [f"metrics.`{m}`" for m in dict.fromkeys(filter(None, ranked))][:2]
    wanted += [f"params.`{name}`" for name in dict.fromkeys([*axes, *own, "data", "seeds"])]
    columns = list(dict.fromkeys([*wanted, *_columns(before)]))[:MOST_COLUMNS]
    if columns == _columns(before):
        return before
    state = {"selectedColumns": columns, "orderByKey": "attributes.start_time", "orderByAsc": False}
    return json.dumps({"name": "Sweeps", "createdAt": now, "updatedAt": now, "state": json.dumps(state)})


def _columns(before: str) -> list[str]:
    """The columns of a view; none where it is not ours to read (somebody may have saved another under our key)."""
    try:
        return list(json.loads(json.loads(before)["state"])["selectedColumns"]) if before else []
    except (ValueError, KeyError, TypeError):
        return []


def note(manifest: Manifest, metrics: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """How good, in a table and a list, at the head of a sweep's description; empty before there is a summary."""
    names = [m.partition("/")[2] for m in metrics if m.startswith("baseline/")]
    rows = [f"| `{n}` | {metrics[f'baseline/{n}']:.3g} | {metrics.get(f'best/{n}', float('nan')):.3g} |" for n in names]
    lines = ["| mean over seeds | baseline | best |", "|---|---|---|", *rows] if rows else []
    lines += [f"\nBest at {where}." for name, where in words.items() if name == "best" and rows]
    lines += [f"- `{m}`: {metrics[m]:.4g}" for m in metrics if manifest.search and not m.startswith("verdict/")]
    said = {name.removeprefix("verdict."): word for name, word in words.items() if name.startswith("verdict.")}
    if said:
        lines += ["", "Verdicts: " + "; ".join(f"{name} {word}" for name, word in said.items()) + "."]
    return "\n".join(lines)
