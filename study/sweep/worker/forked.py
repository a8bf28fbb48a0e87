"""Attempts in a process of their own, forked from a server that has imported PyTorch once.

A trial that takes its process with it (a machine short of memory, a segmentation fault in a library) costs the worker
around it a fork in place of all its imports. After a failure on a GPU, whose context may be beyond use, the next trial
gets a new process.

    worker ── socket, one per process ── process of the attempts
       └───── socket ── server: forks it, and tells when and how it ended

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
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn, TypeAlias

from study.sweep.plan.job import Job
from study.sweep.worker import heartbeat

Channel: TypeAlias = "Connection[Any, Any]"


SERVER = """# study.sweep.worker.forked: the server of a worker's trials
import os, sys
sys.path[:] = {path!r}
from study.sweep.worker.forked import serve
serve({fd})
os._exit(0)"""  # without the seconds in which Python takes down what it has imported
PATIENCE = 30.0  # seconds that a process may take to end, once nobody asks it any more


class Ended(RuntimeError):
    """The process of an attempt ended under it, or could not be had: killed, out of memory, crashed."""


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
        if self._process is not None and wait([self._control], 0):
            self._gather()
        if self._process is None:
            self._start()
        self._ask("begin", os.getcwd(), job, self.node, heartbeat.myself())

    def step(self) -> dict[str, Any]:
        """The attempt's next report; raises what it raises, and Ended when its process is gone."""
        report: dict[str, Any] = self._ask("step")
        if report.pop("crowded", False):
            self.end()
        return report

    def close(self) -> None:
        """Give the attempt up, if there is one."""
        with contextlib.suppress(Ended):
            self._ask("close")

    def end(self) -> None:
        """End the process; the next attempt gets another."""
        if self._process is not None:
            self._gather()

    def _start(self) -> None:
        try:
            if self._server is None:
                self._control, theirs = socket.socketpair()
                with theirs:
                    code = SERVER.format(path=sys.path, fd=theirs.fileno())
                    self._server = subprocess.Popen(
                        [sys.executable, "-u", "-c", code], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                    )
            self._process, end = multiprocessing.Pipe()
        except OSError as error:  # short of memory, of processes, of descriptors: not the trial's fault, nor a file's
            raise Ended(f"no process could be had for the trial ({error})") from error
        with end, contextlib.suppress(ConnectionError):  # of a server that is gone: then nobody will answer either
            socket.send_fds(self._control, [b"fork"], [end.fileno()])
        self._ask("ready")

    def _ask(self, *words: Any) -> Any:
        if self._process is None:
            raise Ended("the process of the trial has ended before")
        try:
            self._process.send(words)
            # The server's word counts: what the trial itself has forked may outlive it, and holds its socket open.
            if self._process not in wait([self._process, self._control]):
                raise EOFError
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
            said = self._control.recv(64) if wait([self._control], PATIENCE) else b""
        if not said:
            self._server.kill()
            self._server.wait()
            self._server = None
            return "its server too"
        return signal.Signals(-int(said)).name if int(said) < 0 else f"exit status {int(said)}"


def serve(descriptor: int) -> None:
    """The server: forks a process for each socket it is sent, one at a time, and answers how that ended."""
    # What every fork would import: with the attempt PyTorch and the rest, and what an optimizer's first step imports.
    import torch._dynamo  # noqa: F401

    import study.sweep.worker.attempt  # noqa: F401

    with socket.socket(fileno=descriptor) as control, contextlib.suppress(ConnectionError):
        while (got := socket.recv_fds(control, 16, 1))[0]:
            (channel,) = got[1]
            if (process := os.fork()) == 0:
                control.close()
                _serve_attempts(channel)
            os.close(channel)
            _, status = os.waitpid(process, 0)
            control.send(str(os.waitstatus_to_exitcode(status)).encode())


def _serve_attempts(descriptor: int) -> NoReturn:
    """The forked process: does what it is asked until nobody asks any more."""
    code = 1
    try:
        os.set_inheritable(descriptor, False)
        channel = Connection(descriptor)
        threading.Thread(target=_end_with_worker, args=(channel,), name="worker", daemon=True).start()
        _answer(channel)
    except (EOFError, ConnectionError):
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)  # the server's own code goes on in the server alone


def _end_with_worker(channel: Channel) -> None:
    """End this process when its worker has, however that came; a trial may be deep in a long call."""
    poll = select.poll()
    poll.register(channel.fileno(), 0)  # nothing but a hang-up
    poll.poll()
    os._exit(0)


def _answer(channel: Channel) -> NoReturn:
    from study.sweep.worker.attempt import Attempt

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
                folder, *given = words
                os.chdir(folder)
                attempt = Attempt(*given)
            elif word == "step":
                assert attempt is not None
                report = attempt.step()
        except Exception as raised:
            error = _portable(raised)
        channel.send((error, report))


def _portable(error: Exception) -> Exception:
    """The exception with its traceback as a note; its text where it cannot be sent, for a user's may take anything."""
    error.add_note(traceback.format_exc())
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # whatever the exception's own class does when it is pickled; its whole text goes on
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
