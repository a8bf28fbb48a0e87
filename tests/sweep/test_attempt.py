"""What an attempt makes of an error: the trial's own failure, one more try with more memory, the end of the sweep."""

import errno
import os

import pytest
import torch

from study.spec.identity import base_key
from study.store import results
from study.sweep import runner
from study.sweep.plan.source import FixedList
from study.sweep.worker import heartbeat
from study.sweep.worker.attempt import Attempt
from study.sweep.worker.listener import Options
from study.trial.run import run
from tests.attempts import finish, job
from tests.helpers import tiny_trial


class Told:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.said = []

    def __getattr__(self, name):
        return lambda *words: self.said.append((name, *words))


@pytest.mark.parametrize(("fits", "status"), [(2, "ok"), (99, "failed")])
def test_out_of_memory_is_tried_once_more_after_all_others_with_twice_the_share(fits, status, tmp_path, monkeypatch):
    tried, noted = [], []

    def greedy(trial, **more):
        tried.append(trial.seed)
        noted.append(set(results.failures(tmp_path)))
        if trial.seed == 0 and tried.count(0) < fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        yield from run(trial, **more)

    monkeypatch.setattr("study.sweep.worker.attempt.run", greedy)
    jobs = [job(tmp_path, tiny_trial(seed=s, measures=False), gpu_fraction=0.25) for s in range(3)]
    told = Told()
    runner.in_process(FixedList({j.fingerprint: j for j in jobs}), Options(), told)
    assert tried == [0, 1, 2, 0], "the one that had too little memory comes last"
    assert noted == [set()] * 4, "a driver that dies before the second attempt leaves no failure behind"
    assert [words[0].gpu_fraction for name, *words in told.said if name == "started"] == [0.25, 0.25, 0.25, 0.5]
    assert [words[1]["status"] for name, *words in told.said if name == "finished"] == ["ok", "ok", status]
    notes = results.failures(tmp_path)
    assert [(n["attempts"], n["cause"][:35]) for n in notes.values()] == (
        [] if status == "ok" else [(1, "OutOfMemoryError: CUDA out of memor")]
    )


def test_nothing_larger_is_tried_where_no_share_of_a_gpu_was_given(tmp_path, monkeypatch):
    def greedy(trial, **more):
        raise torch.OutOfMemoryError("out of memory")
        yield

    monkeypatch.setattr("study.sweep.worker.attempt.run", greedy)
    one = job(tmp_path, tiny_trial(measures=False))
    told = Told()
    runner.in_process(FixedList({one.fingerprint: one}), Options(), told)
    assert [name for name, *_ in told.said] == ["started", "finished"]
    assert set(results.failures(tmp_path)) == {one.fingerprint}


@pytest.mark.parametrize(("share", "twice"), [(0.0, None), (0.25, 0.5), (0.5, 1.0), (0.75, 1.0), (1.0, None)])
def test_a_larger_share_is_twice_the_first_and_given_once(share, twice, tmp_path):
    one = job(tmp_path, tiny_trial(measures=False), gpu_fraction=share)
    larger = one.larger()
    assert (larger and larger.gpu_fraction) == twice
    if larger:
        assert larger.fingerprint == one.fingerprint
        assert larger.larger() is None


@pytest.mark.parametrize("where", ["store.results.publish", "store.results.replace", "sweep.worker.weights.save"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT])
def test_a_write_of_ours_that_fails_is_no_failure_of_the_trial(where, number, tmp_path, monkeypatch):
    trial = tiny_trial(measures=False)
    one = job(tmp_path, trial, base=base_key(trial), checkpoint_seconds=0.0, weights=True)
    error = OSError(number, os.strerror(number))

    def failing(*words):
        raise error

    monkeypatch.setattr(f"study.{where}", failing)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        finish(Attempt(one))
    assert raised.value is error
    assert results.failures(tmp_path) == {}
    assert heartbeat.read(tmp_path) == {}
    monkeypatch.undo()
    assert finish(Attempt(one))["status"] == "ok"


def test_an_oserror_of_the_users_data_is_the_trials_own_failure(tmp_path, monkeypatch):
    def unreadable(trial, **more):
        raise OSError(errno.EIO, "Input/output error", "/data/images/7.png")
        yield

    monkeypatch.setattr("study.sweep.worker.attempt.run", unreadable)
    one = job(tmp_path, tiny_trial(measures=False))
    assert finish(Attempt(one))["status"] == "failed"
    (note,) = results.failures(tmp_path).values()
    assert note["cause"] == "OSError: [Errno 5] Input/output error: '/data/images/7.png'"
    assert "in unreadable" in note["log"]
