"""Versions in which the known holes are closed, and what SECURITY.md must say."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.helpers import ROOT

# Ray: CVE-2025-62593, CVE-2026-27482, CVE-2026-57516; MLflow: CVE-2026-2033, CVE-2026-53995; PyTorch: CVE-2025-32434.
FLOORS = {"ray": "2.56", "mlflow": "3.17.2", "torch": "2.6"}


@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_no_version_with_a_known_hole_can_be_installed(package, floor):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    asked = [r for r in map(Requirement, everything) if r.name == package]
    assert asked
    for requirement in asked:
        assert any(s.operator == ">=" and Version(s.version) >= Version(floor) for s in requirement.specifier)
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith(f"{package}==")]
    assert [Version(line.partition("==")[2]) >= Version(floor) for line in pinned] == [True]


def test_the_trust_boundary_is_said():
    said = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert "isolation must be enforced outside it" in said
    assert "runs code as you" in said
