"""Trials that go on where they were: epochs are not repeated, hung workers are replaced, whatever dies."""

import os
import signal

import psutil
import pytest

from study.store import results
from study.sweep.worker import heartbeat
from tests.helpers import launch
from tests.processes import start, wait_until, workers_of

EPOCHS, BATCHES = 24, 15  # 1437 images in batches of 100
COUNTING = """
from pathlib import Path
from torch import nn
class Net(nn.Sequential):
    def forward(self, x):
        if self.training:
            with Path({log!r}).open("a") as log:
                log.write(".")
        return super().forward(x)
def build(shape, classes):
    return Net(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""
ONE = ["compressibility_sweep", "--preset", "smoke", "--seeds", "1", "--set", "alpha=0.03", "--set", "rank=full",
       "--set", f"epochs={EPOCHS}", "--set", "test_size=50", "--model", "count:build", "--output", "out"]  # fmt: skip


def steps(folder):
    path = folder / "steps"
    return path.stat().st_size if path.exists() else 0


def note_of(folder):
    wait_until(lambda: heartbeat.read(folder))
    return next(iter(heartbeat.read(folder).values()))


@pytest.mark.parametrize("backend", ["in-process", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_trial_goes_on_from_its_last_epoch(backend, here, tmp_path, monkeypatch):
    (tmp_path / "count.py").write_text(COUNTING.format(log=str(tmp_path / "steps")))
    monkeypatch.setenv("STUDY_CHECKPOINT_SECONDS", "0.001")  # after every epoch
    words = [*ONE, *(["--in-process"] if backend == "in-process" else [])]
    process = start(*words, cwd=tmp_path)
    try:
        wait_until(lambda: steps(tmp_path) > EPOCHS * BATCHES // 4)
        if backend == "ray":  # a trial's process first, then the worker around it, then the driver
            for victim in (note_of(tmp_path / "out")["pid"], workers_of(process.pid)[0].pid):
                before = steps(tmp_path)
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda before=before: steps(tmp_path) > before + 2 * BATCHES)
    finally:
        process.kill()
        process.communicate()
    done = (here if backend == "in-process" else launch)(*words, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trials = len(results.scan(tmp_path / "out"))
    kills = 1 if backend == "in-process" else 6  # Ray runs two at once, and each of them may be cut short three times
    assert 0 <= steps(tmp_path) - trials * EPOCHS * BATCHES <= kills * 2 * BATCHES, "epochs were run again"
    rows = [r for t in results.scan(tmp_path / "out").values() for r in t.rows if r["measure"] == "train_loss"]
    assert len(rows) == trials * EPOCHS


SMOKE = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=80", "--seeds", "1", "--output", "out"]


@pytest.mark.slow
def test_a_hung_worker_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_HANG_SECONDS", "8")
    process = start(*SMOKE, cwd=tmp_path)
    try:
        wait_until(lambda: any(n["phase"] == "train" for n in heartbeat.read(tmp_path / "out").values()))
        (trial, note) = next(iter(heartbeat.read(tmp_path / "out").items()))
        assert note["pid"] in {p.pid for p in psutil.Process(process.pid).children(recursive=True)}
        psutil.Process(note["pid"]).send_signal(signal.SIGSTOP)
        said = process.communicate(timeout=240)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert said.count(f"the worker of trial {trial} (process {note['pid']} on ") == 1
    assert said.count("hung for 8 s and was ended; the trial is tried again") == 1
    assert len(results.scan(tmp_path / "out")) == 3
