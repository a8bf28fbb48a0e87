"""A user's model that is mended after trials of it failed: they can be tried again by the command that is printed, and
what is finished stays, marked as of the earlier source."""

import json
import sys

import pytest

from study.results import read
from tests.folders import digests

NET = """
from torch import nn
from kit.blocks import Body

def make(shape, classes):
    return Body(classes)
"""
BLOCKS = """
from torch import nn

class Body(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.hidden, self.head = nn.Linear(64, 12), nn.Linear(12, 12), nn.Linear(12, classes)

    def forward(self, x):
        x = self.first(x.flatten(1)).relu()
        return self.head({hidden}.relu())
"""
# In training alone: a sweep tries compressed nets in evaluation mode before it starts.
BROKEN = BLOCKS.format(hidden="(x @ self.hidden.weight.T if self.training else self.hidden(x))")
MENDED = BLOCKS.format(hidden="self.hidden(x)")
COMMAND = ["compressibility_sweep", "--preset", "smoke", "--model", "kit.net:make", "--in-process", "--output", "out",
           "--set", "test_size=40", "--set", "epochs=1", "--set", "attack_iterations=2", "--set", "gap_iterations=2",
           "--set", "alpha=0,0.01", "--set", "rank=full,4", "--seeds", "1"]  # fmt: skip


@pytest.fixture
def folder(tmp_path, here):
    """A working folder with a package of the user's; `run` is the command line in a fresh look at it."""
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/__init__.py").touch()
    (tmp_path / "kit/net.py").write_text(NET)
    path = list(sys.path)

    def run(blocks, *words):
        (tmp_path / "kit/blocks.py").write_text(blocks)
        for name in [n for n in sys.modules if n.partition(".")[0] == "kit"]:
            del sys.modules[name]
        return here(*words, cwd=tmp_path)

    yield tmp_path, run
    sys.path[:] = path


def test_a_mended_model_is_tried_again_and_what_is_finished_is_marked(folder):
    at, run = folder
    done = run(BROKEN, *COMMAND)
    assert done.returncode == 3, done.stderr
    first, before = read(at / "out"), digests(at / "out")
    failed = set(first.loc[first["status"] == "failed", "trial"])
    assert set(first.loc[first["status"] == "failed", "rank"]) == {4}
    kept = set(first["trial"]) - failed

    refused = run(MENDED, *COMMAND, "--resume")
    assert refused.returncode == 2
    assert "model_digest: there" in refused.stderr
    assert "--resume --retry-failed makes all that is not finished with it as it is now" in refused.stderr

    again = run(MENDED, *COMMAND, "--resume", "--retry-failed")
    assert again.returncode == 0, again.stderr
    note = f"{len(kept)} finished trials are of an earlier source of your functions"
    assert note in again.stderr
    assert f"{len(kept)} of {len(kept) + len(failed)} finished trials are of an earlier source" in again.stdout
    after = read(at / "out")
    assert set(after["status"]) == {"ok"}
    assert len(set(after["trial"])) == len(kept) + len(failed)
    assert set(after["trial"]) & set(first["trial"]) == kept, "what failed has another identity now"
    assert before.items() <= digests(at / "out").items(), "what was finished is not touched"
    (earlier,) = json.loads((at / "out/study.json").read_text())["earlier"]
    assert set(earlier["trials"]) == kept
    status = run(MENDED, "status", "out")
    assert f"{len(kept) + len(failed)} of {len(kept) + len(failed)} trials done, 0 failed" in status.stdout
    assert note in status.stdout

    more = run(MENDED, *COMMAND[:-1], "2", "--resume")
    assert more.returncode == 0, more.stderr
    whole = read(at / "out")
    assert set(whole["trial"]) > set(after["trial"])
    assert len(set(whole["trial"])) == 2 * len(set(after["trial"])), "nothing was made twice"
    assert len(json.loads((at / "out/study.json").read_text())["earlier"]) == 1


def test_another_model_is_no_mended_one(folder):
    at, run = folder
    only = [{"alpha=0,0.01": "alpha=0", "rank=full,4": "rank=full"}.get(word, word) for word in COMMAND]
    assert run(MENDED, *only).returncode == 0
    (at / "kit/other.py").write_text(NET)
    words = [w if w != "kit.net:make" else "kit.other:make" for w in only]
    refused = run(MENDED, *words, "--resume", "--retry-failed")
    assert refused.returncode == 2
    assert "model: there 'kit.net:make', asked 'kit.other:make'" in refused.stderr
