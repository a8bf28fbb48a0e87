"""What a search takes over from earlier results: numbers where they were measured as here, else points alone."""

import math
from typing import Any

from study.spec import objectives
from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.expand import fit
from study.spec.identity import digest_of
from study.store import mirror, results
from study.store.manifest import Manifest, read_manifest
from study.sweep.plan import search_record
from study.sweep.plan.plan import Plan

# Chosen knobs; mean objectives and mean clean accuracy on the images that select, None where those were others.
WarmPoint = tuple[dict[str, Value], tuple[tuple[float, ...], float] | None]
SAME = ("validation", "validation_seed", "train_size")  # settings that say which images select


def points(output: str, plan: Plan) -> dict[str, WarmPoint]:
    """The points of an earlier sweep that the search's knobs reach, each as the mean over its seeds.

    Numbers are believed if they were taken on the images that select here. Where an earlier sweep has none of those,
    as one that measured test images alone, its points are proposals without numbers: what was tested never selects.
    An output in S3 is read in its copy. UsageError for another data set or model, and where the knobs reach none of
    its finished trials.
    """
    sought = plan.preset.search
    assert sought is not None
    folder = mirror.local(output)
    found = read_manifest(folder)
    assert found is not None
    for name in ("data_digest", "model", "model_digest"):
        if (has := getattr(found, name)) != (here := plan.configuration()[name]):
            raise UsageError(f"--warm-start {output}: its {name} is {has!r}, the search's is {here!r}")
    wanted = [*search_record.record(plan)["objectives"], objectives.selector("clean_accuracy", plan.settings)]
    same, finished = comparable(found, plan), results.scan(folder)
    groups: dict[str, tuple[dict[str, Value], list[list[float]]]] = {}
    for trial in finished.values():
        first = trial.rows[0]
        axes: dict[str, Any] = {name: first.get(name, found.settings.get(name)) for name in plan.axes_off}
        chosen = fit(sought.knobs, axes, plan.axes_off)
        if chosen is None or first["status"] != "ok":
            continue
        _, measured = groups.setdefault(digest_of([output, axes])[:16], (chosen, []))
        numbers = [objectives.value(trial.rows, one) for one in wanted]
        if same and all(map(math.isfinite, numbers)):
            measured.append(numbers)
    if not groups:
        raise UsageError(
            f"--warm-start {output}: none of its {len(finished)} finished trials has axes that the knobs reach"
        )
    out: dict[str, WarmPoint] = {}
    for name, (chosen, rows) in groups.items():
        *values, clean = (sum(column) / len(column) for column in zip(*rows, strict=True)) if rows else (math.nan,)
        out[name] = (chosen, (tuple(values), clean) if rows else None)
    return out


def comparable(found: Manifest, plan: Plan) -> bool:
    """Whether an earlier sweep set the same validation images aside."""
    here = plan.settings
    return here["validation_seed"] is not None and all(found.settings.get(n) == here[n] for n in SAME)
