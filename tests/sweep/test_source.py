"""Which job comes next: in order, but none whose trained base a running job is to make."""

import itertools
from dataclasses import replace

import pytest

from study.spec.identity import base_key
from study.store import results
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.source import FixedList
from tests.attempts import job
from tests.helpers import tiny_trial


def jobs_of(tmp_path, *bases):
    """Jobs of these bases, numbered by their seeds."""
    made = [replace(job(tmp_path, tiny_trial(seed=n, measures=False)), base=base) for n, base in enumerate(bases)]
    return {j.fingerprint: j for j in made}


def number(found):
    return None if found is None else found.trial.seed


def test_a_job_waits_for_the_one_that_trains_its_base_and_others_go_before_it(tmp_path):
    source = FixedList(jobs_of(tmp_path, "a", "a", "b", "", "", "b", "a"))
    first, second = source.next(), source.next()
    assert (number(first), number(second)) == (0, 2)
    free = [source.next(), source.next()]
    assert [number(j) for j in free] == [3, 4]
    assert source.next() is None, "what is left needs a or b"
    assert not source.over
    source.told(second)
    third = source.next()
    assert number(third) == 5
    source.told(first)
    rest = [source.next(), source.next()]
    assert [number(j) for j in rest] == [1, 6], "a trained base serves all at once"
    assert source.next() is None
    for j in (*free, third, *rest):
        assert not source.over
        source.told(j)
    assert source.over


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_job_is_handed_out_once_whoever_ends_first(workers, tmp_path):
    jobs = jobs_of(tmp_path, *"abcabcaabbcc", "", "d")
    for end in range(3):
        source, running, handed = FixedList(jobs), [], []
        for turn in itertools.count():
            while len(running) < workers and (found := source.next()):
                assert found.base not in {j.base for j in running if source._making.get(j.fingerprint)} - {""}
                running.append(found)
                handed.append(found.fingerprint)
            if source.over:
                break
            source.told(running.pop((end * turn) % len(running)))
        assert sorted(handed) == sorted(jobs)


def test_alone_a_worker_keeps_to_the_order(tmp_path):
    jobs = jobs_of(tmp_path, "a", "b", "a", "")
    source, found = FixedList(jobs), []
    while (j := source.next()) is not None:
        found.append(j.fingerprint)
        source.told(j)
    assert found == list(jobs)


def test_nothing_is_shared_where_nothing_is_trained(tmp_path):
    """Of nets that are taken as they are, and of matrices: all of them would wait for the first."""
    for words in ({"study": "operator_norm_study"}, {"study": "audit", "model": "cnn8"}):
        plan = make_plan(Request(preset="smoke", output=str(tmp_path / "out"), **words))
        assert {j.base for j in plan.jobs.values()} == {""}
        assert {base_key(j.trial) for j in plan.jobs.values()} == {""}


COUNTED = """
import os
import time


def counted(matrices):
    with open(os.environ["CALLS"], "a") as file:
        file.write("1")
    time.sleep(0.1)
    return sum(W.square().sum() for W in matrices)
"""


def test_two_workers_train_each_base_once(tmp_path, here, monkeypatch):
    """A penalty counts the steps of first trainings, three of each of three epochs; fine-tuning has none."""
    (tmp_path / "parts.py").write_text(COUNTED)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    words = ("--preset", "smoke", "--seeds", "2", "--set", "prune_ratio=0,0.5", "--set", "epochs=3",
             "--set", "adversarial_ratio=0")  # fmt: skip
    penalty = ("--set", "penalty=parts:counted", "--set", "alpha=1e-4", "--set", "batch_size=20")
    done = here("compression_level_sweep", *words, *penalty, "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results.read(tmp_path / "out")["trial"].nunique() == 2 * 6
    assert len((tmp_path / "calls").read_text()) == 2 * 3 * 3
