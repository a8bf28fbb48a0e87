"""Attempts in a process of their own, forked from a server that has imported PyTorch once.

A trial that takes its process with it (a machine short of memory, a segmentation fault in a library) costs the worker
around it a fork in place of all its imports. After a failure on a GPU, whose context may be beyond use, the next trial
gets a new process.

    worker ── socket, one per process ── process of the attempts
       └───── socket ── server (fork_server): forks it, and tells when and how it ended

Both end with the worker, for then their sockets close.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
from multiprocessing.connection import wait
from typing import Any

from study.sweep.plan.job import Job
from study.sweep.worker import fork_server, heartbeat

PATIENCE = 30.0  # seconds that a process may take to end, once nobody asks it any more


class Ended(RuntimeError):
    """The process of an attempt ended under it, or could not be had: killed, out of memory, crashed."""


class Forked:
    """Attempts one after another, in a process that is replaced when it has ended.

    `node` names the machine in the attempts' signs of life.
    """

    def __init__(self, node: str = "") -> None:
        self.node = node
        self._server: fork_server.Server | None = None
        self._process: fork_server.Channel | None = None
        self._start()

    def begin(self, job: Job) -> None:
        """A new attempt at a job, in place of the last one; raises what that raises."""
        # It is asked nothing here, so that a word of its own is its end, which the server may not have told yet.
        if self._process is not None and wait([self._control, self._process], 0):
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
                self._server, self._control = fork_server.joined() or fork_server.own()
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
