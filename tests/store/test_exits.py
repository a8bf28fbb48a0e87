"""A process that has read and written tables ends as it should: with its own status."""

import subprocess
import sys

from tests.helpers import ROOT

SCRIPT = """
import os, sys
from pathlib import Path
import numpy, pandas, pyarrow.parquet
from study.store import layout, results
from study.sweep.plan.costs import past_ratio

def threads():
    return len(os.listdir("/proc/self/task"))

folder = Path(sys.argv[1])
(folder / "out" / layout.STUDY).parent.mkdir()
(folder / "out" / layout.STUDY).write_text(
    '{"configuration": {"settings": {}}, "arms": [], "seeds": [0], "trials": ["a", "b"]}'
)
row = {"study": "s", "family": "f", "seed": 0, "status": "ok", "measure": "m", "value": 1.0, "deterministic": True}
before = threads()
for trial in ("a", "b"):
    rows = [row | {"trial": trial, "k": k} for k in range(1, 2000)]
    results.publish_trial(folder / "out", trial, rows, {"estimated_seconds": 1, "device": "cpu", "wall_seconds": 2})
results.refuse_newer(folder / "out")
assert past_ratio(folder, "cpu", {"model": ""}) == (2.0, 2)
assert len(results.read(folder / "out")) == 3998
assert threads() == before, f"{threads() - before} threads were left"
"""


def test_reading_tables_leaves_no_thread_that_asks_for_the_interpreter_while_it_ends(tmp_path):
    """Arrow's threads over a Python file did: the process was aborted at its exit (134), on a quiet machine more often
    than not. That is a matter of luck, a thread is not."""
    for attempt in range(3):
        (folder := tmp_path / str(attempt)).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
