"""The sign of life of an attempt: running/TRIAL.json, touched every second, gone when the attempt is over.

It says which process on which host runs the trial and how far it is; a note that nobody touches any more belongs to a
worker that hangs or is gone.
"""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil

FOLDER = "running"


def started(process: psutil.Process) -> float:
    """When a process began, in seconds since the epoch: with its id what tells it from all others."""
    return round(process.create_time(), 2)


def same(pid: int, begun: float) -> psutil.Process | None:
    """The process of that id and start, None when it is gone. Clocks may have been set: 2 s are let pass."""
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - begun) < 2 else None
    except psutil.Error:
        return None


class Heartbeat:
    """Begun with the attempt; it stops beating when the trial has not moved for `limit` seconds."""

    def __init__(self, folder: Path, trial: str, limit: float) -> None:
        self.path = folder / FOLDER / f"{trial}.json"
        self.limit = limit
        self.moved_at = time.monotonic()
        self.note = {
            "pid": os.getpid(),
            "process_started": started(psutil.Process()),
            "host": socket.gethostname(),
            "began": time.time(),
            "phase": "start",
            "epoch": 0,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def moved(self, phase: str, epoch: int) -> None:
        """The trial has come this far; the next beat says so."""
        self.moved_at = time.monotonic()
        self.note |= {"phase": phase, "epoch": epoch}

    def beat(self) -> None:
        """Show that this process lives, unless the trial in it does not move."""
        if time.monotonic() - self.moved_at < self.limit:
            with contextlib.suppress(OSError):  # a full disk is found where it matters, when the trial is published
                self._write()

    def end(self) -> None:
        """The attempt is over."""
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        # Without fsync: after a loss of power no worker lives that it could speak of.
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.note))
        temporary.replace(self.path)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The notes of a folder by fingerprint, each with `seen`, the time of its last beat."""
    notes = {}
    for path in sorted((folder / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):  # the attempt has just ended
            notes[path.stem] = json.loads(path.read_text()) | {"seen": path.stat().st_mtime}
    return notes


def forget(folder: Path, trial: str) -> None:
    """Remove the note of a trial whose worker is gone for good."""
    (folder / FOLDER / f"{trial}.json").unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove what workers left that were killed; only for the driver that holds the folder."""
    for path in (folder / FOLDER).glob("*"):
        path.unlink(missing_ok=True)
