"""What stands in a folder of results and what runs there now: the facts, and how they are told."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from study.store import layout, lease, places, results
from study.store.manifest import Manifest
from study.store.places import Place
from study.sweep.plan import costs, mended
from study.sweep.worker import heartbeat


def facts(output: str, folder: Path, found: Manifest) -> dict[str, Any]:
    """Done, running, failed and left trials of an output, what they cost so far, and how long the rest will take.

    Seconds are wall seconds of workers; dollars 0 where the price is not known.
    """
    asked = set(found.trials)
    finished = {n: p for n, p in results.provenances(folder).items() if n in asked}
    failed = {n: f for n, f in results.failures(folder).items() if n not in finished and n in asked}
    holder = lease.in_use(folder) or lease.leased(output)
    running = _running(places.at(output), finished) if holder else {}
    total = expected(found)
    left = total - len(finished) - len(failed)
    seconds = sum(p.get("wall_seconds", 0.0) for p in finished.values())
    mean = seconds / len(finished) if finished else 0.0
    spent = sum(min(r["seconds"], mean) for r in running.values())
    return {
        "study": found.name,
        "trials": total,
        "asked": len(found.trials),
        "complete": not found.search or found.complete,
        "done": len(finished),
        "failed": {n: _failure(folder, n, f) for n, f in failed.items()},
        "left": left,
        "earlier": [dict(source) for source in found.earlier],
        "driver": holder,
        "running": running,
        "cost": {
            "seconds": seconds,
            "cpu_hours": sum(p.get("cpu_seconds", 0.0) for p in finished.values()) / 3600,
            "dollars": costs.dollars(seconds, found.gpus_per_trial, found.instance),
        },
        "seconds_left": (left * mean - spent) / max(1, len(running)) if finished and left else None,
    }


def expected(found: Manifest) -> int:
    """How many trials a folder will hold in the end: of a search that is not at its end the least, its evaluations and
    the seeds of its finalists, most of which are not asked yet."""
    evaluations = found.search.get("evaluations", 0)
    if not evaluations or found.complete:
        return len(found.trials)
    finals = min(found.search.get("finalists", 0), evaluations) * len(found.seeds)
    return max(len(found.trials), evaluations + finals)


def _running(place: Place, finished: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    now = time.time()
    return {
        name: {
            "host": note["host"],
            "pid": note["pid"],
            "phase": note["phase"],
            "epoch": note["epoch"],
            "seconds": max(0.0, now - note["began"]),
            "silent_seconds": max(0.0, now - note["seen"]),
        }
        for name, note in heartbeat.read(place).items()
        if name not in finished
    }


def _failure(folder: Path, name: str, note: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / layout.note_name(name)
    return {"cause": note["cause"], "attempts": note["attempts"], "log": note["log"], "path": str(path)}


def show(out: Console, output: str, folder: Path, found: Manifest, as_json: bool) -> None:
    """Tell it of an output, read in its folder, as text or as JSON."""
    f = facts(output, folder, found)
    if as_json:
        print(json.dumps(f, indent=1))
        return
    state = f"being run by {f['driver']}" if f["driver"] else "nothing is running"
    least = "" if f["complete"] else "at least "
    out.print(f"{f['study']} in {output}: {f['done']} of {least}{f['trials']} trials done, "
              f"{len(f['failed'])} failed, {f['left']} left; {state}", markup=False)  # fmt: skip
    if earlier := mended.sentence(found):
        out.print(f"  {earlier}", markup=False)
    for name, r in f["running"].items():
        quiet = r["silent_seconds"] > 5 + heartbeat.pace(places.at(output))
        silent = f", silent for {costs.duration(r['silent_seconds'])}" if quiet else ""
        where = f"{r['phase']}, epoch {r['epoch']}" if r["epoch"] else r["phase"]
        out.print(
            f"  {name}: {where}, {costs.duration(r['seconds'])}, process {r['pid']} on {r['host']}{silent}",
            markup=False,
        )
    for name, note in f["failed"].items():
        out.print(f"  {name}: {note['cause']} ({note['attempts']} attempts); log: {note['path']}", markup=False)
    if f["failed"]:
        out.print("  run them again with --retry-failed", markup=False)
    cost = f["cost"]
    price = f", ${cost['dollars']:.2f}" if cost["dollars"] else ""
    left = f"; about {costs.duration(f['seconds_left'])} left" if f["seconds_left"] is not None else ""
    left += " on one worker" if left and not f["running"] else ""
    out.print(f"  so far {costs.duration(cost['seconds'])} of workers, {cost['cpu_hours']:.2f} CPU-hours{price}{left}",
              markup=False)  # fmt: skip
