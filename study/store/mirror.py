"""The driver's copy of an S3 output on its own disk: `pull` makes it, `push` sends home what the driver wrote.

Reports, tracking and status read folders; this keeps that true for an object store. A folder is its own copy. Whoever
only reads has a copy beside the driver's, which belongs to the one driver that holds the lock.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from study.spec.errors import UsageError
from study.store import layout
from study.store.places import Entry, Place, S3Path, at, replace, safe, unwritable

# Written by workers, or by the driver at once: what stands in the store counts. The rest is the driver's own.
STORE_WINS = (layout.STUDY, f"{layout.TRIALS}/", f"{layout.FAILED}/")
STAYS_THERE = (
    *(f"{name}/" for name in (layout.BASES, layout.CHECKPOINTS, layout.DAMAGED, layout.RUNNING)),
    layout.LEASE,
)


def working_folder(place: Place) -> Path:
    """The folder on this machine that a driver works in: the output itself, or its copy of an S3 output."""
    return place if isinstance(place, Path) else _copy(place, "compressibility-study")


def _copy(place: S3Path, kind: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache).absolute() / kind / place.bucket / place.key.replace("/", "%")  # no copy inside another


def local(output: "str | Path") -> Path:
    """A folder to read an output in: the folder itself, or a fresh copy from S3 that no driver works in."""
    place = at(output) if isinstance(output, str) else output
    if isinstance(place, Path):
        return place
    folder = _copy(place, "compressibility-study-read")
    pull(place, folder)
    return folder


def _same(path: Path, etag: str) -> bool:
    return path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == etag


def pull(place: Place, folder: Path | None = None) -> None:
    """Bring the driver's copy of an S3 output (or another one) up to date; nothing to do for a folder.

    Tables, failures and study.json become those of the store; of the driver's own files (journals, reports) the newer
    stays, because a driver that was killed has not sent its last ones. UsageError when the prefix holds something else
    than results; those that have lost their study.json come without it.
    """
    if isinstance(place, Path):
        return
    folder = folder or working_folder(place)
    _probe(folder, place)
    stood = [
        *folder.glob(f"{layout.TRIALS}/*"),
        *folder.glob(f"{layout.FAILED}/*"),
    ]  # before the listing: what comes later is newer than it
    there = place.listing()
    lost = layout.STUDY not in there
    tables = any(name.startswith(f"{layout.TRIALS}/") for name in there)
    if lost and not tables and set(there) - {layout.LEASE}:
        raise UsageError(f"--output {place} is not empty and holds no results of a study; choose another prefix")
    folder.mkdir(parents=True, exist_ok=True)
    if lost and not tables:
        _forget(folder)
        return
    if lost:
        (folder / layout.STUDY).unlink(missing_ok=True)  # the output is known by its tables
    wanted = {n: e for n, e in there.items() if safe(n) and not n.startswith(STAYS_THERE)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: _pull_one(place, folder, *item), wanted.items()))
    for path in stood:
        if f"{path.parent.name}/{path.name}" not in there:
            path.unlink(missing_ok=True)


def _probe(folder: Path, place: S3Path) -> None:
    """UsageError where the copy cannot be made."""
    if found := (folder, "no home") if "~" in folder.parts else unwritable(folder):
        raise UsageError(
            f"the copy of {place} on this machine cannot be made ({found[0]}: {found[1]}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        )


def _forget(folder: Path) -> None:
    """Empty the copy of an output that is gone; its lock file stays, another driver may hold it."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != layout.LOCK:
            path.unlink()


def _pull_one(place: S3Path, folder: Path, name: str, entry: Entry) -> None:
    path = folder / name
    if path.exists() and not name.startswith(STORE_WINS) and path.stat().st_mtime >= entry.modified.timestamp():
        return
    if not _same(path, entry.etag):
        with contextlib.suppress(FileNotFoundError):  # deleted since it was listed: a failure that has succeeded
            replace(path, (place / name).read_bytes())


def fetch(place: Place, name: str) -> None:
    """Bring one file of an S3 output to the driver's copy, or remove it there when the store has it no longer."""
    if isinstance(place, S3Path):
        try:
            replace(working_folder(place) / name, (place / name).read_bytes())
        except FileNotFoundError:
            (working_folder(place) / name).unlink(missing_ok=True)


def fetch_trial(place: Place, trial: str) -> None:
    """Bring a trial that has just ended to the driver's copy: its table, its failure note, whichever is there."""
    for name in (layout.table_name(trial), layout.note_name(trial)):
        fetch(place, name)


def set_aside(place: Place) -> None:
    """Do in an S3 output what was done in its copy: tables that were set aside as damaged leave trials/."""
    if isinstance(place, S3Path):
        for path in (working_folder(place) / layout.DAMAGED).glob("*.parquet"):
            if not (working_folder(place) / layout.TRIALS / path.name).exists():
                replace(place / layout.DAMAGED / path.name, path.read_bytes())
                (place / layout.TRIALS / path.name).unlink()


def push(place: Place, folder: Path | None = None) -> None:
    """Send the driver's own files (report, figures, journals, databases), or those of another copy, to an S3 output;
    no-op for a folder."""
    if isinstance(place, Path):
        return
    folder, there = folder or working_folder(place), place.listing()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        own = safe(name) and not name.startswith((*STORE_WINS, *STAYS_THERE))
        if own and not (name in there and _same(path, there[name].etag)):
            replace(place / name, path.read_bytes())


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite file that others may be writing; nothing where there is none yet."""
    if source.exists():
        with (
            contextlib.closing(sqlite3.connect(source)) as live,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
