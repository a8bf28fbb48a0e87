"""Where a folder's numbers come from: when, on which host, by which command, and how long its trials took."""

import time
from datetime import timedelta
from pathlib import Path

from study.store import results
from study.store.manifest import Manifest


def sentences(folder: Path, study: Manifest) -> list[str]:
    """Date, duration, host and version of a folder's numbers, a sentence each; what an earlier version did not keep is
    left out."""
    trials = list(results.provenances(folder, quiet=True).values())
    ends = [t["finished"] for t in trials if "finished" in t]
    out = []
    if study.created or ends:
        begun = f"Begun on {_date(study.created)}" if study.created else ""
        last = f"the last trial finished on {_date(max(ends))}" if ends else ""
        out.append("; ".join(filter(None, (begun, last))))
    if seconds := sum(t.get("wall_seconds", 0.0) for t in trials):
        cpu = sum(t.get("cpu_seconds", 0.0) for t in trials)
        out.append(f"All trials together took {_clock(seconds)} of wall time and {_clock(cpu)} of CPU time (h:mm:ss)")
    hosts, devices = (sorted({t[key] for t in trials if t.get(key)}) for key in ("host", "device"))
    if hosts or devices:
        on = ", ".join(d if d != "cpu" else "CPU" for d in devices)
        out.append(f"They ran on {', '.join(hosts) or on}{f' ({on})' if hosts and on else ''}")
    if study.version:
        out.append(f"Version {study.version}{f', commit {study.commit}' if study.commit else ''}")
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in out]


def _date(seconds: float) -> str:
    """Seconds since 1970 as a date and time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
