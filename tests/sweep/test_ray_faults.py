"""What stops a sweep on Ray, and how often it tries a trial again. A real Ray, but for the count of attempts."""

import errno
import os
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from study.store import places, results
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.source import FixedList
from study.sweep.worker import heartbeat
from study.sweep.worker.listener import Options
from tests.helpers import launch
from tests.processes import start, workers_of

FULL = OSError(errno.ENOSPC, "No space left on device", "/results/search.journal")
GONE = places.Unavailable("s3://studies/x: gone (SlowDown)")


class Listener:
    """Keeps what the back end tells, and raises where it is asked to."""

    def __init__(self, raises=None):
        self.raises, self.said = raises, []

    def of(self, event):
        return [words for name, *words in self.said if name == event]

    def __getattr__(self, event):
        def tell(*words):
            self.said.append((event, *words))
            if self.raises and self.raises[0] == event:
                raise self.raises[1]

        return tell


class Forgetful(FixedList):
    """A source that cannot write down what it is told."""

    asked = 0

    def told(self, job):
        self.asked += 1
        raise FULL


class Mute(FixedList):
    """A source that cannot write down what it hands out third."""

    def next(self):
        if len(self._left) == 4:
            raise GONE
        return super().next()


@pytest.fixture(scope="module")
def backend():
    from study.sweep.ray import backend

    backend.ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                     _node_ip_address="127.0.0.1", logging_level="ERROR")  # fmt: skip
    yield backend
    backend.disconnect()


def jobs_in(folder, epochs=2):
    request = Request(
        study="compressibility_sweep", preset="smoke", output=str(folder), seeds=(0, 1),
        overrides={"epochs": str(epochs), "test_size": "50"},
    )  # fmt: skip
    return make_plan(request).jobs


@pytest.mark.parametrize(
    ("source", "raises", "error", "started"),
    [
        pytest.param(Forgetful, None, FULL, 2, id="told"),
        pytest.param(FixedList, ("finished", GONE), GONE, 1, id="finished", marks=pytest.mark.slow),
        pytest.param(FixedList, ("started", FULL), FULL, 1, id="started", marks=pytest.mark.slow),
        pytest.param(Mute, None, GONE, 1, id="next", marks=pytest.mark.slow),
    ],
)
def test_an_error_of_the_driver_stops_the_sweep_and_is_raised_itself(source, raises, error, started, backend, tmp_path):
    # where a second trial is to be under way, the first outlasts the start of its worker, on a busy machine too
    jobs = jobs_in(tmp_path / "out", epochs=300 if started == 2 else 2)
    listener, feeding = Listener(raises), source(jobs)
    with pytest.raises(OSError, match=r"No space|gone") as raised:
        backend.run(feeding, Options(), listener)
    assert raised.value is error
    assert started <= len(listener.of("started")) <= 2, "nothing new was started"
    if started == 2:
        assert set(results.scan(tmp_path / "out")) == {job.fingerprint for (job,) in listener.of("started")}, "it ended"
    assert getattr(feeding, "asked", 1) == 1, "a source that failed is told no more"


def test_a_worker_that_cannot_write_its_file_stops_the_sweep(backend, tmp_path):
    jobs = jobs_in(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/trials").write_text("in the way")
    listener = Listener()
    with pytest.raises(NotADirectoryError) as raised:
        backend.run(FixedList(jobs), Options(), listener)
    assert raised.value.filename == str(tmp_path / "out/trials")
    assert len(listener.of("started")) <= 2
    assert listener.of("finished") == listener.of("died") == []
    assert results.failures(tmp_path / "out") == {}, "that was no trial's failure"


def attempts(backend, deaths, text=""):
    """The relay's and the searcher's view of one job whose attempts end in these deaths: of the worker ("own"), of the
    trial's process alone ("process"), of a worker that waited ("before")."""
    (job, *_) = jobs_in("/nowhere").values()
    listener = Listener()
    feed = backend._Feed(FixedList({job.fingerprint: job}))
    relay = backend._Relay(feed, listener)
    handed = 0
    for death in deaths:
        chosen = feed.suggest(f"t{handed}")
        if not isinstance(chosen, dict):
            break
        trial = SimpleNamespace(trial_id=f"t{handed}", config=chosen, error_file=text)
        handed += 1
        if death != "before":
            relay.on_trial_start(0, [], trial)
        if death == "process":
            relay.on_trial_result(0, [], trial, {"done": True, "died": "the process of the trial ended (SIGKILL)"})
        else:
            relay.on_trial_error(0, [], trial)
    return Counter(handed=handed, died=len(listener.of("died")), over=feed.source.over), feed, listener


@pytest.mark.parametrize(
    ("deaths", "handed", "died"),
    [
        (["own"] * 9, 4, 1),
        (["own"] * 3, 3, 0),
        (["process"] * 9, 4, 1),
        (["process", "own", "before"] * 3, 5, 1),
        (["before"] * 9, 4, 1),
        (["own", "before"] * 3, 6, 0),
        (["before", "own", "before", "own", "before", "own", "own"], 7, 1),
    ],
)
def test_a_trial_has_four_attempts_and_a_worker_that_died_before_is_not_one(deaths, handed, died, backend):
    seen, _, listener = attempts(backend, deaths)
    assert seen == Counter(handed=handed, died=died, over=died)
    assert [cause for _, cause, _ in listener.of("died")] == [
        "its worker died 4 times (killed, or out of memory)"
    ] * died


def test_a_full_disk_of_rays_own_is_not_tried_again(backend, tmp_path):
    (tmp_path / "error.txt").write_text("OSError: [Errno 28] No space left on device: '/tmp/ray/session'")
    seen, feed, _ = attempts(backend, ["own"] * 3, str(tmp_path / "error.txt"))
    assert seen == Counter(handed=1, died=0, over=0)
    assert (feed.error.errno, feed.error.filename) == (errno.ENOSPC, "Ray's temporary files")


DEADLY = """
import os, signal
from pathlib import Path
from torch import nn
class Net(nn.Sequential):
    def forward(self, x):
        if self.training and len(x) > 2:  # not when it is tried out, in the driver
            with Path({log!r}).open("a") as log:
                log.write(f"{{os.getpid()}}\\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
def build(shape, classes):
    return Net(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""


@pytest.mark.slow
def test_a_trial_that_kills_its_worker_is_given_up_after_four_attempts(tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY.format(log=str(tmp_path / "log")))
    words = ["compressibility_sweep", "--preset", "smoke", "--seeds", "1", "--output", "out", "--model", "deadly:build",
             "--set", "alpha=0", "--set", "rank=full"]  # fmt: skip
    done = launch(*words, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    notes = results.failures(tmp_path / "out")
    assert len(set((tmp_path / "log").read_text().split())) == 4 * len(notes) > 0
    assert {n["cause"] for n in notes.values()} == {"its worker died 4 times (killed, or out of memory)"}
    assert all("SIGKILL" in n["log"] for n in notes.values())
    assert os.listdir(tmp_path / "out/running") == []


@pytest.mark.slow
def test_a_dead_worker_is_replaced_where_trials_are_shorter_than_a_start(tmp_path):
    words = ["compressibility_sweep", "--preset", "smoke", "--seeds", "20", "--output", "out", "--set", "epochs=20"]
    process = start(*words, cwd=tmp_path)
    seen = {}
    try:
        while process.poll() is None:
            for name, note in heartbeat.read(tmp_path / "out").items():
                seen[name] = note["pid"]
            if len(set(seen.values())) == 2 and len(seen) >= 6:
                before, seen = set(seen.values()), {}
                workers_of(process.pid)[0].kill()
                break
            time.sleep(0.05)
        while process.poll() is None:
            seen |= {name: note["pid"] for name, note in heartbeat.read(tmp_path / "out").items()}
            time.sleep(0.05)
    finally:
        process.kill()
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert Counter(pid in before for pid in seen.values())[False] >= 5, "a new one has its share of the rest"
