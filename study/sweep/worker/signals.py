"""How a command is stopped from outside: Ctrl-C, SIGTERM and SIGHUP, with exit status 128 + the signal's number.

The first one stops the command; once it is `leaving`, further ones change nothing. Inside `held` a signal is only
noted, for `check` and for the end of the block: what a handler raises inside Ray's C++ code is lost there, comes out as
another error, or ends the process. Where the main thread does not come to leave (it waits in C++ for a Ray that has had
the same signal), a thread ends the process, with the same status.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from study.spec.errors import Stop

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STUCK_SECONDS = 10.0
TWICE_SECONDS = 1.0  # `timeout` sends its signal to the process and to the group: that is one


class Terminated(Stop):
    """The command is to leave, with the exit status `status`."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class _State:
    """What has come to this process, and whether it may be raised now."""

    asked = 0  # the first signal's number
    raised = 0.0  # when it was raised last: what is raised in a finalizer is lost, and may be asked for again
    left = threading.Event()  # the command is leaving
    held = 0
    way_on = "\nInterrupted.\n"
    exit_status = 1  # until the command has come to its own
    terminals: tuple[int, ...] = ()  # of stdout and stderr: one that has hung up does not say that it was one


def _here() -> bool:
    """Whether signals come to this thread, and it may say what they do."""
    return threading.current_thread() is threading.main_thread()


def _set(handler: Any) -> dict[int, Any]:
    """A handler for all of them but those that were ignored (nohup, a background job); the handlers before."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOPPING} if _here() else {}
    for number, now in before.items():
        if now is not signal.SIG_IGN:
            signal.signal(number, handler)
    return before


def _stop(number: int, frame: object) -> None:
    if number == signal.SIGHUP:
        _let_go_of_terminal()
    _State.asked = _State.asked or number
    if not _State.held and time.monotonic() - _State.raised > TWICE_SECONDS:
        check()


def _let_go_of_terminal() -> None:
    """Nothing more goes to a terminal that has hung up: it would be an error."""
    with open(os.devnull, "w") as nothing:
        for stream in _State.terminals:
            os.dup2(nothing.fileno(), stream)


def check() -> None:
    """Raise what was asked for, if anything was: KeyboardInterrupt, or Terminated."""
    if _State.asked and not _State.left.is_set():
        _State.raised = time.monotonic()
        raise KeyboardInterrupt if _State.asked == signal.SIGINT else Terminated(_State.asked)


def leaving() -> int:
    """From here on no signal disturbs what is left to do. The exit status of what was asked for, or 0."""
    _State.left.set()
    return 128 + _State.asked if _State.asked else 0


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Signals stop the block; the handlers before stand again afterwards."""
    _State.asked, _State.raised, _State.held, _State.left = 0, 0.0, 0, threading.Event()
    _State.terminals = tuple(stream for stream in (1, 2) if os.isatty(stream))
    before = _set(_stop)
    try:
        with _second_look():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _second_look() -> Iterator[None]:
    """A thread that hears of signals from the kernel's own hand, whatever the main thread does."""
    if not _here():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_end_stuck, args=(read, _State.left), name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)


def _end_stuck(read: int, left: threading.Event) -> None:
    while got := os.read(read, 1):
        if got[0] in STOPPING and not left.wait(STUCK_SECONDS) and not select.select([read], [], [], 0)[0]:
            end_now(128 + got[0])
    os.close(read)


def way_on(text: str) -> None:
    """What `end_now` is to say."""
    _State.way_on = text


def end_now(code: int, why: str = "") -> None:
    """End the process there and then, and say why and how to go on: the main thread cannot."""
    if code != 128 + signal.SIGHUP:
        os.write(2, (why + _State.way_on).encode())
    os._exit(code)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Signals wait for the end of the block, or for `check` in it.

    Where one was noted, an error of the block counts for nothing: it may well have come of the same signal, which a
    terminal or `timeout` sends to the whole group. Handlers that the block has set (Ray does) are ours again.
    """
    ours = {number: signal.getsignal(number) for number in STOPPING} if _here() else {}
    _State.held += 1
    try:
        yield
    except Exception:
        check()
        raise
    finally:
        _State.held -= 1
        for number, handler in ours.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    if not _State.held:
        check()


def over(code: int) -> None:
    """The command has come to its exit status; what is left is the end of the interpreter."""
    _State.exit_status = code
    end_at_once()


def exit_status() -> int:
    """The command's exit status, for whoever ends the interpreter before its time."""
    return _State.exit_status


def end_at_once(said: str = "") -> None:
    """From here on a signal ends the process there and then, with its status: before it begins, and once it is over."""

    def end(number: int, frame: object) -> None:
        if number != signal.SIGHUP:
            os.write(2, said.encode())
        os._exit(128 + number)

    _set(end)
