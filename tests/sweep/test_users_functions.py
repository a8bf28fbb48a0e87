"""Users' functions that end the process, return no logits, or keep files open: one message, or one failed trial."""

import json
import sys

import pytest

from study.spec.config import Accuracy, Build, Decompose, Factorize, Load, Prune, Quantize, Train, Trial
from study.spec.errors import UsageError
from study.store import results
from study.sweep.plan import tryout
from study.sweep.worker.attempt import Attempt
from study.sweep.worker.forked import Forked
from study.sweep.worker.signals import Terminated
from tests.attempts import finish, job
from tests.helpers import TINY, launch, tiny_trial

MODELS = """
import asyncio
import os
import resource
import sys
from torch import nn
from study.sweep.worker.signals import Terminated

KEPT = []


class Odd(nn.Module):
    def __init__(self, shape, classes, way):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 8), nn.Linear(8, classes))
        self.way, self.passes = way, 0

    def forward(self, x):
        self.passes += 1
        return self.way(self, self.net(x))


def exits(net, out):
    if net.passes > 60:
        sys.exit()
    return out


def cancels(net, out):
    if net.passes > 60:
        raise asyncio.CancelledError
    return out


def stops(net, out):
    if net.passes > 60:
        raise Terminated
    return out


def leaks(net, out):
    if net.passes > 60:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
        for _ in range(400):
            KEPT.append(open(os.devnull))
    return out


def holds(net, out):
    if net.passes > 60:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
        net.kept = []
        for _ in range(400):
            net.kept.append(open(os.devnull))
    return out


WAYS = {
    "nothing": lambda net, out: None,
    "array": lambda net, out: out.detach().numpy(),
    "whole": lambda net, out: out.long(),
    "exits": exits,
    "cancels": cancels,
    "stops": stops,
    "leaks": leaks,
    "holds": holds,
}
for name, way in WAYS.items():
    globals()[name] = lambda shape, classes, way=way: Odd(shape, classes, way)


def ends(shape, classes):
    sys.exit("no licence")
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd_models.py").write_text(MODELS)
    monkeypatch.delitem(sys.modules, "odd_models", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def trial(model):
    stages = (Load(test_size=60), Build(model=f"odd_models:{model}"), Train(epochs=5))
    return Trial(seed=0, stages=stages, measures=(Accuracy(),))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nothing", "cannot be used: TypeError: it returned a NoneType for N = 2; it must return logits, a floating"),
        ("array", "it returned a ndarray for N = 2; it must return logits, a floating tensor (N, 10), alone or in a"),
        ("whole", "it returned a tensor (2, 10) of torch.int64 for N = 2"),
        ("ends", "cannot be used: it called sys.exit('no licence')"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_anything_starts(model, words, models):
    with pytest.raises(UsageError) as said:
        tryout.check_data_and_model(trial(model))
    assert f"--model odd_models:{model} " in str(said.value)
    assert words in str(said.value)


ATTENTION = """
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.embed, self.head = nn.Linear(width, 16), nn.Linear(16, classes)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.head(self.block(self.embed(x[:, 0])).mean(1))


def make(shape, classes):
    return Attention(shape[2], classes)
"""


STAGES = (
    Quantize(bits=8), Prune(keep_prob=0.5, mask="magnitude"), Decompose(ratio=0.5, method="svd"), Factorize(rank=2),
)  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_attention_whose_layers_are_read_and_not_called_is_not_compressed_in_part(stage, tmp_path, monkeypatch):
    """q, k and v, three quarters of it, would stay as they are, and what the last quarter is given too."""
    (tmp_path / "attention_models.py").write_text(ATTENTION)
    monkeypatch.syspath_prepend(str(tmp_path))
    load, build, train = Load(test_size=60), Build(model="attention_models:make"), Train(epochs=1)
    whole, part = (Trial(seed=0, stages=s, measures=()) for s in ((load, build, train), (load, build, train, stage)))
    tryout.check_data_and_model(whole)
    with pytest.raises(UsageError, match=r"make cannot be compressed: block\.self_attn is a torch\.nn"):
        tryout.check_data_and_model(part)


def test_sys_exit_in_a_trial_is_its_failure(models):
    for how in (finish_here, forked_finish):
        folder = models / how.__name__
        report = how(job(folder, trial("exits")))
        assert (report["done"], report["status"]) == (True, "failed")
        (note,) = results.failures(folder).values()
        assert note["cause"] == "RuntimeError: of a function that the trial was given: it called sys.exit(None)"
        assert "in exits" in note["log"]


def test_what_is_no_exception_is_a_failure_too_but_an_order_to_stop_is_none(models):
    assert finish(Attempt(job(models / "cancels", trial("cancels"))))["status"] == "failed"
    (note,) = results.failures(models / "cancels").values()
    assert note["cause"] == "RuntimeError: of a function that the trial was given: CancelledError: "
    with pytest.raises(Terminated):
        finish(Attempt(job(models / "stops", trial("stops"))))
    assert results.failures(models / "stops") == {}


def finish_here(one):
    return finish(Attempt(one))


def forked_finish(*jobs):
    """The last report of jobs run one after another in a process apart."""
    process = Forked()
    try:
        for one in jobs:
            process.begin(one)
            report = finish(process)
    finally:
        process.end()
    return report


@pytest.mark.parametrize("model", ["leaks", "holds"])
def test_a_trial_that_keeps_files_open_fails_alone(model, models):
    one, sound = job(models, trial(model)), job(models, tiny_trial(measures=False))
    assert forked_finish(one, sound)["status"] == "ok"
    (note,) = results.failures(models).values()
    assert note["cause"].startswith("OSError: [Errno 24] Too many open files")
    assert set(results.scan(models)) == {sound.fingerprint}


def test_in_one_process_a_sweep_outlives_models_that_keep_files_open(models):
    done = launch(
        "compressibility_sweep", "--preset", "smoke", *TINY, "--set", "alpha=0", "--in-process", "--json",
        "--model", "odd_models:holds", "--output", "out", cwd=models,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    said = json.loads(done.stdout)
    assert len(said["failed"]) == said["trials"] > 1
    assert all("Too many open files" in cause for cause in said["failed"].values())
    assert "Traceback" not in done.stderr
