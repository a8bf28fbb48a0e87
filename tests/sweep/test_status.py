"""`status DIR`: what is done, running and failed, what it cost and how long it takes, with answers known on paper."""

import json
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from study.launch import main
from study.store import lease
from study.store.manifest import load
from study.sweep import runner
from study.sweep.worker import heartbeat
from tests.folders import make_folder


@pytest.fixture
def folder(tmp_path):
    """Eight trials asked for: one failed, three finished after 10 s and 36 CPU seconds each, four left."""
    manifest, names = make_folder(tmp_path / "out", 4, failed=1)
    manifest = replace(manifest, trials=(*names, *"abcd"), gpus_per_trial=0.25, instance="g5.xlarge")
    (tmp_path / "out/study.json").write_text(json.dumps(manifest.record()))
    return tmp_path / "out"


def told(folder, capsys, *words):
    assert main(["status", str(folder), *words]) == 0
    return capsys.readouterr().out


def test_a_folder_at_rest(folder, capsys):
    found = json.loads(told(folder, capsys, "--json"))
    assert (found["trials"], found["done"], found["left"], found["driver"], found["running"]) == (8, 3, 4, "", {})
    ((name, failed),) = found["failed"].items()
    assert failed["cause"] == "boom"
    assert failed["path"] == str(folder / "failed" / f"{name}.json")
    assert found["cost"] == {"seconds": 30, "cpu_hours": 0.03, "dollars": 30 * 0.25 / 3600 * 1.006}
    assert found["seconds_left"] == 40
    text = told(folder, capsys)
    assert "3 of 8 trials done, 1 failed, 4 left; nothing is running" in text
    assert "boom (1 attempts); log: " in text
    assert "so far 30 s of workers, 0.03 CPU-hours, $0.00; about 40 s left on one worker" in text


def test_a_search_has_its_evaluations_and_finalists_before_it(folder, capsys):
    """Eight evaluations and three finalists at two seeds: fourteen trials, of which eight are asked for so far."""
    manifest = load(folder)
    search = {"family": "compressed", "evaluations": 8, "finalists": 3}
    (folder / "study.json").write_text(json.dumps(replace(manifest, search=search, seeds=(0, 1)).record()))
    found = json.loads(told(folder, capsys, "--json"))
    assert (found["trials"], found["asked"], found["done"], found["left"], found["complete"]) == (14, 8, 3, 10, False)
    assert found["seconds_left"] == 100
    assert "3 of at least 14 trials done, 1 failed, 10 left" in told(folder, capsys)
    (folder / "study.json").write_text(json.dumps(replace(manifest, search=search, complete=True).record()))
    assert "3 of 8 trials done, 1 failed, 4 left" in told(folder, capsys)


def test_a_folder_at_work(folder, capsys):
    stale = heartbeat.Heartbeat(folder, "a", limit=9)
    stale.moved("train", 7)
    stale.beat()
    assert json.loads(told(folder, capsys, "--json"))["running"] == {}, "a note without a driver is a leftover"
    with lease.lock(folder):
        heartbeat.Heartbeat(folder, "b", limit=9)
        found = json.loads(told(folder, capsys, "--json"))
        assert {n: (r["phase"], r["epoch"]) for n, r in found["running"].items()} == {
            "a": ("train", 7),
            "b": ("start", 0),
        }
        assert 10 < found["seconds_left"] <= 20, "four trials of 10 s on two workers that have just begun"
        assert re.search(r"  a: train, epoch 7, \d+ s, process", told(folder, capsys))
    runner.clean_up(folder)
    assert heartbeat.read(folder) == {}


def test_a_folder_with_a_damaged_note_is_still_told(folder, capsys):
    next((folder / "failed").iterdir()).write_text("{")
    assert "3 of 8 trials done, 0 failed, 5 left" in told(folder, capsys)


def test_it_reads_footers_alone(folder, capsys, monkeypatch):
    """What it costs does not grow with the rows: 5000 tables of 300 took 22 s and a gigabyte."""
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("a column was read"))
    assert "3 of 8 trials done, 1 failed, 4 left" in told(folder, capsys)


def test_a_table_without_a_sound_footer_is_not_done(folder, capsys, caplog):
    first, second, third = sorted((folder / "trials").iterdir())
    first.write_bytes(first.read_bytes()[:-100])
    whole = second.read_bytes()
    second.write_bytes(whole.replace(b'"wall_seconds": 10.0', b'"wall_seconds": 90.0'))
    found = json.loads(told(folder, capsys, "--json"))
    assert (found["done"], found["left"], found["cost"]["seconds"]) == (1, 6, 10)
    assert {r.message.split(" is damaged")[0] for r in caplog.records} == {str(first), str(second)}
    assert third.exists()
