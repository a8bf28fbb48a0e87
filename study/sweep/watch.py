"""What the driver looks after while trials run: workers that hang, and which processes it would leave behind."""

import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from study.store import layout, mirror, results, shapes
from study.store.places import Place
from study.sweep.worker import heartbeat

EVERY_SECONDS = 3.0  # looking through the process table takes some 20 ms
BEATS_MISSED = 4  # at least, before a worker counts as silent
STOP_SECONDS = 5.0
PROCESS = {"pid": shapes.whole, "started": shapes.number}
LIST = {"host": shapes.text, "processes": shapes.many(lambda found: not shapes.wrong(found, PROCESS))}


def end_left(folder: Path) -> list[int]:
    """End what a dead driver of this folder left of its own Ray, by process id and start time; their ids.

    Only for the driver that holds the folder's lock: the one that wrote the list is then gone.
    """
    try:
        found = shapes.parsed((folder / layout.PROCESSES).read_text())
    except (OSError, ValueError):
        return []
    if shapes.wrong(found, LIST) or found["host"] != socket.gethostname():
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

    Silence is measured on this process's own monotonic clock, and in S3 by a note that stays as it was, so neither a
    clock that is set nor a machine that slept ends anything. `elsewhere` is given the note of a worker that is not on
    this host; it says whether it has ended that worker, and raises TimeoutError when it cannot reach its machine.
    """

    def __init__(
        self,
        place: Place,
        patience: float,
        tell: Callable[[str], None],
        elsewhere: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        self.place, self.folder, self.tell, self.elsewhere = place, mirror.working_folder(place), tell, elsewhere
        self.patience = max(patience, BEATS_MISSED * heartbeat.pace(place))
        self._looked = -math.inf
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
        self._thread.join(STOP_SECONDS)  # it may be asking a machine that does not answer

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.note_processes()
                if time.monotonic() - self._looked >= heartbeat.pace(self.place):
                    self.end_silent()
            except OSError as error:  # a full disk stops the sweep where it publishes
                results.log.warning("the watch over the workers failed once: %s", error)

    def note_processes(self) -> None:
        """Keep .processes.json up to date; the next start reads it when this driver is killed."""
        now = descendants()
        if now and now != self._noted:
            record = {"host": socket.gethostname(), "driver": os.getpid(), "processes": now}
            results.replace(self.folder / layout.PROCESSES, json.dumps(record).encode())
            self._noted = now

    def end_silent(self) -> None:
        """Kill the workers whose note nobody has touched for `patience` seconds; their trials are retried."""
        now = self._looked = time.monotonic()
        try:
            beats = heartbeat.beats(self.place)
        except OSError:
            self._beats = {}  # whoever cannot be seen is not silent: begin anew
            raise
        self._beats = {name: beat for name, beat in self._beats.items() if name in beats}
        for name, seen in beats.items():
            last, since = self._beats.get(name, (0.0, now))
            if seen != last:
                self._beats[name] = (seen, now)
            elif now - since > self.patience:
                self._end(name, heartbeat.note(self.place, name))
                self._beats[name] = (seen, now)

    def _end(self, trial: str, note: dict[str, Any] | None) -> None:
        if note is None:
            return
        where = f"the worker of trial {trial} (process {note['pid']} on {note['host']})"
        try:
            here = note["host"] == socket.gethostname() and heartbeat.end(note)
            if here or (self.elsewhere is not None and self.elsewhere(note)):
                self.tell(f"{where} hung for {self.patience:.0f} s and was ended; the trial is tried again")
        except TimeoutError:
            self.tell(f"{where} has been silent for {self.patience:.0f} s, and its machine does not answer")
