"""SIGTERM, SIGHUP and Ctrl-C: the status of the first one, whatever runs when it comes."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.store import layout
from study.sweep.worker import signals
from tests.processes import start

COMMAND = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=30", "--seeds", "1", "--in-process"]
KINDS = [
    (signal.SIGTERM, signals.Terminated, 143),
    (signal.SIGHUP, signals.Terminated, 129),
    (signal.SIGINT, KeyboardInterrupt, 130),
]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "kind", "status"), KINDS)
def test_a_signal_stops_the_block_and_says_its_status(number, kind, status):
    before = signal.getsignal(number)
    with signals.handled():
        with pytest.raises(kind):
            send(number)
        assert signals.leaving() == status
        send(number)  # nothing more disturbs what is left to do
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "kind", "status"), KINDS)
def test_a_held_signal_waits_for_a_check_or_the_end_of_the_block(number, kind, status):
    with signals.handled():
        reached = []
        with pytest.raises(kind), signals.held():
            reached.append(send(number))
        assert reached
        with pytest.raises(kind), signals.held(), signals.held():
            signals.check()
        with pytest.raises(kind), signals.held():
            raise RuntimeError("the raylet, which has had the same signal, is gone")


def test_a_handler_that_a_held_block_sets_is_not_left():
    with signals.handled():
        ours = signal.getsignal(signal.SIGTERM)
        with signals.held():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
        assert signal.getsignal(signal.SIGTERM) is ours


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with signals.handled():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def catches(pid, number):
    """Whether the process has a handler for a signal."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except FileNotFoundError:
        return False
    return bool(int(lines["SigCgt"], 16) >> (number - 1) & 1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_at_the_start_ends_with_its_status_and_nothing_is_written(number, status, tmp_path):
    process = start(*COMMAND, "--output", "out", cwd=tmp_path)
    while process.poll() is None and not catches(process.pid, number):
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_signal_at_the_end_names_the_way_on_too(here, tmp_path, monkeypatch):
    from study import tracking

    close = tracking.Tracker.close
    monkeypatch.setattr(tracking.Tracker, "close", lambda self, *words: (send(signal.SIGTERM), close(self, *words))[1])
    done = here(*COMMAND, "--output", "out", cwd=tmp_path)
    assert done.returncode == 143, done.stderr
    assert done.stderr.rstrip().endswith("--resume")
    assert "3 of 3 trials are finished and kept. Go on with:" in done.stderr
    assert (tmp_path / "out" / layout.REPORT).exists()
    monkeypatch.undo()
    again = here(*COMMAND, "--output", "out", "--resume", cwd=tmp_path)
    assert again.returncode == 0
    assert "Nothing left to run." in again.stderr


def test_a_terminal_that_is_closed_ends_the_sweep_with_its_own_status(tmp_path):
    """All that the command says afterwards is written to a terminal that is gone."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "study.launch", *COMMAND, "--output", "out"])
    said = b""
    while b"/3" not in said:  # of the bar
        said += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129


def test_a_command_that_cannot_leave_is_ended_with_the_same_status_and_the_way_on():
    """As where the main thread waits in C++ for a Ray that has had the same signal."""
    script = """
import os
from study.sweep.worker import signals
signals.STUCK_SECONDS = 0.2
with signals.handled(), signals.held():
    signals.way_on("go on with this")
    os.write(1, b"ready")
    while True:
        os.read(0, 1)
"""
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, **said)
    assert process.stdout.read(5) == b"ready"
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said == b"go on with this"
