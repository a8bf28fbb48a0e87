"""Injected failures: system calls that fail or kill, torn files, processes left behind or silent. All of them real."""

import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch

from study.store import layout, results
from study.sweep import watch
from study.sweep.worker import attempt, heartbeat
from tests.helpers import ROOT

STRACE = shutil.which("strace")
PUBLISHER = """
import os, signal, sys
from pathlib import Path
from study.store import results
rows = [{"study": "s", "trial": "t", "seed": 0, "status": "ok", "measure": "m", "value": 1.0, "deterministic": True}]
content = results.encode(rows, {"commit": "c"})
for line in sys.stdin:
    how, path = line.split()
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGSTOP)  # until strace is attached
        status = 0
        try:
            getattr(results, how)(Path(path), content)
        except OSError:
            status = 1
        except BaseException:
            status = 2
        os._exit(status)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
KILLED = -signal.SIGKILL
WAYS = {"publish": ("openat", "write", "fsync", "link", "unlink", "close"),
        "replace": ("openat", "write", "fsync", "rename", "close")}  # fmt: skip


@pytest.fixture(scope="module")
def publisher():
    """A process that publishes in a fork of itself, stopped until a tracer is attached."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT,
    )  # fmt: skip
    yield process
    process.stdin.close()
    process.wait(timeout=10)


def publish_under(publisher, how, path, inject):
    """Publish once with a fault injected; the exit status and whether the fault was hit."""
    print(how, path, file=publisher.stdin, flush=True)
    child = int(publisher.stdout.readline())
    while psutil.Process(child).status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)
    calls = inject.partition(":")[0]
    tracer = subprocess.Popen(
        [STRACE, "-p", str(child), "-e", f"trace={calls}", "-e", f"inject={inject}"], stderr=subprocess.PIPE, text=True
    )
    said = tracer.stderr.readline()
    assert "attached" in said, said
    os.kill(child, signal.SIGCONT)
    status = int(publisher.stdout.readline())
    return status, "INJECTED" in tracer.communicate(timeout=10)[1] or status == KILLED


def works(tmp_path):
    """strace can attach and inject here (containers may forbid it)."""
    done = subprocess.run([STRACE, "-e", "inject=fsync:error=EIO", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not STRACE, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO"])
@pytest.mark.parametrize("how", WAYS)
def test_a_publication_is_whole_or_absent_whatever_call_fails(how, fault, publisher, tmp_path):
    if not works(tmp_path):
        pytest.skip("strace cannot trace here")
    path = tmp_path / "trials" / "t.parquet"
    hits, reported = 0, 0
    for call in WAYS[how]:
        for n in range(1, 50):
            shutil.rmtree(path.parent, ignore_errors=True)
            status, hit = publish_under(publisher, how, path, f"{call}:{fault}:when={n}")
            if path.exists():
                assert results.read_trial(path).rows[0]["value"] == 1.0, (call, n, "torn")
            else:
                assert status != 0, (call, n, "reported done and absent")
            if not hit:
                break
            hits += 1
            reported += status != 0
        else:
            raise AssertionError(f"{call} never ran out")
    assert hits >= len(WAYS[how])
    assert reported >= hits - 2, "a failure was passed over in silence"


def damage(whole, stream, cuts=2000, flips=1500):
    """Torn and rotten copies of a file: cut short, cut and filled with zeros, with one bit flipped."""
    for _ in range(cuts // 2):
        cut = stream.randrange(len(whole))
        yield whole[:cut]
        if whole[cut:].strip(b"\0"):
            yield whole[:cut] + b"\0" * (len(whole) - cut)
    for _ in range(flips):
        rotten = bytearray(whole)
        rotten[stream.randrange(len(whole))] ^= 1 << stream.randrange(8)
        yield bytes(rotten)


def test_no_torn_or_rotten_result_is_accepted():
    rows = [{"study": "s", "trial": "t", "seed": 0, "status": "ok", "measure": f"m{i}", "value": i / 7,
             "deterministic": True} for i in range(20)]  # fmt: skip
    whole = results.encode(rows, {"commit": "c"})
    good = results.decode(whole)
    silent = 0
    for torn in damage(whole, random.Random(0)):
        try:
            silent += results.decode(torn) != good
        except results.Damaged:
            continue
    assert silent == 0


def test_no_torn_or_rotten_checkpoint_is_accepted():
    buffer = io.BytesIO()
    torch.save({"stage": 2, "weights": {"a": torch.arange(300.0)}}, buffer)
    whole = results.seal(buffer.getvalue())
    assert results.unseal(whole) == buffer.getvalue()
    assert all(results.unseal(torn) is None for torn in damage(whole, random.Random(0)))


def test_everything_damaged_is_set_aside_and_named(tmp_path, caplog):
    for name in ("failed/n.json", "checkpoints/c.pt", "bases/b.pt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"torn")
    (tmp_path / "checkpoints/good.pt").write_bytes(results.seal(b"whole"))
    results.mend(tmp_path)
    assert {p.name for p in (tmp_path / "damaged").iterdir()} == {"n.json", "c.pt", "b.pt"}
    assert [p.name for p in tmp_path.glob("[cb]*/*.pt")] == ["good.pt"]
    assert len(caplog.records) == 3
    assert all("is damaged and set aside" in r.getMessage() for r in caplog.records)


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path, caplog):
    path = tmp_path / "checkpoints" / "t.pt"
    results.replace(path, attempt._encode({"epoch": 3}))
    assert attempt._read_snapshot(path) == {"epoch": 3}
    path.write_bytes(path.read_bytes()[:-1])
    assert attempt._read_snapshot(path) is None
    assert "starts from the beginning" in caplog.text
    assert (tmp_path / "damaged/t.pt").exists()


SLEEPER = "import time; print('on', flush=True); time.sleep(600)"


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "on\n"
    yield process
    process.kill()
    process.wait()


def processes_file(folder, *entries):
    record = {"host": socket.gethostname(), "driver": 0, "processes": list(entries)}
    (folder / layout.PROCESSES).write_text(json.dumps(record))


def test_what_a_dead_driver_left_is_ended_and_nothing_else(tmp_path, sleeper):
    begun = heartbeat.started(psutil.Process(sleeper.pid))
    processes_file(tmp_path, {"pid": sleeper.pid, "started": begun - 100}, {"pid": os.getpid(), "started": 5.0})
    assert watch.end_left(tmp_path) == [], "a process of the same id that began at another time is somebody else's"
    assert sleeper.poll() is None
    processes_file(tmp_path, {"pid": sleeper.pid, "started": begun}, {"pid": 2**22 - 1, "started": begun})
    assert watch.end_left(tmp_path) == [sleeper.pid]
    assert not psutil.pid_exists(sleeper.pid)
    assert watch.end_left(tmp_path) == []
    (tmp_path / layout.PROCESSES).write_text("torn")
    assert watch.end_left(tmp_path) == []


def beat_of(process, folder):
    path = folder / layout.RUNNING / "t.json"
    path.parent.mkdir(exist_ok=True)
    note = {"pid": process.pid, "process_started": heartbeat.started(psutil.Process(process.pid)),
            "host": socket.gethostname(), "began": 0.0, "phase": "train", "epoch": 1}  # fmt: skip
    path.write_text(json.dumps(note))
    return path


def test_a_silent_worker_is_ended_and_a_beating_one_is_not(tmp_path, sleeper):
    path, said = beat_of(sleeper, tmp_path), []
    guard = watch.Watch(tmp_path, 0.5, said.append)
    for _ in range(8):
        guard.end_silent()
        path.touch()
        time.sleep(0.1)
    assert (sleeper.poll(), said) == (None, []), "a worker that beats was ended"
    deadline = time.monotonic() + 20
    while sleeper.poll() is None:
        guard.end_silent()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "hung for 0 s and was ended; the trial is tried again" in said[0]


def test_a_trial_that_does_not_move_stops_beating(tmp_path):
    still = heartbeat.Heartbeat(tmp_path, "t", limit=0.2)
    first = heartbeat.read(tmp_path)["t"]
    still.moved("train", 3)
    still.beat()
    assert (heartbeat.read(tmp_path)["t"]["phase"], first["phase"]) == ("train", "start")
    time.sleep(0.3)
    before = heartbeat.read(tmp_path)["t"]["seen"]
    still.beat()
    assert heartbeat.read(tmp_path)["t"]["seen"] == before
    still.end()
    assert heartbeat.read(tmp_path) == {}


def test_an_attempt_that_nobody_asks_on_stops_beating_and_its_worker_is_ended(tmp_path, sleeper, monkeypatch):
    monkeypatch.setattr(heartbeat, "LONGEST_WAIT", 0.2)
    worker = {"pid": sleeper.pid, "process_started": heartbeat.started(psutil.Process(sleeper.pid))}
    gone = subprocess.Popen(["true"])
    zombie = {"pid": gone.pid, "process_started": heartbeat.started(psutil.Process(gone.pid))}
    waiting = heartbeat.Heartbeat(tmp_path, "t", limit=60, node="n", worker=worker)
    for asked, beats in ((False, True), (True, False)):
        waiting.waits(asked)
        time.sleep(0.3)
        before = heartbeat.read(tmp_path)["t"]["seen"]
        waiting.beat()
        assert (heartbeat.read(tmp_path)["t"]["seen"] != before) is beats
    note = heartbeat.read(tmp_path)["t"] | zombie
    assert heartbeat.same(pid=zombie["pid"], begun=zombie["process_started"]) is None, "it waits to be reaped"
    assert heartbeat.end(note)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not heartbeat.end(note), "both are gone"
    gone.wait()
