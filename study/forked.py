"""Attempts in a process of their own, forked from a server that has imported PyTorch once.

A trial that takes its process with it (a machine short of memory, a segmentation fault in a library) costs the worker
around it a fork in place of all its imports. After a failure on a GPU, whose context may be beyond use, the next trial
gets a new process.

    worker ── socket, one per process ── process of the attempts
       └───── socket ── server, `python -m study.forked`: forks it, and tells how it ended

Both end with the worker, for then their sockets close.
"""

import contextlib
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn, TypeAlias

from study.job import Job

Channel: TypeAlias = "Connection[Any, Any]"


class Ended(RuntimeError):
    """The process of an attempt ended under it: killed, out of memory, crashed."""


class Forked:
    """Attempts one after another, in a process that is replaced when it has ended.

    `node` names the machine in the attempts' signs of life.
    """

    def __init__(self, node: str = "") -> None:
        self.node = node
        self._server: subprocess.Popen[bytes] | None = None
        self._process: Channel | None = None
        self._start()

    def begin(self, job: Job) -> None:
        """A new attempt at a job, in place of the last one; raises what that raises."""
        if self._process is not None and _closed(self._process, 0):
            self._gather()
        if self._process is None:
            self._start()
        self._ask("begin", job, os.getcwd())

    def step(self) -> dict[str, Any]:
        """The attempt's next report; raises what it raises, and Ended when its process is gone."""
        report: dict[str, Any] = self._ask("step")
        return report

    def close(self) -> None:
        """Give the attempt up, if there is one."""
        if self._process is not None and not _closed(self._process, 0):
            self._ask("close")

    def end(self) -> None:
        """End the process; the next attempt gets another."""
        if self._process is not None:
            self._gather()

    def _start(self) -> None:
        if self._server is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-m", "study.forked", str(theirs.fileno()), self.node],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                )
        self._process, end = multiprocessing.Pipe()
        with end, contextlib.suppress(ConnectionError):  # of a server that is gone: then nobody will answer either
            socket.send_fds(self._control, [b"fork"], [end.fileno()])
        self._ask("ready")

    def _ask(self, *words: Any) -> Any:
        if self._process is None:
            raise Ended("the process of the trial has ended before")
        try:
            self._process.send(words)
            error, answer = self._process.recv()
        except (EOFError, ConnectionError):
            raise Ended(f"the process of the trial ended by itself ({self._gather()})") from None
        if error is not None:
            raise error
        return answer

    def _gather(self) -> str:
        """Let go of the process, wait until it has ended, and say how."""
        assert self._process is not None
        assert self._server is not None
        self._process.close()
        self._process = None
        said = b""
        with contextlib.suppress(ConnectionError):
            said = self._control.recv(64)
        if not said:
            self._server.wait()
            self._server = None
            return "its server too"
        return signal.Signals(-int(said)).name if int(said) < 0 else f"exit status {int(said)}"


def _closed(channel: Channel, timeout: float | None) -> bool:
    """Whether the other end is closed by the time `timeout` is over, in seconds; None: whenever it will be."""
    poll = select.poll()
    poll.register(channel.fileno(), 0)  # nothing but a hang-up
    return bool(poll.poll(None if timeout is None else 1e3 * timeout))


def _serve_forks(control: socket.socket, node: str) -> None:
    """The server: forks a process for each socket it is sent, one at a time, and answers how that ended."""
    # What every fork would import: with the attempt PyTorch and the rest, and what an optimizer's first step imports.
    import torch._dynamo  # noqa: F401

    import study.attempt  # noqa: F401

    while True:
        word, sockets, _, _ = socket.recv_fds(control, 16, 1)
        if not word:
            return
        if (process := os.fork()) == 0:
            control.close()
            _serve_attempts(sockets[0], node)
        os.close(sockets[0])
        _, status = os.waitpid(process, 0)
        try:
            control.send(str(os.waitstatus_to_exitcode(status)).encode())
        except ConnectionError:
            return


def _serve_attempts(descriptor: int, node: str) -> NoReturn:
    """The forked process: does what it is asked until nobody asks any more."""
    code = 1
    try:
        channel = Connection(descriptor)
        threading.Thread(target=_end_with_worker, args=(channel,), name="worker", daemon=True).start()
        _answer(channel, node)
    except (EOFError, ConnectionError):
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)  # the server's own code goes on in the server alone


def _end_with_worker(channel: Channel) -> None:
    """End this process when its worker has, however that came; a trial may be deep in a long call."""
    _closed(channel, None)
    os._exit(0)


def _answer(channel: Channel, node: str) -> NoReturn:
    from study.attempt import Attempt

    attempt: Attempt | None = None
    while True:
        word, *words = channel.recv()
        error: Exception | None = None
        report: dict[str, Any] | None = None
        try:
            if attempt and word in ("begin", "close"):
                attempt.close()
                attempt = None  # its tensors go before the next one's come
            if word == "begin":
                job, folder = words
                os.chdir(folder)
                attempt = Attempt(job, node)
            elif word == "step":
                assert attempt is not None
                report = attempt.step()
        except Exception as raised:
            error = _portable(raised)
        channel.send((error, report))


def _portable(error: Exception) -> Exception:
    """The exception, or its text where it cannot be sent: a user's may take anything to be made."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    _serve_forks(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
