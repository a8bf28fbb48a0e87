"""The outbox: finished trials are delivered in a thread, tried again while the store is away, and never in the way."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.spec.errors import without_secrets
from study.store import layout
from study.store.manifest import Manifest
from study.tracking import models
from study.tracking.runs import Runs
from study.tracking.stores import half_made

if TYPE_CHECKING:
    from torch import nn

PATIENCE_SECONDS = 60.0  # how long close() waits for a store that takes what it is given, between two trials
AWAY_SECONDS = 12.0  # how long it waits for one that does not
PAUSES = (1.0, 2.0, 5.0, 15.0)  # seconds before the next try while the store is away
MOST_REFUSALS = 3
REST = 3.0  # rest after a delivery, in its processor time: the thread shares one interpreter with Tune's loop
END = "the sweep's run"  # beside the trials' fingerprints


class Tracker:
    """Delivers trials by fingerprint from their published tables.

    What could not be delivered is the difference between the tables and the store, so nothing is kept on the disk: the
    next run of the folder delivers it, or `python -m study.tracking rebuild DIR`.
    """

    def __init__(self, uri: str, folder: Path, manifest: Manifest) -> None:
        self.uri, self.folder, self.manifest = uri, folder, manifest
        self.error = ""
        self.seconds = 0.0
        self.experiment = ""  # its id in the store, once that has answered
        self.away = False
        self.moved = time.monotonic()
        # A SimpleQueue, for Ctrl-C may interrupt whoever gives: a lock in Python code would then stay taken for ever.
        self._news: queue.SimpleQueue[str | tuple[str, Path | None]] = queue.SimpleQueue()
        self._given: dict[str, None] = {}  # this and what follows belong to the thread
        self._left: deque[str] = deque()
        self._refused: dict[str, int] = {}
        self._end: tuple[str, Path | None] | None = None
        self._hurry = self._closed = False
        self._tries, self._rest = 0, 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def trial(self, trial: str) -> None:
        """Have a finished or failed trial delivered; returns at once."""
        self._news.put(trial)

    def has_model(self, trial: str) -> bool:
        """Whether a trial's net is kept in the folder already."""
        return layout.model_path(self.folder, trial).is_dir()

    def model(self, trial: str, net: "nn.Module", shape: tuple[int, int, int]) -> Path:
        """Keep a trial's net in the folder's models/ and have it delivered under the trial's run; where it lies.

        `shape` is that of one image. Takes seconds (the net is traced); raises what torch.export raises.
        """
        path = models.save(self.folder, trial, net, shape)
        self.trial(trial)
        return path

    def close(self, status: str = "FINISHED", artifacts: Path | None = None) -> str:
        """Deliver what is left, attach the report's files to the sweep's run and end it.

        Returns what is missing and why, nothing when all is there. A store that is away is given AWAY_SECONDS.
        """
        self._news.put((status, artifacts))
        self.moved = time.monotonic()
        while self._thread.is_alive():
            if time.monotonic() - self.moved > (AWAY_SECONDS if self.away else PATIENCE_SECONDS):
                break
            self._thread.join(0.1)
        count = len(self._left) + max(0, self._news.qsize() - 1)  # what waits ends with the word to end
        if self._closed and not count:
            return ""
        cause = self.error or "the store did not keep up"
        return f"{count} trials not delivered, {cause}" if count else f"the sweep's run was not ended, {cause}"

    def _work(self) -> None:
        runs: Runs | None = None
        while not self._closed and self._refused.get(END, 0) < MOST_REFUSALS:
            self._wait()
            began = time.thread_time()
            try:
                runs = runs or self._open()
                self._next(runs)
                self._tries, self.away, self.moved = 0, False, time.monotonic()
            except Exception as error:  # a tracking store may fail in any way; the table is the truth
                words = str(error).splitlines()[0] if str(error) else ""
                hint = half_made(self.uri) if runs is None else ""
                self.error = without_secrets(f"{type(error).__name__}: {words}{hint and f'; {hint}'}")
                self._failed(runs)
                runs = None
            used = time.thread_time() - began
            self.seconds, self._rest = self.seconds + used, REST * used

    def _wait(self) -> None:
        """Until there is something to do; while the store is away, until it is time to try again or to end."""
        self._heed(lambda: self._end is not None, self._rest)
        if self._tries:
            self._heed(lambda: self._hurry, PAUSES[min(self._tries, len(PAUSES)) - 1])
        else:
            self._heed(lambda: bool(self._left or self._end), None)
        self._hurry = False

    def _heed(self, enough: Callable[[], bool], seconds: float | None) -> None:
        """Take in what is given until that is enough, for so long at most."""
        until = time.monotonic() + (seconds or 0.0)
        while not enough():
            try:
                news = self._news.get(timeout=None if seconds is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(news, str):
                self._given[news] = None
                self._refused.pop(news, None)
                self._left.append(news)
            else:
                self._end, self._hurry = news, True

    def _open(self) -> Runs:
        """The store as it stands now: whatever was given and does not stand there is to be delivered again."""
        runs = Runs(self.uri, self.folder, self.manifest)
        self.experiment = runs.experiment
        self._left = deque(n for n in self._given if not runs.complete(n) and n not in self._hopeless())
        return runs

    def _next(self, runs: Runs) -> None:
        """Deliver one trial, or end the sweep's run when none is left."""
        if self._left:
            runs.deliver(self._left[0])
            self._left.popleft()
        elif self._end is not None:
            runs.close(*self._end)
            self._left.extend(self._hopeless())
            self._closed = True

    def _hopeless(self) -> list[str]:
        return [name for name, times in self._refused.items() if times >= MOST_REFUSALS]

    def _failed(self, runs: Runs | None) -> None:
        """The store is away: try again later. Or it does not take this one: others first, a few times over."""
        if runs is None or not runs.answers():
            self._tries, self.away = self._tries + 1, True
            return
        name = self._left.popleft() if self._left else END
        self._refused[name] = self._refused.get(name, 0) + 1
        if name != END and self._refused[name] < MOST_REFUSALS:
            self._left.append(name)
