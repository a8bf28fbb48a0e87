"""`python -m study.tracking rebuild DIR...`: make MLflow's view again from the tables of results folders."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from study.spec.errors import LONGEST, UsageError, cut, visible, without_secrets
from study.store import results
from study.store.lease import in_use
from study.store.manifest import absent, read_manifest
from study.tracking.rebuild import rebuild as make
from study.tracking.stores import check_uri, chosen_uri

app = App(name="study.tracking", help="The MLflow view of results folders.", result_action="return_value")


@app.command
def rebuild(
    *directories: Path,
    tracking_uri: Annotated[str, Parameter(help="MLflow store; default as for a sweep.")] = "",
) -> int:
    """Deliver whatever the tables hold and the store lacks; what stands there already is left alone."""
    if not directories:
        raise UsageError("which folder? give one or more results folders")
    for directory in directories:
        if read_manifest(directory) is None:
            raise UsageError(f"{directory} {absent(directory)}")
        results.refuse_newer(directory)
        if holder := in_use(directory):
            raise UsageError(f"{directory} is in use by a sweep ({holder}), which delivers its trials itself")
    uri = chosen_uri(tracking_uri)
    check_uri(uri)
    problems = 0
    for directory in directories:
        count, problem = make(directory.resolve(), uri)
        missing = f"; not everything: {visible(problem)}" if problem else ""
        print(f"{directory}: {count} trials in {without_secrets(uri)}{missing}")
        problems += bool(problem)
    return 1 if problems else 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 1 when something was not delivered, 2)."""
    try:
        return int(app(argv, exit_on_error=False, print_error=False) or 0)
    except (CycloptsError, UsageError) as error:
        print(f"study.tracking: {cut(visible(' '.join(str(error).split())), LONGEST)}", file=sys.stderr)
        return 2
    except OSError as error:  # of a folder that is named
        print(f"study.tracking: {cut(str(error.filename), LONGEST)}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
