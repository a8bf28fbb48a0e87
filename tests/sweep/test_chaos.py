"""The quick form of `python -m benchmarks.chaos`: the same results, each once, whatever is killed."""

import json
import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.mark.slow
def test_a_sweep_under_fire_ends_as_one_left_alone():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--quick", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = {f["figure"]: f["value"] for f in map(json.loads, done.stdout.splitlines())}
    assert figures["trials with equal deterministic rows"] == 1
    assert figures["trials once in MLflow"] == 1
    assert figures["processes of trials alive 10 s after a driver"] == 0
    assert figures["drivers killed"] == 2
