"""What the driver looks after while trials run: workers that hang, and which processes it would leave behind."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from study import heartbeat, results

PROCESSES = ".processes.json"
EVERY_SECONDS = 3.0  # looking through the process table takes some 20 ms


def end_left(folder: Path) -> list[int]:
    """End what a dead driver of this folder left of its own Ray, by process id and start time; their ids.

    Only for the driver that holds the folder's lock: the one that wrote the list is then gone.
    """
    try:
        found = json.loads((folder / PROCESSES).read_text())
    except (OSError, ValueError):
        return []
    if found["host"] != socket.gethostname():
        return []
    left = [heartbeat.same(p["pid"], p["started"]) for p in found["processes"]]
    alive = [process for process in left if process is not None]
    for process in alive:
        try:
            process.kill()
        except psutil.Error:  # it has just ended by itself
            continue
    psutil.wait_procs(alive, timeout=5)
    return [process.pid for process in alive]


def descendants() -> list[dict[str, Any]]:
    """Every process that this one started, directly or not."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            found.append({"pid": process.pid, "started": heartbeat.started(process)})
        except psutil.Error:  # it has just ended
            continue
    return found


class Watch:
    """A thread beside a sweep: notes the driver's processes, and ends a worker that has been silent for too long.

    Silence is measured on this process's own monotonic clock, so neither a clock that is set nor a machine that slept
    ends anything. A worker on another host is named; only its own host could end it.
    """

    def __init__(self, folder: Path, patience: float, tell: Callable[[str], None]) -> None:
        self.folder, self.patience, self.tell = folder, patience, tell
        self._beats: dict[str, tuple[float, float]] = {}
        self._noted: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self.note_processes()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.note_processes()
                self.end_silent()
            except OSError as error:  # a full disk stops the sweep where it publishes
                results.log.warning("the watch over the workers failed once: %s", error)

    def note_processes(self) -> None:
        """Keep .processes.json up to date; the next start reads it when this driver is killed."""
        now = descendants()
        if now and now != self._noted:
            record = {"host": socket.gethostname(), "driver": os.getpid(), "processes": now}
            results.replace(self.folder / PROCESSES, json.dumps(record).encode())
            self._noted = now

    def end_silent(self) -> None:
        """Kill the local workers whose note nobody has touched for `patience` seconds; their trials are retried."""
        now, notes = time.monotonic(), heartbeat.read(self.folder)
        self._beats = {name: beat for name, beat in self._beats.items() if name in notes}
        for name, note in notes.items():
            seen, since = self._beats.get(name, (0.0, now))
            if note["seen"] != seen:
                self._beats[name] = (note["seen"], now)
            elif now - since > self.patience:
                self._end(name, note)
                self._beats[name] = (note["seen"], now)

    def _end(self, trial: str, note: dict[str, Any]) -> None:
        where = f"the worker of trial {trial} (process {note['pid']} on {note['host']})"
        if note["host"] != socket.gethostname():
            self.tell(f"{where} has been silent for {self.patience:.0f} s")
        elif process := heartbeat.same(note["pid"], note["process_started"]):
            process.kill()
            self.tell(f"{where} hung for {self.patience:.0f} s and was ended; the trial is tried again")
