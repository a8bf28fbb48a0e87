"""One action in a forked child: a fresh process for the price of a fork, since all is imported already."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MOST_CPU, MOST_IDLE = 60.0, 30.0  # seconds; wall time alone would call a busy machine's children hung
MOST_BYTES = 4 << 30  # beyond what is imported: what a torn file asks for must fail there, not take the machine
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status (negative: the signal that killed it), whether it hung and was killed for it,
    what it printed, its processor seconds."""

    status: int
    hung: bool
    out: str
    err: str
    seconds: float


def forked(
    action: Callable[[], int | None], folder: Path, log: Path, env: Mapping[str, str], encoding: str = "utf-8"
) -> Ended:
    """Run `action` in a child of its own session, working in `folder`, and wait for its end.

    Its output goes to `log`.out and `log`.err. It hangs where it used MOST_CPU processor seconds, or slept MOST_IDLE
    seconds in which it used none.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    files = [log.with_suffix(suffix) for suffix in (".out", ".err")]
    began = time.monotonic()
    if (pid := os.fork()) == 0:
        _child(action, folder, files, env, encoding)
    status, hung, seconds = _wait(pid, began)
    out, err = (path.read_text(errors="replace") for path in files)
    return Ended(status, hung, out, err, seconds)


def _child(
    action: Callable[[], int | None], folder: Path, files: list[Path], env: Mapping[str, str], encoding: str
) -> None:
    """Never returns: what Python does with an action that raises or exits, without the interpreter's own end."""
    status = 1
    try:
        os.setsid()
        os.umask(0o022)
        os.chdir(folder)
        os.environ.update(env)
        _limit()
        for number, path in enumerate([Path(os.devnull), *files]):
            handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_TRUNC if number else 0), 0o644)
            os.dup2(handle, number)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
        try:
            status = action() or 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 255)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(pid: int, began: float) -> tuple[int, bool, float]:
    """Exit status, whether it hung, processor seconds; whatever the child left of its session is killed."""
    moved, used, pause = began, -1.0, 0.002
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            _kill(pid)
            return os.waitstatus_to_exitcode(status), False, usage.ru_utime + usage.ru_stime
        asleep, cpu = _state(pid)
        now = time.monotonic()
        if cpu != used or not asleep:
            moved, used = now, cpu
        if cpu > MOST_CPU or now - moved > MOST_IDLE:
            _kill(pid)
            os.kill(pid, signal.SIGKILL)  # a child that has not come to its own session yet
            _, status, usage = os.wait4(pid, 0)
            return os.waitstatus_to_exitcode(status), True, usage.ru_utime + usage.ru_stime
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)


def _state(pid: int) -> tuple[bool, float]:
    """Whether a process that has not been waited for sleeps, and the processor seconds of it and its dead children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0] == "S", sum(map(int, fields[11:15])) / TICKS


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
