"""S3 under two drivers, readers, sleepers and silent workers: who may write what, and what is noticed."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from study.launch import main
from study.store import layout, lease, mirror, places, results
from study.sweep import runner, watch
from study.sweep.worker import heartbeat
from tests.folders import make_folder, rows
from tests.processes import wait_until

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "epochs=1"]


# The lock and study.json


def test_a_driver_that_slept_while_another_came_and_went_stops(place, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: told.append((pid, number)))
    with lease.Lease(place, tmp_path) as mine:
        (place / "lock.json").unlink()
        wait_until(lambda: told)
        assert mine.lost
    assert told == [(os.getpid(), lease.signal.SIGTERM)]
    assert not (place / "lock.json").exists()


def test_a_driver_that_slept_does_not_write_its_successors_study(place, tmp_path, monkeypatch):
    with lease.Lease(place, tmp_path) as first:
        assert first.write_study(b"1")
        assert first.write_study(b"2")
        monkeypatch.setattr(lease, "STALE_SECONDS", -1.0)
        with lease.Lease(place, tmp_path / "other") as second:
            assert second.write_study(b"3")
        assert not first.write_study(b"4")
        assert first.lost
    assert (place / "study.json").read_bytes() == b"3"


def test_a_study_whose_answer_was_lost_is_written_all_the_same(place, tmp_path, monkeypatch):
    put = places.S3Path.put

    def repeated(self, content, **conditions):
        put(self, content, **conditions)
        return put(self, content, **conditions)  # as the client does when the first answer never came

    with lease.Lease(place, tmp_path) as mine, monkeypatch.context() as patch:
        patch.setattr(places.S3Path, "put", repeated)
        assert mine.write_study(b"1")
        assert mine.write_study(b"2")
    assert (place / "study.json").read_bytes() == b"2"


def test_a_sweep_whose_output_was_taken_over_ends_and_says_so(place, here, tmp_path, monkeypatch):
    clean_up = runner.clean_up

    def taken(output):
        places.replace(place / "study.json", b"the successor's")
        return clean_up(output)

    monkeypatch.setattr(runner, "clean_up", taken)
    done = here(*SMOKE, "--output", str(place), cwd=tmp_path)
    assert done.returncode == 143
    assert f"Another driver has taken over {place}." in done.stderr
    assert (place / "study.json").read_bytes() == b"the successor's"
    assert not [name for name in place.listing() if name.startswith(("trials/", "report"))]


# The driver's copy


@pytest.mark.parametrize("way", ["a reader", "a driver"])
def test_what_comes_while_a_copy_is_brought_up_to_date_stays(way, place, monkeypatch):
    places.replace(place / "study.json", b"{}")
    results.publish_trial(place, "old", rows(trial="old"), {})
    mirror.pull(place)
    (place / "trials" / "old.parquet").unlink()
    listing = places.S3Path.listing

    def late(self):
        there = listing(self)
        results.publish_trial(place, "new", rows(trial="new"), {})
        mirror.fetch_trial(place, "new")
        return there

    with monkeypatch.context() as patch:
        patch.setattr(places.S3Path, "listing", late)
        (mirror.local if way == "a reader" else mirror.pull)(place)
    there = {"a reader": {"old", "new"}, "a driver": {"new"}}[way]
    assert set(results.scan(mirror.working_folder(place))) == there


def test_readers_and_a_refused_driver_leave_the_drivers_copy_alone(place, here, tmp_path):
    folder = mirror.working_folder(place)
    with lease.lock(folder, place):
        (folder / "search.journal").write_text("not sent yet")
        before = {p: p.read_bytes() for p in folder.rglob("*")}
        assert mirror.local(place) != folder
        assert here("status", str(place), cwd=tmp_path).returncode == 2
        done = here(*SMOKE, "--output", str(place), cwd=tmp_path)
        assert (done.returncode, {p: p.read_bytes() for p in folder.rglob("*")}) == (2, before), done.stderr


# Signs of life


def test_a_note_in_the_store_is_written_now_and_then_and_gone_at_the_end(place, monkeypatch):
    puts, put = [], places.S3Path.put
    monkeypatch.setattr(places.S3Path, "put", lambda self, *args: (puts.append(self.name), put(self, *args)))
    beating = heartbeat.Heartbeat(place, "t", limit=9, node="n1")
    for epoch in range(20):
        beating.moved("train", epoch)
        beating.beat()
    assert puts == ["t.json"], "each costs money"
    monkeypatch.setattr(beating, "pace", 0.0)
    beating.beat()
    said = heartbeat.read(place)["t"]
    assert (said["phase"], said["epoch"], said["node"], said["pid"]) == ("train", 19, "n1", os.getpid())
    assert abs(said["seen"] - time.time()) < 5
    beating.end()
    assert heartbeat.read(place) == {}


@pytest.mark.parametrize("kind", ["disk", "S3"])
def test_no_beat_outlives_its_attempt(kind, place, tmp_path, monkeypatch):
    output, under_way, go = (tmp_path if kind == "disk" else place), threading.Event(), threading.Event()
    beating = heartbeat.Heartbeat(output, "t", limit=9)
    monkeypatch.setattr(beating, "pace", 0.0)
    dumps = json.dumps

    def slow(note):
        under_way.set()
        go.wait(10)
        return dumps(note)

    monkeypatch.setattr(heartbeat.json, "dumps", slow)
    beat, end = threading.Thread(target=beating.beat), threading.Thread(target=beating.end)
    beat.start()
    assert under_way.wait(10)
    end.start()
    time.sleep(0.2)
    go.set()
    beat.join()
    end.join()
    beating.beat()
    assert heartbeat.read(output) == {}


def test_status_of_a_prefix_shows_what_runs_on_any_machine(place, tmp_path, capsys):
    manifest, names = make_folder(tmp_path / "made", 2)
    places.replace(place / "study.json", json.dumps(manifest.record() | {"trials": [*names, "a"]}).encode())
    running = heartbeat.Heartbeat(place, "a", limit=9)
    assert main(["status", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] == {}, "a note without a driver is a leftover"
    with lease.Lease(place, tmp_path / "another machine's"):
        assert main(["status", str(place)]) == 0
        told = capsys.readouterr().out
        assert f"being run by process {os.getpid()}" in told
        assert f"  a: start, 0 s, process {os.getpid()} on {socket.gethostname()}\n" in told, "silent, or not there"
    running.end()


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def note_of(process, place, host):
    """The note of a worker that beats no more."""
    note = {"pid": process.pid, "process_started": heartbeat.started(psutil.Process(process.pid)), "host": host,
            "node": "n1", "began": 0.0, "phase": "train", "epoch": 1}  # fmt: skip
    places.replace(place / layout.RUNNING / "t.json", json.dumps(note).encode())
    return note


def test_a_silent_worker_of_a_prefix_is_ended_and_a_beating_one_is_not(place, sleeper, monkeypatch):
    monkeypatch.setattr(heartbeat, "STORE_SECONDS", 0.5)
    said = []
    guard = watch.Watch(place, 0.1, said.append)
    assert guard.patience == 2, "no worker is ended for beats that were not due"
    until = time.monotonic() + 4
    while time.monotonic() < until:
        note_of(sleeper, place, socket.gethostname())
        guard.end_silent()
        time.sleep(0.1)
    assert (sleeper.poll(), said) == (None, []), "a worker that beats was ended"
    wait_until(lambda: guard.end_silent() or sleeper.poll() is not None)
    assert "hung for 2 s and was ended; the trial is tried again" in said[0]


def test_a_store_that_was_away_makes_no_worker_silent(place, sleeper, monkeypatch):
    monkeypatch.setattr(heartbeat, "STORE_SECONDS", 0.05)
    note_of(sleeper, place, socket.gethostname())
    said = []
    guard = watch.Watch(place, 0.5, said.append)
    guard.end_silent()
    with monkeypatch.context() as patch:
        patch.setattr(places.S3Path, "listing", lambda self: (_ for _ in ()).throw(places.Unavailable("away")))
        time.sleep(0.6)
        with pytest.raises(places.Unavailable):
            guard.end_silent()
    guard.end_silent()
    assert (sleeper.poll(), said) == (None, [])


@pytest.mark.parametrize(("answer", "words"), [(True, "hung for 0 s and was ended"), (False, None),
                                               (TimeoutError(), "its machine does not answer")])  # fmt: skip
def test_a_silent_worker_of_another_host_is_ended_there(answer, words, tmp_path, sleeper):
    note, asked, said = note_of(sleeper, tmp_path, "another"), [], []

    def elsewhere(given):
        asked.append(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    guard = watch.Watch(tmp_path, 0.1, said.append, elsewhere)
    guard.end_silent()
    time.sleep(0.2)
    guard.end_silent()
    guard.end_silent()
    assert (asked, sleeper.poll()) == ([note], None), "once, and never here"
    assert len(said) == (words is not None)
    assert words is None or words in said[0]


def test_a_note_that_cannot_be_removed_costs_nothing_and_is_removed_later_but_never_anothers(place, monkeypatch):
    mine = heartbeat.Heartbeat(place, "t", limit=9)
    with monkeypatch.context() as patch:
        patch.setattr(
            places.S3Path, "unlink", lambda path, missing_ok: (_ for _ in ()).throw(places.Unavailable("away"))
        )
        mine.end()
    assert list(heartbeat.read(place)) == ["t"]
    mine.end()
    assert heartbeat.read(place) == {}
    heartbeat.Heartbeat(place, "t", limit=9)
    mine.end()
    assert list(heartbeat.read(place)) == ["t"]
