"""The view made again from the truth: every trial of a folder delivered from its table."""

from pathlib import Path

from study.store import layout, results
from study.store.manifest import load
from study.tracking.tracker import Tracker


def rebuild(folder: Path, uri: str) -> tuple[int, str]:
    """Deliver every finished and failed trial of a results folder; how many there are, and what was not delivered.

    The same folder gives the same runs, parameters, metrics and tags however often it is done.
    """
    manifest = load(folder)
    finished = layout.finished(folder)
    failed = [name for name in results.failures(folder) if name not in finished]
    tracker = Tracker(uri, folder, manifest)
    for name in [*finished, *failed]:
        tracker.trial(name)
    whole = set(manifest.trials) <= {*finished, *failed}
    status = "FAILED" if failed else "FINISHED" if whole else "KILLED"
    return len(finished) + len(failed), tracker.close(status, folder)
