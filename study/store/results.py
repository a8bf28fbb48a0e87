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

from study.spec.errors import brief, cut
from study.spec.knobs import KNOBS
from study.store import arms, layout, manifest, mirror, shapes
from study.store.places import Place, publish, replace
from study.store.schema import AT as AT
from study.store.schema import MOVED, opened, schema_of
from study.store.schema import Damaged as Damaged
from study.store.schema import Newer as Newer
from study.store.table import COLUMNS as COLUMNS
from study.store.table import Finished as Finished
from study.store.table import decode as decode
from study.store.table import encode as encode
from study.store.table import provenance as provenance
from study.store.table import rows_digest as rows_digest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
NOTE = {"identity": shapes.named(lambda found: True), "cause": shapes.text, "attempts": shapes.whole,
        "log": shapes.text}  # fmt: skip
LONGEST_LOG = 100_000  # characters of a failure's traceback: an exception may hold a whole tensor


def refuse_newer(folder: Path) -> None:
    """Newer, with the file's name, where a newer version wrote one of a folder's tables; reads their footers alone."""
    for path in layout.tables(folder):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(Damaged), pa.OSFile(str(path)) as stream, _named(path):
                opened(stream)


@contextlib.contextmanager
def _named(path: Place) -> Iterator[None]:
    """Whatever is newer in here is the file `path`."""
    try:
        yield
    except Newer as error:
        raise Newer(f"{path} {error}") from None


def odd(path: Place) -> bool:
    """Whether something else than a plain file lies there: a pipe would be waited for, a link may lead anywhere."""
    return isinstance(path, Path) and (path.is_symlink() or (path.exists() and not path.is_file()))


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
    if not found.rows:
        raise Damaged("it has no rows")
    if any(r["trial"] != path.stem for r in found.rows):
        raise Damaged(f"its rows are of trial {found.rows[0]['trial']}")
    return found


def scan(folder: Path, *, set_aside: bool = False) -> dict[str, Finished]:
    """Every sound trial of a folder by fingerprint, all rows at once; the rest as in `each`."""
    return dict(each(folder, set_aside=set_aside))


def each(folder: Path, *, set_aside: bool = False) -> Iterator[tuple[str, Finished]]:
    """The sound trials of a folder, fingerprint and trial, one after another, because a row takes 2 kB; Newer where
    there is one of a newer version.

    Damaged files are named in a warning and, on request, moved to damaged/ so that their trials run again.
    """
    for path in layout.tables(folder):
        try:
            if odd(path):
                raise Damaged("it is not a plain file")
            found = read_trial(path)
        except Damaged as error:
            if set_aside:
                put_aside(path, f"{error}; its trial runs again")
            else:
                log.warning("%s is damaged and not used: %s", path, error)
        else:
            yield path.stem, found


def provenances(folder: Path, quiet: bool = False) -> dict[str, dict[str, Any]]:
    """The provenance of every finished trial of a folder by fingerprint, from the tables' footers alone: what they cost
    in time and memory does not grow with their rows. Newer as in `scan`; a file whose footer is damaged is named,
    unless `quiet`, for whoever has read the rows."""
    out: dict[str, dict[str, Any]] = {}
    for path in layout.tables(folder):
        try:
            if odd(path):
                raise Damaged("it is not a plain file")
            with path.open("rb") as stream, _named(path):
                out[path.stem] = provenance(stream)
        except Damaged as error:
            if not quiet:
                log.warning("%s is damaged and not used: %s", path, error)
    return out


def mend(folder: Path) -> None:
    """Move damaged failure notes, checkpoints and trained bases to damaged/, so that they are made again.

    Leftovers of interrupted publications are removed. Only for the driver that holds the folder.
    """
    for path in layout.notes(folder):
        if _note(path) is None:
            put_aside(path, "its trial runs again")
    for path in sorted([*folder.glob(f"{layout.CHECKPOINTS}/*.pt"), *folder.glob(f"{layout.BASES}/*.pt")]):
        if odd(path) or unseal(path.read_bytes()) is None:
            put_aside(path, "what it held is trained again")
    for leftover in folder.glob(f"*/{layout.TEMPORARY}*"):  # a folder: of a model that was being exported
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _note(path: Place) -> dict[str, Any] | None:
    """A failure note; None where it is damaged: no plain file, no JSON, or of another shape."""
    if odd(path):
        return None
    try:
        note = shapes.parsed(path.read_text())
        if shapes.wrong(note, NOTE):
            return None
        pa.Table.from_pylist([note["identity"]], schema=schema_of([note["identity"]]))
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return None
    return note | {"cause": brief(note["cause"])}


def failures(folder: Path, trial: str = "*") -> dict[str, dict[str, Any]]:
    """The failure notes of a folder (of one trial, where asked) by fingerprint: point, cause, traceback, attempts."""
    notes = {}
    for path in layout.notes(folder, trial):
        with contextlib.suppress(FileNotFoundError):  # the trial was run again and has just succeeded
            if (note := _note(path)) is None:
                log.warning("%s is damaged and not used", path)
            else:
                notes[path.stem] = note
    return notes


def note_failure(folder: Place, trial: str, note: Mapping[str, Any]) -> None:
    """Write or rewrite a trial's failure note, counting attempts; a cause and a log that nobody could read are cut."""
    path = layout.join(folder, layout.note_name(trial))
    before = _note(path) if path.exists() else None
    attempts = before["attempts"] + 1 if before else 1
    short = {"cause": brief(note["cause"]), "log": cut(note.get("log", ""), LONGEST_LOG)}
    replace(path, json.dumps({**note, **short, "attempts": attempts}, indent=1).encode())


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

    parts: list[tuple[Path, pa.Table]] = []
    for folder in map(mirror.local, folders):
        if not (folder / layout.STUDY).is_file():
            raise FileNotFoundError(f"{folder} {manifest.absent(folder)}")
        names = set()
        for name, trial in each(folder):
            names.add(name)
            parts.append((folder, _table(trial.rows)))
        failed = {"status": "failed", "measure": "failed", "value": math.nan}
        rows = [{**note["identity"], **failed} for name, note in failures(folder).items() if name not in names]
        parts.append((folder, _table(rows)))
    moved = [c for c in MOVED if any(c in part.column_names for _, part in parts)]
    settings = {folder: manifest.load(folder).settings if moved else {} for folder in {f for f, _ in parts}}
    named = {folder: _arms(folder) for folder in settings}
    filled = [_with(part, moved, settings[folder], named[folder]) for folder, part in parts]
    table = pa.concat_tables(filled or [_with(_table([]), [], {}, None)])
    frame = table.to_pandas(use_threads=False)
    frame["deterministic"] = frame["deterministic"].fillna(False).astype(bool)
    return pd.DataFrame(frame)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema_of(rows))


def _arms(folder: Path) -> arms.Arms | None:
    """The arms of a folder's trials; None where study.json does not say them."""
    try:
        return arms.Arms(manifest.load(folder))
    except ValueError as error:
        log.warning("%s: the arms of its trials are not known (%s)", folder / layout.STUDY, error)
        return None


def _with(table: pa.Table, moved: list[str], settings: Mapping[str, Any], study: arms.Arms | None) -> pa.Table:
    """The table with these columns of moved knobs, those that it lacks at the folder's setting, and with the arms of
    each row's trial."""
    for name in (n for n in moved if n not in table.column_names):
        held = pa.scalar(settings.get(name, KNOBS[name].default), MOVED[name])
        table = table.append_column(name, pa.repeat(held, len(table)))
    first: dict[str, str | None] = {}
    trials = table["trial"].to_pylist()
    for at, trial in enumerate(trials):
        if trial not in first:
            row = {name: v for name, [v] in table.slice(at, 1).to_pydict().items() if v is not None}
            first[trial] = study.text(row) if study else None
    belongs = pa.array([first[trial] for trial in trials], pa.string())
    table = table.select([*COLUMNS, *moved])
    return table.add_column(table.column_names.index("family") + 1, arms.COLUMN, belongs)


FORMULAS = ("=", "+", "-", "@")


def to_csv(frame: "pd.DataFrame", path: str | Path) -> None:
    """The table as CSV; text that a spreadsheet would run as a formula is prefixed with an apostrophe."""
    text = [c for c in frame.columns if frame[c].map(lambda v: isinstance(v, str)).any()]
    safe = frame.copy()
    for column in text:
        safe[column] = safe[column].map(lambda v: "'" + v if isinstance(v, str) and v.startswith(FORMULAS) else v)
    safe.to_csv(path, index=False)
