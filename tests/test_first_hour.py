"""The notebook of the first hour runs as it stands, with what is documented alone, and shows what it promises."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers import ROOT

EXAMPLES = ROOT / "examples"
DOCUMENTED = {"study", "study.attacks"}


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(EXAMPLES / "first_hour.ipynb", as_version=4)


def source(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_it_is_kept_without_outputs_and_uses_what_is_documented(notebook):
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in notebook.cells)
    assert set(re.findall(r"^(?:from|import) (study[\w.]*)", source(notebook), re.MULTILINE)) <= DOCUMENTED
    for cell in notebook.cells:
        for link in re.findall(r"\]\((\.\./[^)]+)\)", cell.source):
            assert (EXAMPLES / link).exists(), link


def test_it_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # asked for here first, it would stay for all tests of this process
    done = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": EXAMPLES}}).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    said = "".join(o.text for o in outputs if o.output_type == "stream")
    assert "6 of 6 trials finished" in said
    assert [o for o in outputs if "image/png" in o.get("data", {})]
    clean = float(re.search(r"clean accuracy ([\d.]+)", said)[1])
    robust = [float(v) for v in re.findall(r"/255: robust accuracy ([\d.]+)", said)]
    assert clean > 0.9
    assert robust[0] == clean
    assert robust == sorted(robust, reverse=True)
    together = float(re.search(r"together: ([\d.]+)", said)[1])
    assert 0 < together <= robust[3] < clean
