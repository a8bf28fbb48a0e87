"""The studies that can be named."""

import importlib
from pathlib import Path

import study
from study.spec.errors import UsageError, closest
from study.spec.studies import Study

STUDIES = Path(study.__file__).resolve().parent.parent / "search_spaces"


def study_names() -> list[str]:
    """Every study there is: the modules of search_spaces."""
    return sorted(p.stem for p in STUDIES.glob("*.py") if p.stem != "__init__")


def find_study(name: str) -> Study:
    """The study of a name; UsageError with the near and the known names otherwise."""
    if name.replace("-", "_") not in study_names():
        known = study_names()
        raise UsageError(f"unknown study {name!r}{closest(name, known)} Studies: {', '.join(known)}")
    return importlib.import_module(f"search_spaces.{name.replace('-', '_')}").STUDY
