"""The output in an object store: S3's own protocol, spoken to a mock server on loopback."""

import csv
import io
import json
import os
import shlex
import sys
import threading
import time

import pytest

from study.spec.errors import UsageError
from study.store import layout, lease, mirror, places, results
from tests.folders import digests, rows

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "epochs=1"]


@pytest.mark.parametrize("kind", ["disk", "S3"])
def test_one_of_many_publishers_wins_and_readers_see_it_whole(kind, place, tmp_path):
    path = (tmp_path if kind == "disk" else place) / "x.bin"
    gate, won = threading.Barrier(8), []

    def put(i):
        gate.wait()
        if places.publish(path, bytes([i]) * 1000):
            won.append(i)

    threads = [threading.Thread(target=put, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert path.read_bytes() == bytes(won) * 1000
    places.replace(path, b"new")
    assert path.read_bytes() == b"new"
    path.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()


def test_a_table_in_the_store_is_the_table_on_a_disk(place, tmp_path, caplog):
    for output in (tmp_path / "disk", place):
        results.note_failure(output, "t", {"identity": rows()[0], "cause": "boom", "log": "..."})
        results.publish_trial(output, "t", rows(), {"commit": "c"})
        results.publish_trial(output, "t", rows(value=0.7), {})
        places.replace(output / "study.json", b"{}")
    assert caplog.text.count("other deterministic rows") == 2
    assert sorted(place.listing()) == ["study.json", "trials/t.parquet"]
    frame = results.read(str(place))
    assert frame.equals(results.read(tmp_path / "disk"))
    assert list(frame["value"]) == [0.5, 1.5, 2.5]


def test_a_sweep_to_s3_gives_the_rows_of_one_to_a_disk(place, here, tmp_path):
    assert here(*SMOKE, "--output", "out", cwd=tmp_path).returncode == 0
    done = here(*SMOKE, "--output", str(place), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    control = digests(tmp_path / "out")
    assert len(control) == 3
    assert digests(mirror.local(str(place))) == control
    there = place.listing()
    assert {"report.html", "mlflow.db", "figures/robustness.png"} <= set(there)
    assert not [n for n in there if n.startswith(("bases/", "checkpoints/", "lock"))]
    more = here(*SMOKE, "--set", "rank=full,4", "--resume", "--output", str(place), cwd=tmp_path, XDG_CACHE_HOME="b")
    assert more.returncode == 0, more.stderr
    assert control.items() <= digests(tmp_path / "b/compressibility-study/studies" / place.key).items()
    assert len([n for n in place.listing() if n.startswith("trials/")]) == 4
    told = here("status", str(place), cwd=tmp_path)
    assert f"in {place}: 4 of 4 trials done, 0 failed, 0 left; nothing is running" in told.stdout
    written = here("report", str(place), "--csv", "all.csv", cwd=tmp_path)
    assert written.returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) > 100


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_in_s3_is_evaluated_and_learnt_from_at_its_address(place, here, tmp_path):
    words = ["pareto_search", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "sampler=random",
             "--set", "floor=0", "--set", "width=16"]  # fmt: skip
    done = here(*words, "--set", "evaluations=2", "--output", str(place), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = next(csv.DictReader(io.StringIO((place / "front.csv").read_text())))
    assert row["command"] == f"python -m study.launch evaluate {place} {row['trial']}"
    elsewhere = here(*shlex.split(row["command"])[3:], cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "b"))
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "from the saved weights" in elsewhere.stdout
    warm = here(*words, "--set", "evaluations=1", "--set", "sampler_seed=9", "--warm-start", str(place),
                "--output", "out", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "c"))  # fmt: skip
    assert warm.returncode == 0, warm.stderr
    journal = (tmp_path / "out" / "search.journal").read_text()
    assert journal.count(f'"warm_start":"{place}"') == 2
    assert json.loads((tmp_path / "out" / "study.json").read_text())["search"]["warm_start"] == [str(place)]
    for bad, message in ((f"{place}x", "no study.json"), ("s3://no-such-bucket/x", "bucket does not exist")):
        refused = here(*words, "--warm-start", bad, "--output", "other", cwd=tmp_path)
        assert (refused.returncode, message in refused.stderr) == (2, True)
        assert refused.stderr.startswith(f"study: --warm-start {bad}: ")
        assert not (tmp_path / "other").exists()


def test_a_damaged_table_in_the_store_is_set_aside_and_redone(place, here, tmp_path):
    words = [*SMOKE, "--output", str(place)]
    assert here(*words, cwd=tmp_path).returncode == 0
    before = digests(mirror.local(str(place)))
    name = next(iter(before))
    path = place / "trials" / f"{name}.parquet"
    places.replace(path, path.read_bytes()[:-30])
    done = here(*words, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(mirror.local(str(place))) == before
    assert (place / "damaged" / f"{name}.parquet").exists()


def test_a_driver_killed_before_it_could_send_keeps_its_newer_files(place):
    places.replace(place / "study.json", b"{}")
    places.replace(place / "journal.log", b"old")
    mirror.pull(place)
    folder = mirror.working_folder(place)
    (folder / "journal.log").write_bytes(b"old and new")
    later = time.time() + 5
    os.utime(folder / "journal.log", (later, later))
    mirror.pull(place)
    assert (folder / "journal.log").read_bytes() == b"old and new"
    mirror.push(place)
    assert (place / "journal.log").read_bytes() == b"old and new"


def test_what_left_the_store_leaves_the_copy(place):
    places.replace(place / "study.json", b"{}")
    results.publish_trial(place, "t", rows(), {})
    results.note_failure(place, "u", {"cause": "boom"})
    folder = mirror.local(place)
    assert (folder / "trials/t.parquet").exists()
    (place / "trials" / "t.parquet").unlink()
    (place / "failed" / "u.json").unlink()
    assert [p.name for p in mirror.local(place).rglob("*") if p.is_file()] == ["study.json"]


@pytest.mark.parametrize(
    "name", ["../../x", "trials/../../x", "/etc/x", ".lock", "trials/.x", "a\0b", "x" * 200, "a//b"]
)
def test_a_key_never_leads_out_of_the_copy(name, place, tmp_path):
    assert not places.safe(name)
    places.replace(place / "study.json", b"{}")
    if "\0" not in name:
        places.replace(places.S3Path(place.bucket, f"{place.key}/{name}"), b"evil")
    folder = mirror.local(place)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [folder / "study.json"]


@pytest.mark.parametrize("trial", ["../x", "a/b", "", ".x", "a\0", "%2e%2e/x"])
def test_a_trial_has_a_plain_name(trial, tmp_path):
    with pytest.raises(ValueError, match="no fingerprint"):
        results.publish_trial(tmp_path, trial, rows(), {})
    with pytest.raises(ValueError, match="no fingerprint"):
        layout.trial_path(tmp_path, trial)
    assert list(tmp_path.iterdir()) == []


def test_links_pipes_and_folders_are_no_tables(tmp_path, caplog):
    (tmp_path / "trials").mkdir()
    results.publish_trial(tmp_path / "other", "t", rows(), {})
    (tmp_path / "trials/link.parquet").symlink_to(layout.trial_path(tmp_path / "other", "t"))
    (tmp_path / "trials/environ.parquet").symlink_to("/proc/self/environ")
    (tmp_path / "trials/folder.parquet").mkdir()
    os.mkfifo(tmp_path / "trials/pipe.parquet")
    assert results.scan(tmp_path) == {}
    assert caplog.text.count("not a plain file") == 4


def test_the_lock_of_a_live_driver_is_respected_and_a_stale_one_taken(place, tmp_path, monkeypatch):
    other = tmp_path / "elsewhere"
    with lease.Lease(place, tmp_path):
        with pytest.raises(UsageError, match=rf"in use by another sweep \(process {os.getpid()} on .* free in \d+ s"):
            lease.Lease(place, other).__enter__()
        with monkeypatch.context() as patch:
            patch.setattr(lease, "STALE_SECONDS", -1.0)
            with lease.Lease(place, other) as thief:
                assert json.loads((place / "lock.json").read_bytes())["token"] == thief.token
    assert not (place / "lock.json").exists()


def test_a_driver_whose_lock_was_taken_stops(place, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: told.append((pid, number)))
    with lease.Lease(place, tmp_path) as mine:
        until = time.monotonic() + 10
        while json.loads((place / "lock.json").read_bytes())["beat"] < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert not mine.lost
        places.replace(place / "lock.json", b'{"owner": "another", "token": "x", "machine": "y"}')
        while not told and time.monotonic() < until:
            time.sleep(0.05)
    assert mine.lost
    assert told == [(os.getpid(), lease.signal.SIGTERM)]
    assert (place / "lock.json").exists(), "the other's lock is not ours to remove"


def test_a_second_driver_is_refused_and_status_names_the_first(place, here, tmp_path):
    words = [*SMOKE, "--output", str(place)]
    with lease.Lease(place, tmp_path):
        done = here(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert f"{place} is in use by another sweep" in done.stderr
        assert set(place.listing()) == {"lock.json"}
        places.replace(place / "study.json", b'{"configuration": {"study": "s", "settings": {}}, "arms": [], '
                                              b'"seeds": [], "trials": []}')  # fmt: skip
        assert f"being run by process {os.getpid()}" in here("status", str(place), cwd=tmp_path).stdout


BAD = [
    ("s3://studies", "give s3://BUCKET/PREFIX"),
    ("s3://studies/../x", "give s3://BUCKET/PREFIX"),
    ("s3://Studies/x", "give s3://BUCKET/PREFIX"),
    ("s3://no-such-bucket/x", "bucket does not exist"),
    ("s3://studies/foreign", "holds no results of a study"),
]


@pytest.mark.parametrize(("output", "message"), BAD)
def test_an_output_that_cannot_be_used_is_refused(output, message, place, here, tmp_path):
    places.replace(places.S3Path("studies", "foreign/x"), b"1")
    done = here(*SMOKE, "--output", output, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_boto3_the_extra_is_named(place, here, tmp_path, monkeypatch):
    places.client.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "boto3", None)
        done = here(*SMOKE, "--output", str(place), cwd=tmp_path)
    assert done.returncode == 2
    assert 'pip install -c constraints.txt -e ".[cluster]"' in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_goes_away_is_one_message_and_the_way_on(place, here, tmp_path, monkeypatch):
    words = [*SMOKE, "--output", str(place)]
    put = places.S3Path.put

    def broken(self, content, **conditions):
        if "trials/" in self.key and len([n for n in place.listing() if n.startswith("trials/")]) == 1:
            raise places.Unavailable(f"{self}: gone (SlowDown)")
        return put(self, content, **conditions)

    with monkeypatch.context() as patch:
        patch.setattr(places.S3Path, "put", broken)
        done = here(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "gone (SlowDown); what is finished stays. Go on with:" in done.stderr
    assert results.failures(mirror.local(place)) == {}, "the store's fault is no trial's failure"
    assert here(*words, "--resume", cwd=tmp_path).returncode == 0
