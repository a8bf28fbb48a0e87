"""The server that forks the processes of attempts, and what such a process does.

It imports PyTorch and never trains: what is forked must hold no threads and no GPU. One worker may have a server of its
own (`own`); on a machine whose Ray this command starts, `shared` starts one before Ray, which forks a server for each
worker that comes (`joined`): PyTorch is imported once, while Ray starts.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

Channel: TypeAlias = "Connection[Any, Any]"

SHARED = "STUDY_FORK_SERVER"  # the socket of this machine's shared server
START = """# study.sweep.worker.fork_server
import os, sys
sys.path[:] = {path!r}
from study.sweep.worker import fork_server
fork_server.{what}({fd})
os._exit(0)"""  # without the seconds in which Python takes down what it has imported
OOM_SCORE = Path("/proc/self/oom_score_adj")


class Joined:
    """A server that the shared one has forked for this worker."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """End it, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """It is the shared server's to wait for."""


Server: TypeAlias = "subprocess.Popen[bytes] | Joined"


def _launch(what: str, descriptor: int, **how: Any) -> "subprocess.Popen[bytes]":
    code = START.format(path=sys.path, what=what, fd=descriptor)
    return subprocess.Popen([sys.executable, "-u", "-c", code], pass_fds=[descriptor], **how)


def own() -> tuple[Server, socket.socket]:
    """A server of this worker's own, and the socket it listens to; OSError where none can be had."""
    control, theirs = socket.socketpair()
    with theirs:
        return _launch("serve", theirs.fileno(), stdin=subprocess.DEVNULL), control


def joined() -> tuple[Server, socket.socket] | None:
    """A server from the one that this machine's workers share, or None where there is none."""
    if not (path := os.environ.get(SHARED)):
        return None
    control = socket.socket(socket.AF_UNIX)
    try:
        control.connect(path)
        socket.send_fds(control, [b"join"], [1, 2])
        with Connection(os.dup(control.fileno())) as words:
            words.send(_surroundings())
            return Joined(words.recv()), control
    except (OSError, EOFError):  # the shared one has ended: then a worker has one of its own
        control.close()
        return None


def _surroundings() -> dict[str, Any]:
    """What a process inherits from the one that starts it, for a process that another one starts."""
    score = OOM_SCORE.read_text() if OOM_SCORE.exists() else ""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    return {"path": sys.path, "environment": dict(os.environ), "niceness": niceness, "oom_score": score}


def _take(control: socket.socket) -> None:
    """Be to the worker at the other end as if it had started this process: its output, environment and priority."""
    for theirs, ours in zip(socket.recv_fds(control, 4, 2)[1], (1, 2), strict=True):
        os.dup2(theirs, ours)
        os.close(theirs)
    with Connection(os.dup(control.fileno())) as words:
        given = words.recv()
        sys.path[:] = given["path"]
        os.environ.clear()
        os.environ.update(given["environment"])
        with contextlib.suppress(OSError):  # lower than this process's own, which takes a privilege
            os.setpriority(os.PRIO_PROCESS, 0, given["niceness"])
            if given["oom_score"]:
                OOM_SCORE.write_text(given["oom_score"])
        words.send(os.getpid())


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """A server for all workers that inherit this process's environment from now on; it ends with this process.

    Where none can be had each worker has one of its own.
    """
    folder = tempfile.mkdtemp(prefix="study-fork-")  # 0700: who connects may have anything run
    path = os.path.join(folder, "socket")
    server = None
    try:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(128)
            # as Ray starts its workers: a library that starts threads when it is imported is not to, before a fork
            environment = {"OMP_NUM_THREADS": "1", **os.environ}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
            server = _launch("serve_all", listener.fileno(), stdin=subprocess.PIPE, env=environment, **quiet)
            os.environ[SHARED] = path
        yield
    finally:
        os.environ.pop(SHARED, None)
        if server:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _import() -> None:
    """What every fork would import: with the attempt PyTorch and the rest, and what an optimizer's step imports."""
    import torch._dynamo  # noqa: F401

    import study.sweep.worker.attempt  # noqa: F401


def serve_all(descriptor: int) -> None:
    """The shared server: a server for each that connects, until the command that started it closes its stdin."""
    _import()
    with socket.socket(fileno=descriptor) as listener:
        while sys.stdin.fileno() not in (ready := select.select([listener, sys.stdin.fileno()], [], [], 1.0)[0]):
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not ready:
                continue
            control, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                with contextlib.suppress(OSError, EOFError):
                    _take(control)
                    _serve(control)
                os._exit(0)
            control.close()


def serve(descriptor: int) -> None:
    """A worker's own server."""
    _import()
    with socket.socket(fileno=descriptor) as control:
        _serve(control)


def _serve(control: socket.socket) -> None:
    """Fork a process for each socket that is sent, one at a time, and answer how that ended."""
    with contextlib.suppress(ConnectionError):
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
