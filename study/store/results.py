"""The tidy table: one Parquet file per finished trial, complete or absent, and the reading of many."""

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from study.spec.knobs import KNOBS
from study.store import arms, layout, manifest, mirror
from study.store.places import Place, publish, replace
from study.store.schema import AT as AT
from study.store.schema import MOVED, opened, schema_of
from study.store.schema import Damaged as Damaged
from study.store.schema import Newer as Newer
from study.store.table import COLUMNS as COLUMNS
from study.store.table import Finished as Finished
from study.store.table import decode as decode
from study.store.table import encode as encode
from study.store.table import rows_digest as rows_digest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def refuse_newer(folder: Path) -> None:
    """Newer, with the file's name, where a newer version wrote one of a folder's tables; reads their footers alone."""
    for path in layout.tables(folder):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(Damaged), path.open("rb") as stream, _named(path):
                opened(stream)


@contextlib.contextmanager
def _named(path: Place) -> Iterator[None]:
    """Whatever is newer in here is the file `path`."""
    try:
        yield
    except Newer as error:
        raise Newer(f"{path} {error}") from None


def seal(content: bytes) -> bytes:
    """`content` behind its own sha256, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest().encode() + content


def unseal(whole: bytes) -> bytes | None:
    """What was sealed; None when it does not match its digest."""
    content = whole[64:]
    return content if hashlib.sha256(content).hexdigest().encode() == whole[:64] else None


def put_aside(path: Place, what: str) -> None:
    """Name a damaged file in one line and move it to the damaged/ of its output."""
    log.warning("%s is damaged and set aside: %s", path, what)
    with contextlib.suppress(FileNotFoundError):  # another worker that shares it was first
        if isinstance(path, Path):
            aside = path.parent.parent / layout.DAMAGED
            aside.mkdir(exist_ok=True)
            os.replace(path, aside / path.name)
        else:
            replace(path.up(2) / layout.DAMAGED / path.name, path.read_bytes())
            path.unlink()


def publish_trial(folder: Place, trial: str, rows: list[dict[str, Any]], provenance: Mapping[str, Any]) -> None:
    """Publish a finished trial; a differing second publication is reported, and the first one stays."""
    path = layout.join(folder, layout.table_name(trial))
    if not publish(path, encode(rows, provenance)):
        first = read_trial(path)
        again = decode(encode(rows, provenance))
        if rows_digest(first.rows, True) != rows_digest(again.rows, True):
            log.warning("trial %s was published before with other deterministic rows; the first stays", trial)
    layout.join(folder, layout.note_name(trial)).unlink(missing_ok=True)


def read_trial(path: Place) -> Finished:
    """One published trial; Damaged when it does not match its digest, holds another trial than its name says, or is no
    file (a pipe would block for ever), Newer, naming the file, when a newer version wrote it."""
    if isinstance(path, Path) and not path.is_file():
        raise Damaged("it is not a file")
    with _named(path):
        found = decode(path.read_bytes())
    if any(r["trial"] != path.stem for r in found.rows):
        raise Damaged(f"its rows are of trial {found.rows[0]['trial']}")
    return found


def scan(folder: Path, *, set_aside: bool = False) -> dict[str, Finished]:
    """Every sound trial of a folder by fingerprint; Newer where there is one of a newer version.

    Damaged files are named in a warning and, on request, moved to damaged/ so that their trials run again.
    """
    out: dict[str, Finished] = {}
    for path in layout.tables(folder):
        try:
            if path.is_symlink() or not path.is_file():  # a pipe would be waited for, a link may lead anywhere
                raise Damaged("it is not a plain file")
            out[path.stem] = read_trial(path)
        except Damaged as error:
            if set_aside:
                put_aside(path, f"{error}; its trial runs again")
            else:
                log.warning("%s is damaged and not used: %s", path, error)
    return out


def mend(folder: Path) -> None:
    """Move damaged failure notes, checkpoints and trained bases to damaged/, so that they are made again.

    Leftovers of interrupted publications are removed. Only for the driver that holds the folder.
    """
    for path in layout.notes(folder):
        try:
            json.loads(path.read_text())["identity"]
        except (ValueError, KeyError, TypeError):
            put_aside(path, "its trial runs again")
    for path in sorted([*folder.glob(f"{layout.CHECKPOINTS}/*.pt"), *folder.glob(f"{layout.BASES}/*.pt")]):
        if unseal(path.read_bytes()) is None:
            put_aside(path, "what it held is trained again")
    for leftover in folder.glob(f"*/{layout.TEMPORARY}*"):  # a folder: of a model that was being exported
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def failures(folder: Path, trial: str = "*") -> dict[str, dict[str, Any]]:
    """The failure notes of a folder (of one trial, where asked) by fingerprint: point, cause, traceback, attempts."""
    notes = {}
    for path in layout.notes(folder, trial):
        with contextlib.suppress(FileNotFoundError):  # the trial was run again and has just succeeded
            try:
                notes[path.stem] = json.loads(path.read_text())
            except ValueError:
                log.warning("%s is damaged and not used", path)
    return notes


def note_failure(folder: Place, trial: str, note: Mapping[str, Any]) -> None:
    """Write or rewrite a trial's failure note, counting attempts."""
    path = layout.join(folder, layout.note_name(trial))
    attempts = json.loads(path.read_text())["attempts"] + 1 if path.exists() else 1
    replace(path, json.dumps({**note, "attempts": attempts}, indent=1).encode())


def read(*folders: str | Path) -> "pd.DataFrame":
    """The tidy table of one or more results folders, s3://BUCKET/PREFIX too, as a pandas DataFrame, failures included.

    Columns: study, family, arm (all that the trial belongs to, `neuron, spectral`: study.results.arm chooses one; null
    in a search), trial, seed, status (ok, diverged, failed), data, model, the axes (knobs that a study moves beside
    them stand last, at its setting where another study holds them), then the coordinates:
    measure, attack (`native/apgd`), layer, norm, eps, kept, k (of top-k), draw (of a mask or sample), on (the data or
    class group measured, where it is not the trial's own), split, step, n, value, deterministic. What does not apply
    is null (None or NaN). A failed trial has one row with measure `failed`. Tables of earlier versions are read with
    what they lacked filled in. Raises FileNotFoundError for a folder without study.json, Newer for one with tables of
    a newer version.
    """
    import pandas as pd

    parts: list[tuple[Path, list[dict[str, Any]]]] = []
    for folder in map(mirror.local, folders):
        if not (folder / layout.STUDY).is_file():
            raise FileNotFoundError(f"{folder} is not a folder of results: it has no {layout.STUDY}")
        finished = scan(folder)
        rows = [r for trial in finished.values() for r in trial.rows]
        failed = {"status": "failed", "measure": "failed", "value": math.nan}
        rows += [{**n["identity"], **failed} for name, n in failures(folder).items() if name not in finished]
        parts.append((folder, rows))
    schema = schema_of(r for _, rows in parts for r in rows)
    moved = [c for c in schema.names if c in MOVED]
    filled: list[dict[str, Any]] = []
    belongs: list[str | None] = []
    for folder, rows in parts:
        settings = manifest.load(folder).settings if moved else {}
        absent = dict.fromkeys(schema.names) | {c: settings.get(c, KNOBS[c].default) for c in moved}
        filled += [absent | r for r in rows]
        belongs += _arms(folder, rows)
    table = pa.Table.from_pylist(filled, schema=schema)
    table = table.add_column(schema.names.index("family") + 1, arms.COLUMN, pa.array(belongs, pa.string()))
    frame = table.to_pandas()
    frame["deterministic"] = frame["deterministic"].fillna(False).astype(bool)
    return pd.DataFrame(frame)


def _arms(folder: Path, rows: list[dict[str, Any]]) -> list[str | None]:
    """The arms of each row's trial; null where study.json does not say them."""
    try:
        study = arms.Arms(manifest.load(folder))
    except ValueError as error:
        log.warning("%s: the arms of its trials are not known (%s)", folder / layout.STUDY, error)
        return [None] * len(rows)
    by_trial = {r["trial"]: r for r in rows}
    texts = {trial: study.text(r) for trial, r in by_trial.items()}
    return [texts[r["trial"]] for r in rows]


FORMULAS = ("=", "+", "-", "@")


def to_csv(frame: "pd.DataFrame", path: str | Path) -> None:
    """The table as CSV; text that a spreadsheet would run as a formula is prefixed with an apostrophe."""
    text = [c for c in frame.columns if frame[c].map(lambda v: isinstance(v, str)).any()]
    safe = frame.copy()
    for column in text:
        safe[column] = safe[column].map(lambda v: "'" + v if isinstance(v, str) and v.startswith(FORMULAS) else v)
    safe.to_csv(path, index=False)
