"""study.json: what was asked of a folder of results."""

from pathlib import Path
from typing import Any

from study.spec.errors import UsageError
from study.store import layout, results


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """study.json of a folder, None where there is none; UsageError when it is not ours."""
    if not (folder / layout.STUDY).exists():
        return None
    try:
        return results.read_study(folder)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / layout.STUDY} cannot be read ({error}); choose another --output") from None
