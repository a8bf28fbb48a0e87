"""study.json of a folder that has lost it, made again from the tables there and from the plan that asks to go on."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from study.spec.errors import UsageError
from study.store import layout, results
from study.store.manifest import Manifest, PointRecord

if TYPE_CHECKING:
    from study.sweep.plan.plan import Plan


def remade(plan: "Plan", asked: Manifest) -> Manifest | None:
    """`asked`, what study.json says of the plan, with the trials that stand in its folder; None where no sound table
    stands there.

    A trial's fingerprint says all that was asked of it, so a table whose trial is the plan's belongs there; those of a
    search, which the plan cannot know, become its points. UsageError for tables of another study, and for those of a
    grid that the plan would not make.
    """
    finished, failed = results.scan(plan.folder), results.failures(plan.folder)
    if not finished:
        return None
    order = sorted(finished, key=lambda name: finished[name].provenance.get("finished", 0.0))
    rows: dict[str, Mapping[str, Any]] = {name: finished[name].rows[0] for name in order if finished[name].rows}
    rows |= {name: note["identity"] for name, note in failed.items() if name not in finished}
    others = sorted({str(row["study"]) for row in rows.values()} - {plan.study.name})
    if others:
        raise UsageError(f"{plan.place} has lost its {layout.STUDY}, and holds tables of {', '.join(others)}")
    if plan.preset.search is None:
        _refuse_foreign(plan, rows)
    points = tuple(_point(plan, name, row) for name, row in rows.items()) if plan.preset.search else ()
    began = finished[order[0]].provenance
    return dataclasses.replace(
        asked, trials=tuple(rows), points=points, commit=str(began.get("commit", "")),
        created=float(began.get("finished", asked.created)) - float(began.get("wall_seconds", 0.0)),
    )  # fmt: skip


def _refuse_foreign(plan: "Plan", rows: Mapping[str, Mapping[str, Any]]) -> None:
    foreign = [name for name in rows if name not in plan.jobs]
    if foreign:
        seeds = sorted({row["seed"] for row in rows.values()})
        raise UsageError(
            f"{plan.place} has lost its {layout.STUDY}, and {len(foreign)} of its {len(rows)} trials are none of this "
            f"command ({foreign[0]}; seeds {', '.join(map(str, seeds))}); give the settings, axes and seeds that "
            f"made them, or choose another --output"
        )


def _point(plan: "Plan", name: str, row: Mapping[str, Any]) -> PointRecord:
    """The point of a search whose trial this is."""
    axes = {axis: row[axis] for axis, off in plan.axes_off.items() if row.get(axis) is not None and row[axis] != off}
    return PointRecord(trial=name, family=row["family"], seed=row["seed"], axes=axes)


def refuse_other_points(plan: "Plan", found: Manifest) -> None:
    """UsageError where the plan, extended by the points of a search, does not come to their trials."""
    if foreign := [point.trial for point in found.points if point.trial not in plan.jobs]:
        raise UsageError(
            f"{plan.place} has lost its {layout.STUDY}, and {len(foreign)} of its {len(found.points)} trials are none "
            f"of this command ({foreign[0]}); give the settings that made them, or choose another --output"
        )
