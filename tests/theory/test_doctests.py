"""Every formula of study/theory shows an answer known on paper, and pytest holds it to that."""

import ast
import subprocess
import sys

from tests.helpers import ROOT

THEORY = ROOT / "study" / "theory"
WRONG = '''def two() -> int:
    """Two.

    >>> two()
    3
    """
    return 2
'''


def formulas():
    """(module.name, docstring) of every public function of the room that is no check of arguments."""
    for path in sorted(THEORY.glob("*.py")):
        for node in ast.parse(path.read_text()).body if path.stem != "checks" else ():
            if isinstance(node, ast.FunctionDef) and not node.name.startswith(("_", "checked_")):
                yield f"{path.stem}.{node.name}", ast.get_docstring(node) or ""


def pytest_on(*words, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_formula_has_an_example():
    assert len(list(formulas())) > 50
    assert [name for name, text in formulas() if ">>>" not in text] == []


def test_pytest_takes_each_of_them_for_a_test(pytestconfig):
    assert "study/theory" in pytestconfig.getini("testpaths")
    done = pytest_on("-n", "0", "--collect-only", "study/theory")
    collected = [line.partition("::study.theory.")[2] for line in done.stdout.splitlines() if "::" in line]
    assert sorted(collected) == sorted(name for name, _ in formulas())


def test_a_wrong_example_fails(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = pytest_on("-n", "0", "--rootdir", tmp_path, "wrong.py", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
