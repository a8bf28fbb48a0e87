"""A sweep whose Ray is gone says so and ends: Ray itself would wait for minutes."""

import re
import signal
import threading

import psutil
import pytest

from study.sweep.ray import alive
from tests.folders import digests
from tests.processes import read_until, start, wait_until

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=30", "--seeds", "3"]


def seconds(silence, start, count, answers):
    """What is counted in so many seconds, at one look a second."""
    return [silence.seconds(start + i, answers) for i in range(1, count + 1)][-1]


def test_silence_is_counted_from_the_last_answer():
    silence = alive.Silence(0.0)
    assert seconds(silence, 0.0, 5, answers=1) == 4.0
    assert seconds(silence, 5.0, 10, answers=1) == 14.0
    assert silence.seconds(16.0, 2) == 0.0


def test_a_driver_that_was_paused_for_an_hour_has_missed_no_answer():
    silence = alive.Silence(0.0)
    silence.seconds(1.0, 1)
    assert silence.seconds(3601.0, 1) == 2.0


def test_what_ray_says_is_lost_is_lost_and_a_driver_that_hangs_in_a_call_is_ended(monkeypatch):
    for name in ("ASK_SECONDS", "BLOCKED_SECONDS"):
        monkeypatch.setattr(alive, name, 0.01)
    ended = threading.Event()
    with alive.Alive(lambda: "no machine lives", lambda lost: ended.set()) as watch:
        assert ended.wait(60)
    assert watch.lost == "no machine lives"


def test_a_driver_that_leaves_is_not_ended(monkeypatch):
    monkeypatch.setattr(alive, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(alive, "BLOCKED_SECONDS", 600.0)
    ended = threading.Event()
    with alive.Alive(lambda: "no machine lives", lambda lost: ended.set()) as watch:
        wait_until(lambda: watch.lost)
    for thread in threading.enumerate():
        if thread.name == "alive":
            thread.join(60)
    assert not ended.is_set()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("raylet", signal.SIGKILL),
        pytest.param("gcs_server", signal.SIGSTOP, marks=pytest.mark.slow),
        pytest.param("gcs_server", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_whose_ray_is_gone_ends_with_the_way_on(name, number, tmp_path):
    process = start(*SMOKE, "--output", "out", cwd=tmp_path)
    read_until(process, "[1/9]")
    (victim,) = [p for p in psutil.Process(process.pid).children() if p.name() == name]
    victim.send_signal(number)
    said = process.communicate(timeout=120)[0]  # it takes 30 s at most; Ray's own patience is longer than these
    assert process.returncode == 1, said
    assert "Traceback" not in said
    # one that hangs in a call of Ray's is ended from outside it, with the words of an interruption
    assert re.search(r"what is finished (stays|is kept)\. Go on with:\s+python -m study.launch", said)
    assert said.rstrip().endswith("--resume")
    assert digests(tmp_path / "out")
