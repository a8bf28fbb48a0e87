"""The tracking server hangs, dies, comes back or never was: no trial waits for it, and each stands there once."""

import os
import signal
import socket
import sys
import time

import pytest
from mlflow import MlflowClient

from study.store import layout
from study.tracking import Tracker
from study.tracking import tracker as tracker_module
from study.tracking.__main__ import main
from tests.folders import make_folder

SLOWEST_CALL = 0.2  # seconds that handing over a trial may take; it waits for no server, only for a lock


@pytest.fixture
def server(mlflow_server):
    return mlflow_server


def runs(uri, manifest):
    """Every run of a sweep that is not deleted."""
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name("compressibility_sweep")
    where = f"tags.`study.id` = '{manifest.sweep}'"
    return list(client.search_runs([found.experiment_id], where, max_results=1000)) if found else []


def assert_each_once(uri, manifest, names):
    found = runs(uri, manifest)
    (parent,) = [r for r in found if r.data.tags["study.level"] == "sweep"]
    children = [r for r in found if r is not parent]
    assert sorted(r.data.tags["study.fingerprint"] for r in children) == sorted(names)
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert {r.info.status for r in children} <= {"FINISHED", "FAILED"}
    assert parent.info.status == "FINISHED"
    assert all("clean_accuracy" in r.data.metrics for r in children if r.info.status == "FINISHED")


def hand_over(tracker, names):
    """Give trials as a sweep does, one after another; the slowest hand-over in seconds."""
    slowest = 0.0
    for name in names:
        began = time.monotonic()
        tracker.trial(name)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def wait_until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def test_a_server_that_hangs_for_a_while(server, tmp_path):
    manifest, names = make_folder(tmp_path / "hangs", 8)
    tracker = Tracker(server.uri, tmp_path / "hangs", manifest)
    hand_over(tracker, names[:2])
    wait_until(lambda: len(runs(server.uri, manifest)) == 3)
    server.signal(signal.SIGSTOP)
    try:
        assert hand_over(tracker, names[2:]) < SLOWEST_CALL
        wait_until(lambda: tracker.away)
    finally:
        server.signal(signal.SIGCONT)
    assert tracker.close() == ""
    assert_each_once(server.uri, manifest, names)


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again(server, tmp_path):
    manifest, names = make_folder(tmp_path / "killed", 8)
    tracker = Tracker(server.uri, tmp_path / "killed", manifest)
    hand_over(tracker, names[:3])
    wait_until(lambda: len(runs(server.uri, manifest)) >= 2)
    server.kill()
    assert hand_over(tracker, names[3:]) < SLOWEST_CALL
    wait_until(lambda: tracker.away)
    server.start()
    assert tracker.close() == ""
    assert_each_once(server.uri, manifest, names)


def test_what_a_dead_server_did_not_take_is_delivered_by_the_next_run(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tracker_module, "AWAY_SECONDS", 2.0)
    manifest, names = make_folder(tmp_path / "silent", 4, failed=1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracker = Tracker(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "silent", manifest)
        assert hand_over(tracker, names) < SLOWEST_CALL
        began = time.monotonic()
        assert tracker.close().startswith("4 trials not delivered")
        assert time.monotonic() - began < 30
    for _ in range(2):  # the next start of the folder gives all that is finished again
        again = Tracker(server.uri, tmp_path / "silent", manifest)
        hand_over(again, names)
        assert again.close() == ""
        assert_each_once(server.uri, manifest, names)


def test_runs_made_twice_by_calls_that_hung_are_found(server, tmp_path):
    manifest, names = make_folder(tmp_path / "twice", 3)
    first = Tracker(server.uri, tmp_path / "twice", manifest)
    hand_over(first, names)
    assert first.close() == ""
    client = MlflowClient(tracking_uri=server.uri)
    for run in runs(server.uri, manifest):  # as if every POST had been carried out a second time
        client.create_run(run.info.experiment_id, start_time=run.info.start_time, tags=run.data.tags)
    again = Tracker(server.uri, tmp_path / "twice", manifest)
    hand_over(again, names)
    assert again.close() == ""
    assert_each_once(server.uri, manifest, names)


def test_one_trial_that_is_not_taken_holds_up_no_other(server, tmp_path):
    manifest, names = make_folder(tmp_path / "refused", 4)
    path = layout.trial_path(tmp_path / "refused", names[1])
    path.write_bytes(path.read_bytes()[:-9])
    tracker = Tracker(server.uri, tmp_path / "refused", manifest)
    hand_over(tracker, names)
    said = tracker.close()
    assert said.startswith("1 trials not delivered, Damaged")
    assert_each_once(server.uri, manifest, [n for n in names if n != names[1]])


def test_a_trial_without_a_table_is_said_at_the_end(server, tmp_path):
    manifest, names = make_folder(tmp_path / "gone", 3)
    tracker = Tracker(server.uri, tmp_path / "gone", manifest)
    layout.trial_path(tmp_path / "gone", names[1]).unlink()
    hand_over(tracker, names)
    said = tracker.close()
    assert said.startswith("1 trials not delivered, FileNotFoundError")
    assert f"neither a table nor a failure note of trial {names[1]}" in said
    assert_each_once(server.uri, manifest, [n for n in names if n != names[1]])


def test_ctrl_c_in_any_instruction_of_a_hand_over_stops_no_delivery(tmp_path):
    uri, (manifest, names) = f"sqlite:///{tmp_path}/mlflow.db", make_folder(tmp_path / "out", 3)
    tracker = Tracker(uri, tmp_path / "out", manifest)
    interrupted = 0
    while interrupt_at(interrupted, lambda: tracker.trial(names[0])):
        interrupted += 1
    assert interrupted > 5, "nothing was interrupted"
    hand_over(tracker, names)
    assert tracker.close() == ""
    assert_each_once(uri, manifest, names)


def interrupt_at(instruction, call):
    """Raise KeyboardInterrupt before that instruction of Python code under a call; whether the call had so many."""
    passed = 0

    def trace(frame, event, argument):
        nonlocal passed
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed > instruction:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def shape(uri, manifest):
    """What a person sees of a sweep's runs: names, status, parameters, metrics, tags; ids are the store's own."""
    own = ("mlflow.parentRunId", "mlflow.user")
    return sorted(
        (
            r.info.run_name, r.info.status, sorted(r.data.params.items()), sorted(r.data.metrics.items()),
            sorted((k, v) for k, v in r.data.tags.items() if k not in own),
        )
        for r in runs(uri, manifest)
    )  # fmt: skip


def test_rebuild_gives_the_same_view_however_often(server, tmp_path, capsys):
    manifest, names = make_folder(tmp_path / "out", 5, failed=2)
    live, lost = server.uri, os.environ["MLFLOW_TRACKING_URI"]
    tracker = Tracker(live, tmp_path / "out", manifest)
    hand_over(tracker, names)
    assert tracker.close("FAILED") == ""
    seen = shape(live, manifest)
    assert len(seen) == 6
    ids = []
    for _ in range(2):
        assert main(["rebuild", str(tmp_path / "out"), "--tracking-uri", lost]) == 0
        assert shape(lost, manifest) == seen
        ids.append({r.info.run_id for r in runs(lost, manifest)})
    assert ids[0] == ids[1], "what stands there is left alone"
    assert "5 trials in sqlite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"), [(["rebuild"], "which folder?"), (["rebuild", "nowhere"], "is not a folder of results")]
)
def test_rebuild_refuses_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
