"""The server of processes that the workers of a machine share: as good as one of their own, and never in the way."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from study.store import results
from study.sweep.worker import fork_server, heartbeat
from study.sweep.worker.attempt import Attempt
from study.sweep.worker.forked import Forked
from tests.attempts import finish, job
from tests.helpers import ROOT, tiny_trial


@pytest.fixture(scope="module")
def shared():
    with fork_server.shared():
        (server,) = [p for p in psutil.Process().children() if "serve_all" in " ".join(p.cmdline())]
        yield server


def ends(forked):
    while not (report := forked.step())["done"]:
        pass
    return report


def process_of(folder):
    (note,) = heartbeat.read(folder).values()
    return psutil.Process(note["pid"])


def test_two_workers_have_a_server_each_of_one_that_has_imported_once(shared, tmp_path):
    finish(Attempt(job(tmp_path / "here", tiny_trial())))
    workers = [Forked(), Forked()]
    places = [tmp_path / "a", tmp_path / "b"]
    for forked, place in zip(workers, places, strict=True):
        forked.begin(job(place, tiny_trial(), report_seconds=0.0))
        forked.step()
    servers = [process_of(place).parent() for place in places]
    assert len(set(servers)) == 2
    assert {s.parent() for s in servers} == {shared}
    for forked in workers:
        assert ends(forked)["status"] == "ok"
    here, *there = (
        [results.rows_digest(t.rows, True) for t in results.scan(where).values()]
        for where in (tmp_path / "here", *places)
    )
    assert there == [here, here]
    for forked in workers:
        forked.end()


WORKER = """
import os, sys
sys.path.append(sys.argv[2])
os.nice(3)
open("/proc/self/oom_score_adj", "w").write("500")
from pathlib import Path
from study.sweep.worker.forked import Forked
from tests.attempts import job
from tests.helpers import tiny_trial
from study.spec.config import Build, Load
import dataclasses
forked = Forked()
deadly = dataclasses.replace(tiny_trial(), stages=(Load(), Build(model="tells:build")))
forked.begin(job(Path(sys.argv[1]), deadly))
while not forked.step()["done"]:
    pass
"""
TELLS = """
import os, sys
def build(shape, classes):
    score = open("/proc/self/oom_score_adj").read().strip()
    print("told", os.environ["A_WORD"], os.environ.get("GONE"), os.getpriority(os.PRIO_PROCESS, 0), score, flush=True)
    print("and a complaint", file=sys.stderr, flush=True)
    raise ValueError
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_trial_has_the_environment_the_output_and_the_priority_of_its_worker(shared, tmp_path, monkeypatch):
    (tmp_path / "tells.py").write_text(TELLS)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    environment = {**os.environ, "A_WORD": "of the worker"}
    words = [sys.executable, "-c", WORKER, str(tmp_path / "out"), str(tmp_path)]
    said = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == f"told of the worker None {before + 3} 500\n"
    assert "and a complaint" in said.stderr


def test_a_worker_that_goes_before_it_has_said_what_it_is_leaves_nothing(shared):
    for words in (b"", b"join"):
        control = socket.socket(socket.AF_UNIX)
        control.connect(os.environ[fork_server.SHARED])
        control.sendall(words)
        control.close()
    end = time.monotonic() + 15
    while shared.children() and time.monotonic() < end:
        time.sleep(0.1)
    assert shared.children() == []
    forked = Forked()
    forked.end()


def test_its_death_costs_a_worker_nothing_and_the_next_one_has_a_server_of_its_own(shared, tmp_path):
    joined = Forked()
    shared.kill()
    psutil.wait_procs([shared], timeout=10)
    joined.begin(job(tmp_path, tiny_trial(measures=False)))
    assert ends(joined)["status"] == "ok"
    own = Forked()
    own.begin(job(tmp_path, tiny_trial(seed=1, measures=False), report_seconds=0.0))
    own.step()
    assert process_of(tmp_path).parent().ppid() == os.getpid()
    assert ends(own)["status"] == "ok"
    joined.end()
    own.end()


DRIVER = """
import os, sys, time
from study.sweep.worker import fork_server
from study.sweep.worker.forked import Forked
with fork_server.shared():
    print(os.environ[fork_server.SHARED], flush=True)
    Forked()
    print("joined", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["killed", "asked"])
def test_it_ends_with_the_command_that_started_it(how, tmp_path):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    path = Path(driver.stdout.readline().strip())
    assert path.parent.stat().st_mode & 0o077 == 0, "who connects may have anything run"
    assert driver.stdout.readline() == "joined\n"
    started = psutil.Process(driver.pid).children(recursive=True)
    assert len(started) == 3
    (driver.kill if how == "killed" else lambda: driver.send_signal(2))()
    driver.communicate()
    assert psutil.wait_procs(started, timeout=15)[1] == []
    assert how == "killed" or not path.parent.exists()


def test_without_room_for_a_socket_each_worker_has_a_server_of_its_own(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)  # over what the address of a socket may hold
    long.mkdir()
    monkeypatch.delenv(fork_server.SHARED, raising=False)
    monkeypatch.setattr(fork_server.tempfile, "mkdtemp", lambda prefix: str(long))
    with fork_server.shared():
        assert fork_server.SHARED not in os.environ
        assert fork_server.joined() is None
