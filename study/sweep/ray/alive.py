"""Whether the sweep's Ray still lives: Ray itself waits for minutes, and says nothing, for a head that is gone."""

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType

import ray

from study.sweep.ray import local
from study.sweep.worker import signals

ASK_SECONDS = 2.0
SILENT_SECONDS = 18.0
BLOCKED_SECONDS = 6.0  # once it is lost, before the driver counts as caught in a call of it


def answer() -> str:
    """What is lost for good, or nothing; may block, and raises what Ray raises."""
    if dead := local.gone():
        return f"Ray's own process on this machine ({dead}) has ended"
    alive = {n["NodeID"] for n in ray.nodes() if n["Alive"]}
    if not alive:
        return "no machine of the cluster lives any more"
    return "" if ray.get_runtime_context().get_node_id() in alive else "this machine's Ray has ended"


def _end(lost: str) -> None:
    signals.end_now(1, f"\nstudy: {lost}")


class Alive:
    """One thread asks Ray, another counts how long it has not answered; `lost` says what is lost, or nothing.

    A driver that does not leave the block then hangs in a call of Ray's, and is ended.
    """

    lost = ""

    def __init__(self, ask: Callable[[], str] = answer, end: Callable[[str], None] = _end) -> None:
        self._ask, self._end = ask, end
        self._said, self._answers = "", 0
        self._stop = threading.Event()

    def __enter__(self) -> "Alive":
        for loop in (self._asking, self._counting):
            threading.Thread(target=loop, name="alive", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()  # one thread may hang in a question; both are daemons

    def _asking(self) -> None:
        while not self._stop.wait(ASK_SECONDS):
            with contextlib.suppress(Exception):  # Ray has many kinds for a head that does not answer this time
                self._said = self._ask()
                self._answers += 1

    def _counting(self) -> None:
        silence = Silence(time.monotonic())
        while not self.lost:
            if self._stop.wait(1.0):
                return
            silent = silence.seconds(time.monotonic(), self._answers)
            quiet = f"Ray's head has not answered for {SILENT_SECONDS:.0f} s" if silent > SILENT_SECONDS else ""
            self.lost = self._said or quiet
        if not self._stop.wait(BLOCKED_SECONDS):
            self._end(self.lost)


class Silence:
    """How long nobody has answered, in seconds that somebody listened: a driver that was paused together with its Ray
    (Ctrl-Z) has missed nothing."""

    def __init__(self, now: float) -> None:
        self._looked, self._heard, self._silent = now, 0, 0.0

    def seconds(self, now: float, answers: int) -> float:
        """Seconds up to `now` since the number of answers has changed; to be asked every second or so."""
        self._silent = 0.0 if answers != self._heard else self._silent + min(now - self._looked, 2.0)
        self._looked, self._heard = now, answers
        return self._silent
