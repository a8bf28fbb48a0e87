"""A Ray of this process's own: its start, its token, and what it is not to know."""

import atexit
import contextlib
import functools
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import parameter, services
from ray.tune.execution import class_cache

from study.spec.errors import UsageError
from study.sweep.worker import signals

STARTS = 3  # a raylet gives its agents 15 s: too few where the machine is busy with something else
abandoned: list[str] = []  # the Ray that was: nothing more is asked of it
TOKEN = Path(".ray", "auth_token")  # in the home folder


def start(**how: Any) -> None:
    """Start a Ray on loopback; UsageError when none comes up."""
    keep_token()
    # all of it is inherited already; with an environment of its own a worker would have to wait for a new process
    class_cache.ENV_VARS_TO_PROPAGATE, class_cache.DEFAULT_ENV_VARS = set(), {}
    before = psutil.Process().children(recursive=True)
    for left in reversed(range(STARTS)):
        try:
            with _on_its_own():
                ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **how)
            return
        except Exception as error:  # Ray raises no narrower kind
            ray.shutdown()
            for process in psutil.Process().children(recursive=True):  # what of it did start
                if process not in before:
                    with contextlib.suppress(psutil.Error):  # it has just ended by itself
                        process.kill()
            signals.check()
            if not left:
                raise UsageError(f"no Ray could be started here ({str(error).splitlines()[0]})") from None


@contextlib.contextmanager
def _on_its_own() -> Iterator[None]:
    """Ray's processes in sessions of their own: what a closed terminal or `timeout` sends to the command's group is for
    the command, which then ends its Ray; without its Ray it could not end well. Its agent at any free port: at the
    usual one a second Ray of this machine starts 3 s later, for it tries six times before it goes on without."""
    popen, parameters = services.ConsolePopen, parameter.RayParams
    services.ConsolePopen = functools.partial(popen, start_new_session=True)
    parameter.RayParams = functools.partial(parameters, dashboard_agent_listen_port=0)
    try:
        yield
    finally:
        services.ConsolePopen, parameter.RayParams = popen, parameters


def keep_environment() -> None:
    """Tune hands no credentials of this environment (AWS_*) to its workers: Ray writes what they are handed into a log.

    A worker has the environment of the machine's own Ray, and of this process where that is one that it started.
    """
    class_cache.ENV_VARS_TO_PROPAGATE = {n for n in class_cache.ENV_VARS_TO_PROPAGATE if not n.startswith("AWS_")}


def keep_token() -> None:
    """Ray's token for this account's own eyes: made here where it is wanted and there is none, for Ray would make it
    readable for all under the usual umask."""
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    if mode != "token" or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = Path.home() / TOKEN
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if path.stat().st_mode & 0o077 and path.stat().st_uid == os.geteuid():
            path.chmod(0o600)
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")  # 0600, whatever the umask
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(32))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:  # another sweep has just made it
            return
    finally:
        Path(temporary).unlink()


def gone() -> str:
    """Which of the processes that a Ray of this process's own needs has ended, or nothing."""
    node = ray._private.worker._global_node
    dead = [name for name, _ in node.dead_processes()] if node else []
    return next((name for name in ("gcs_server", "raylet") if name in dead), "")


def abandon(why: str) -> None:
    """Leave a Ray that is gone without a word to it, which might take minutes; the interpreter's end is one too."""
    abandoned.append(why)

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(signals.exit_status())

    atexit.register(leave)  # the last to be registered is the first to be called
    if node := ray._private.worker._global_node:
        node.kill_all_processes(check_alive=False, allow_graceful=False)
