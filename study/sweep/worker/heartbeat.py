"""The sign of life of an attempt: running/TRIAL.json of the output, written every second, gone when it is over.

It says which process on which host runs the trial and how far it is; a note that nobody touches any more belongs to a
worker that hangs or is gone. In S3 it is written less often, for each time costs money.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from study.store import layout, places, shapes
from study.store.places import Place

LONGEST_WAIT = 300.0  # seconds that an attempt may wait to be asked on before it counts as silent
NOTE = {**dict.fromkeys(("pid", "epoch"), shapes.whole), **dict.fromkeys(("host", "phase"), shapes.text),
        **dict.fromkeys(("process_started", "began"), shapes.number)}  # fmt: skip
STORE_SECONDS = 15.0  # 240 puts an hour of a worker: an eighth of a cent


def pace(place: Place) -> float:
    """Seconds between two beats into an output; 0 for whenever the monitor beats, once a second."""
    return 0.0 if isinstance(place, Path) else STORE_SECONDS


def started(process: psutil.Process) -> float:
    """When a process began, in seconds since the epoch: with its id what tells it from all others."""
    return round(process.create_time(), 2)


def same(pid: int, begun: float) -> psutil.Process | None:
    """The process of that id and start, None when it is gone. Clocks may have been set: 2 s are let pass."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - begun) < 2 else None
    except psutil.Error:
        return None


def myself() -> dict[str, Any]:
    """Id and start of this process, as a note has them."""
    return {"pid": os.getpid(), "process_started": started(psutil.Process())}


def end(note: Mapping[str, Any]) -> bool:
    """Kill the process of a note on this machine, and the worker that should ask it on; False when both are gone."""
    ended = False
    for who in (note, note.get("worker", note)):
        process = same(who["pid"], who["process_started"])
        try:
            if process is not None:
                process.kill()
                ended = True
        except psutil.Error:  # it has just ended by itself, or is somebody else's
            continue
    return ended


class Heartbeat:
    """Begun with the attempt; it stops beating when the trial has not moved for `limit` seconds, or when nobody has
    asked it to go on for LONGEST_WAIT: then whoever should hangs.

    `node` names the machine to whoever can reach it: its Ray node. `worker` is the process that asks the attempt on,
    if it is another one (`myself` there).
    """

    def __init__(
        self, place: Place, trial: str, limit: float, node: str = "", worker: Mapping[str, Any] | None = None
    ) -> None:
        self.path = place / layout.RUNNING / f"{trial}.json"
        self.limit, self.pace = limit, pace(place)
        self.moved_at, self.waiting = time.monotonic(), False
        self.note = myself() | {
            "host": socket.gethostname(),
            "node": node,
            "began": time.time(),
            "phase": "start",
            "epoch": 0,
        }
        self.note |= {"worker": worker} if worker else {}
        self._over, self._gone, self._writing = False, False, threading.Lock()
        if isinstance(self.path, Path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def moved(self, phase: str, epoch: int) -> None:
        """The trial has come this far; the next beat says so."""
        self.moved_at = time.monotonic()
        self.note |= {"phase": phase, "epoch": epoch}

    def waits(self, waiting: bool) -> None:
        """The attempt has said how far it is, and waits to be asked on; or goes on."""
        self.moved_at, self.waiting = time.monotonic(), waiting

    def beat(self) -> None:
        """Show that this process lives, unless the trial in it does not move."""
        now = time.monotonic()
        if now - self.moved_at < (LONGEST_WAIT if self.waiting else self.limit) and now - self._written >= self.pace:
            with contextlib.suppress(OSError):  # a full disk is found where it matters, when the trial is published
                self._write()

    def end(self) -> None:
        """The attempt is over. A beat under way is waited for: its note would stay, and accuse this process.

        A note that cannot be removed is no reason to lose what the attempt has done: it is tried again at the next
        call. Once it is gone, a note of that name is another attempt's.
        """
        with self._writing:
            self._over = True
            if not self._gone:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
                    self._gone = True

    def _write(self) -> None:
        with self._writing:
            if self._over:
                return
            self._written, content = time.monotonic(), json.dumps(self.note).encode()
            if isinstance(self.path, Path):
                # Without fsync: after a loss of power no worker lives that it could speak of.
                temporary = self.path.with_suffix(".tmp")
                temporary.write_bytes(content)
                temporary.replace(self.path)
            else:
                self.path.put(content)


def beats(place: Place) -> dict[str, float]:
    """When each note of an output was last written, by fingerprint: seconds of the clock of the disk or store."""
    if isinstance(place, Path):
        found = {}
        for path in sorted((place / layout.RUNNING).glob("*.json")):
            # Opened, for NFS then asks its server; and the attempt may just have ended.
            with contextlib.suppress(OSError), path.open("rb") as stream:
                found[path.stem] = os.fstat(stream.fileno()).st_mtime
        return found
    there = (place / layout.RUNNING).listing()
    return {n.removesuffix(".json"): e.modified.timestamp() for n, e in there.items() if n.endswith(".json")}


def note(place: Place, trial: str) -> dict[str, Any] | None:
    """What the attempt at a trial says of itself; None when it has just ended, and for what is no such note."""
    try:
        found = shapes.parsed((place / layout.RUNNING / f"{trial}.json").read_text())
        return None if shapes.wrong(found, NOTE) else dict(found)
    except places.Unavailable:
        raise
    except (OSError, ValueError):
        return None


def read(place: Place) -> dict[str, dict[str, Any]]:
    """The notes of an output by fingerprint, each with `seen`, the time of its last beat."""
    found = {name: (note(place, name), seen) for name, seen in beats(place).items()}
    return {name: said | {"seen": seen} for name, (said, seen) in found.items() if said is not None}


def forget(place: Place, trial: str) -> None:
    """Remove the note of a trial whose worker is gone for good."""
    (place / layout.RUNNING / f"{trial}.json").unlink(missing_ok=True)


def clear(place: Place) -> None:
    """Remove what workers left that were killed; only for the driver that holds the output."""
    places.clear(place, layout.RUNNING)
