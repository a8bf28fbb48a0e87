"""The process apart in which a worker's attempts run: killed, orphaned, told of errors; its rows are those of any."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from study.spec.config import Build, Load
from study.store import results
from study.sweep.worker import heartbeat
from study.sweep.worker.attempt import Attempt
from study.sweep.worker.forked import Ended, Forked
from tests.attempts import finish, job
from tests.helpers import ROOT, tiny_trial


@pytest.fixture(scope="module")
def forked():
    made = Forked("node of the test")
    yield made
    made.end()


def ends(forked):
    while not (report := forked.step())["done"]:
        pass
    return report


def test_its_rows_are_those_of_this_process_and_it_serves_one_job_after_another(forked, tmp_path):
    trials = [tiny_trial(seed=s) for s in (0, 1)]
    for trial in trials:
        finish(Attempt(job(tmp_path / "here", trial)))
        forked.begin(job(tmp_path / "there", trial))
        assert ends(forked)["status"] == "ok"
    here, there = (
        {n: results.rows_digest(t.rows, True) for n, t in results.scan(tmp_path / where).items()}
        for where in ("here", "there")
    )
    assert here == there
    assert len(there) == 2


def pid_in(folder):
    (note,) = heartbeat.read(folder).values()
    return note["pid"]


@pytest.mark.parametrize("and_its_server", [False, True])
def test_killed_it_says_how_and_the_next_attempt_goes_on_in_another(and_its_server, forked, tmp_path):
    long = job(tmp_path, tiny_trial(measures=False, epochs=40), report_seconds=0.0, checkpoint_seconds=0.0)
    forked.begin(long)
    while forked.step()["epoch"] < 3:
        pass
    first = pid_in(tmp_path)
    server = psutil.Process(first).parent()
    if and_its_server:
        server.kill()
        psutil.wait_procs([server], timeout=10)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Ended, match="its server too" if and_its_server else "SIGKILL"):
        forked.step()
    with pytest.raises(Ended):
        forked.step()
    forked.close()
    forked.begin(long)
    assert pid_in(tmp_path) != first
    assert (psutil.Process(pid_in(tmp_path)).parent() == server) is not and_its_server
    assert forked.step()["epoch"] > 3, "it goes on from the last epoch that was checkpointed"
    assert ends(forked)["status"] == "ok"


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_one_that_waits_for_its_next_job_may_end_too(how, forked, tmp_path):
    forked.begin(job(tmp_path, tiny_trial(measures=False), report_seconds=0.0))
    forked.step()
    first = psutil.Process(pid_in(tmp_path))
    if how == "killed":
        first.kill()
        psutil.wait_procs([first], timeout=10)
    else:
        forked.end()
    assert not first.is_running()
    forked.begin(job(tmp_path, tiny_trial(seed=1, measures=False)))
    assert ends(forked)["status"] == "ok"


def test_a_server_that_cannot_start_is_the_end_of_a_process_too(forked, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(3):  # its socket may be closed before, while and after it is written to
        with pytest.raises(Ended, match="its server too"):
            Forked()
    forked.begin(job(tmp_path, tiny_trial(measures=False, epochs=1000)))
    server = psutil.Process(pid_in(tmp_path)).parent()
    os.kill(pid_in(tmp_path), signal.SIGKILL)
    with pytest.raises(Ended, match="SIGKILL"):
        forked.step()
    server.kill()
    with pytest.raises(Ended, match="its server too"):
        forked.begin(job(tmp_path, tiny_trial(measures=False)))
    monkeypatch.undo()
    forked.begin(job(tmp_path, tiny_trial(measures=False)))
    assert ends(forked)["status"] == "ok"


LEAVES_A_CHILD = """
import os, signal, time
def build(shape, classes):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_that_outlives_a_trial_keeps_nobody_waiting(forked, tmp_path):
    (tmp_path / "leaves.py").write_text(LEAVES_A_CHILD)
    deadly = dataclasses.replace(tiny_trial(), stages=(Load(), Build(model="leaves:build")))
    began = time.monotonic()
    forked.begin(job(tmp_path, deadly, search_path=str(tmp_path)))
    with pytest.raises(Ended, match="SIGKILL"):
        forked.step()
    assert time.monotonic() - began < 30
    forked.begin(job(tmp_path, tiny_trial(measures=False)))
    assert ends(forked)["status"] == "ok"


def test_what_a_trial_cannot_begin_with_says_where(forked, tmp_path):
    with pytest.raises(AttributeError) as raised:
        forked.begin("not a job")
    assert "worker/attempt.py" in "".join(raised.value.__notes__), "the traceback of the process comes along"


def test_a_fork_may_use_several_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    made = Forked()
    try:
        made.begin(job(tmp_path, tiny_trial(), threads=2))
        assert ends(made)["status"] == "ok"
    finally:
        made.end()


def test_an_error_of_a_file_comes_through_as_it_is(forked, tmp_path):
    (tmp_path / "trials").write_text("in the way")
    forked.begin(job(tmp_path, tiny_trial(measures=False)))
    with pytest.raises(NotADirectoryError) as raised:
        ends(forked)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOTDIR, str(tmp_path / "trials"))
    (tmp_path / "trials").unlink()
    forked.begin(job(tmp_path, tiny_trial(measures=False)))
    assert ends(forked)["status"] == "ok", "the process is as good as new"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fork_may_use_a_gpu(forked, tmp_path):
    for seed in (0, 1):
        forked.begin(job(tmp_path, tiny_trial(seed=seed), device="cuda", gpu_fraction=0.25))
        assert ends(forked)["status"] == "ok"
        forked.end()


OWNER = """
import sys
from pathlib import Path
from study.sweep.worker.forked import Forked
from tests.helpers import tiny_trial
from tests.attempts import job
forked = Forked()
forked.begin(job(Path(sys.argv[1]), tiny_trial(measures=False, epochs=10_000)))
print("begun", flush=True)
forked.step()
"""


def test_it_does_not_outlive_its_owner(tmp_path):
    words = [sys.executable, "-c", OWNER, str(tmp_path)]
    root = ROOT
    owner = subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "begun\n"
        time.sleep(0.5)  # in the midst of its training
        started = psutil.Process(owner.pid).children(recursive=True)
        assert len(started) >= 2
    finally:
        owner.kill()
        owner.communicate()
    assert psutil.wait_procs(started, timeout=30)[1] == []
