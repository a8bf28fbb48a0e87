"""The layout of an output, every file name said once. A place is a folder or a prefix in S3."""

from pathlib import Path

from study.store.places import Place, safe

STUDY = "study.json"  # what was asked: store/manifest.py
TRIALS = "trials"  # one table per finished trial; the file is the done-marker
FAILED = "failed"  # a note per trial that failed
DAMAGED = "damaged"  # what did not match its digest
MODELS = "models"  # weights by trial, and the exported nets
CHECKPOINTS, BASES, RUNNING = "checkpoints", "bases", "running"  # of trials that are not over
FIGURES, REPORT, FRONT, SUMMARY = "figures", "report.html", "front.csv", "summary.json"
LOCK, LEASE, PROCESSES = ".lock", "lock.json", ".processes.json"  # the one driver's
JOURNAL, DATABASE = "search.journal", "mlflow.db"
TEMPORARY = ".tmp-"  # what was being written when its writer ended


def fingerprint(trial: str) -> str:
    """The name of a trial as a part of a path; ValueError for one that could lie elsewhere."""
    if not safe(trial) or "/" in trial:
        raise ValueError(f"{trial!r} is no fingerprint of a trial")
    return trial


def table_name(trial: str) -> str:
    """Where a trial's table lies in an output."""
    return f"{TRIALS}/{fingerprint(trial)}.parquet"


def note_name(trial: str) -> str:
    """Where a trial's failure note lies in an output."""
    return f"{FAILED}/{fingerprint(trial)}.json"


def weights_name(trial: str) -> str:
    """Where a trial's weights lie in an output."""
    return f"{MODELS}/{fingerprint(trial)}.safetensors"


def trial_path(folder: Path, trial: str) -> Path:
    """Where a trial's table lies in a folder; ValueError for a name that could lie elsewhere."""
    return folder / table_name(trial)


def model_path(folder: Path, trial: str) -> Path:
    """Where a trial's exported net lies in a folder."""
    return folder / MODELS / fingerprint(trial)


def join(place: Place, name: str) -> Place:
    """The file of a relative name in an output."""
    for part in name.split("/"):
        place = place / part
    return place


def tables(folder: Path) -> list[Path]:
    """The tables of a folder's finished trials, by name; whether they are sound shows when they are read."""
    return sorted((folder / TRIALS).glob("*.parquet"))


def notes(folder: Path, trial: str = "*") -> list[Path]:
    """The failure notes of a folder, or of one trial."""
    return sorted((folder / FAILED).glob(f"{trial}.json"))


def finished(folder: Path) -> list[str]:
    """The fingerprints of the trials whose table is there."""
    return [path.stem for path in tables(folder)]
