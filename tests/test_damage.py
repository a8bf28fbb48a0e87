"""The fuzz of `python -m benchmarks.damage`: a few dozen of its cases are clean, and planted faults are found.

All in one process of its own: it imports once, and forks before anything has started threads.
"""

import json
import subprocess
import sys

import pytest

from tests.helpers import ROOT

PROGRAM = """
import json, sys, time
from pathlib import Path
from unittest import mock

from benchmarks.damage import base, forks
from benchmarks.damage.__main__ import case_of, in_lanes
from study.store.table import decode

scratch = Path(sys.argv[1])
bases = base.bases(["norms"], scratch)
bases |= {"sweep": bases["norms"], "search": bases["norms"]}  # other folders take longer to make
cases = [case_of(0, k, bases) for k in range(400)]
asked = [k for k, case in enumerate(cases) if case.steps[0].words[0] == "status" and case.kind == "folder"][:3]


def erring(content):
    found = decode(content)
    found.rows[0]["value"] += 1e-12
    return found


def kinds(numbers):
    return sorted({kind for record in in_lanes(0, numbers, bases, scratch) for kind, _ in record["problems"]})


found = {"sound": [r for r in in_lanes(0, range(3, 33), bases, scratch) if r["problems"]]}
with mock.patch("study.store.results.decode", erring):
    found["erring"] = kinds(asked)
with mock.patch("study.sweep.status.facts", side_effect=KeyError("cause")):
    found["raising"] = kinds(asked)
with mock.patch("study.sweep.status.facts", lambda *args: time.sleep(1000)), mock.patch.object(forks, "MOST_IDLE", 1.0):
    found["sleeping"] = kinds(asked)
with mock.patch("study.sweep.status.show", side_effect=SystemExit(7)):
    found["leaving"] = kinds(asked)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path_factory.mktemp("damage"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_few_dozen_cases_are_clean(found):
    assert found["sound"] == []


def test_a_row_that_differs_is_found(found):
    assert found["erring"] == ["wrong rows"]


def test_a_traceback_is_found(found):
    assert found["raising"] == ["traceback"]


def test_an_endless_wait_is_found(found):
    assert found["sleeping"] == ["hang"]


def test_a_status_that_is_not_documented_is_found(found):
    assert found["leaving"] == ["wrong end"]
