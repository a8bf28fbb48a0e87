"""Sweeps as processes: started, read, looked into, waited for."""

import os
import signal
import subprocess
import sys
import time

import psutil


def start(*words, cwd, group=False):
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "study.launch", *words], cwd=cwd, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=group,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip


def read_until(process, text):
    """The driver's output up to the first line that holds `text`."""
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said:\n{''.join(said)}")


def workers_of(pid):
    """The worker processes of a driver's Ray that hold a trainable."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.cmdline() and "Trainable" in child.cmdline()[0]:
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_until(true, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
