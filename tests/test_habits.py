"""What a contributor is told holds: hooks are CI's commands, links lead somewhere, each decision says what it must."""

import re

import pytest
import yaml

from tests.helpers import ROOT

DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def test_hooks_are_the_commands_of_ci():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert all(h["language"] == "system" and h["pass_filenames"] is False for h in local["hooks"])
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    checks = [line for line in ci if re.match(r"(ruff|mypy)\b", line)]
    assert len(checks) == 3
    assert [h["entry"] for h in local["hooks"]] == checks


@pytest.mark.parametrize("record", RECORDS, ids=lambda p: p.stem)
def test_a_decision_says_why_what_it_costs_and_when_to_think_again(record):
    text = record.read_text()
    assert re.findall(r"^\*\*([A-Z][a-z ]+)", text, re.MULTILINE) == [
        "Context", "Decision", "Cost", "Measured", "Think again"
    ]  # fmt: skip
    assert len(text.split()) < 300, "half a page"
    title = re.match(r"# (\d+)\. (.+)", text)
    assert f"| [{title[1]}]({record.name}) | {title[2]} |" in (DECISIONS / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, ROOT / "SECURITY.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_modules_that_a_page_names_are_there(page):
    text = page.read_text()
    for path in re.findall(
        r"(?<![\w./~])((?:study|analysis|tests|benchmarks|search_spaces|scripts)/[\w./]+\.(?:py|sh))", text
    ):
        assert (ROOT / path).exists() or path == "tests/test_x.py", path
    for name in re.findall(r"python -m ((?:study|benchmarks)[\w.]*)", text):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
