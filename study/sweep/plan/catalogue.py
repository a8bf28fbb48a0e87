"""The studies that can be named: the modules of search_spaces, and those of one's own packages."""

import functools
import importlib
from pathlib import Path

import study
from study.nets.sources import user_object
from study.spec.check import check_study
from study.spec.errors import UsageError, closest
from study.spec.studies import Study

STUDIES = Path(study.__file__).resolve().parent.parent / "search_spaces"


def study_names() -> list[str]:
    """Every study of the project: the modules of search_spaces but those named _..., which studies share."""
    return sorted(p.stem for p in STUDIES.glob("*.py") if not p.stem.startswith("_"))


@functools.cache
def find_study(name: str) -> Study:
    """The study of a name, checked; `package.module` (its STUDY) or `package:NAME` for one's own.

    UsageError with the near and the known names where there is none, and for a study with a slip in it.
    """
    if "." in name or ":" in name:
        found = user_object(name if ":" in name else f"{name}:STUDY", "study")
        if not isinstance(found, Study):
            raise UsageError(f"study {name}: expected a study.spec.studies.Study, got {type(found).__name__}")
        return check_study(found)
    if name.replace("-", "_") not in study_names():
        known = study_names()
        raise UsageError(f"unknown study {name!r}{closest(name, known)} Studies: {', '.join(known)}")
    return check_study(importlib.import_module(f"search_spaces.{name.replace('-', '_')}").STUDY)
